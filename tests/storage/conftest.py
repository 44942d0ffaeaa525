"""Fixtures for what only the production store does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from streamsim.storage.production.store import ProductionStore
from tests.servers import MongoServer, RedisServer, production_store
from tests.storage.contract.helpers import experiment

Make = Callable[..., Awaitable[ProductionStore]]


@pytest.fixture
def name() -> str:
    """The name of an installation that nobody else uses."""
    return f"test-{uuid4().hex}"


@pytest.fixture
def make_store(redis_server: RedisServer, mongo_server: MongoServer, name: str, run: Any) -> Iterator[Make]:
    """Opens another store on this test's installation, on the shared servers unless others are given."""
    opened: list[ProductionStore] = []

    async def make(
        redis: str = redis_server.url, mongo: str = mongo_server.url, **options: Any
    ) -> ProductionStore:
        store = production_store(redis, mongo, name, **options)
        await store.open()
        opened.append(store)
        return store

    yield make
    for store in opened:
        run(store.close())


@pytest.fixture
def store(make_store: Make, run: Any) -> ProductionStore:
    """A store in which tenant `ann` has the experiments e1 and e2."""
    store: ProductionStore = run(make_store())
    for one in (experiment("e1"), experiment("e2")):
        run(store.decisions.create_experiment(one))
    return store


@pytest.fixture
def own_mongo(tmp_path: Path) -> Iterator[MongoServer]:
    """One that a test may stop and start; its clients notice within a fraction of a second."""
    server = MongoServer(tmp_path / "mongo")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may kill and start."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()
