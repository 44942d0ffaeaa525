"""Fixtures that every part of the tests may use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from .backends import pytest_addoption, pytest_generate_tests, shared_storage, storage  # noqa: F401
from .servers import mongo_server, redis_cluster, redis_server  # noqa: F401

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs a coroutine to its end; every call of one test shares one event loop."""
    with asyncio.Runner() as runner:
        yield runner.run
