"""Fixtures that every part of the tests may use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from .backends import pytest_addoption, pytest_generate_tests, shared_storage, storage  # noqa: F401
from .servers import mongo_server, redis_cluster, redis_server  # noqa: F401

# Files that take long for the few tests they have. Where files are dealt out to several processes these come
# first, so that none is begun when the others are done.
LONG = ("test_ten_armed.py", "test_persistence.py", "test_serve.py", "test_restart.py", "test_sweep_jobs.py")

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs a coroutine to its end; every call of one test shares one event loop."""
    with asyncio.Runner() as runner:
        yield runner.run
