"""Fixtures that every part of the tests may use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.application import (
    admin,
    ann,
    app,
    bob,
    caller,
    clock,
    http_loop,
    http_server,
    io_loop,
    nobody,
    sandbox,
    services,
    settings,
    user,
)
from tests.backends import pytest_addoption, pytest_generate_tests, shared_storage, storage
from tests.folders import tmp_path, use_memory
from tests.servers import mongo_server, redis_cluster, redis_server

__all__ = [
    "admin",
    "ann",
    "app",
    "bob",
    "caller",
    "clock",
    "http_loop",
    "http_server",
    "io_loop",
    "mongo_server",
    "nobody",
    "pytest_addoption",
    "pytest_generate_tests",
    "redis_cluster",
    "redis_server",
    "sandbox",
    "services",
    "settings",
    "shared_storage",
    "storage",
    "tmp_path",
    "user",
]

use_memory()

# Files that take long. Where files are dealt out to several processes these come first, the longest before
# the others, so that none is begun when the others are done.
LONG = (
    "test_concurrency.py",
    "test_schemathesis.py",
    "test_serve.py",
    "test_restart.py",
    "test_persistence.py",
    "test_replications.py",
    "test_ten_armed.py",
    "test_sweep_jobs.py",
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONG)))


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs a coroutine to its end; every call of one test shares one event loop."""
    with asyncio.Runner() as runner:
        yield runner.run
