"""Archived experiments leave Redis for MongoDB, whole, whatever is broken off meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.contract.migration import ThetaRecord
from streamsim.storage.production.store import ProductionStore
from streamsim.storage.redis.connection import RedisConnection
from tests.servers import MongoServer
from tests.storage.contract.helpers import NOW, ODD, ODD_NAMES, committed, row

ROWS = {row(name, key, value): ODD for name in ODD_NAMES[:2] for key in ODD_NAMES for value in ODD_NAMES}


async def theta(store: ProductionStore, id: str) -> set[tuple[str, str, str, bytes]]:
    records = [record async for record in store.migration.export_experiment(id)]
    return {(one.name, one.key, one.value, one.data) for one in records if isinstance(one, ThetaRecord)}


async def redis_keys(store: ProductionStore) -> set[str]:
    """Those of theta."""
    tenant = store.decisions._keys.of("ann")
    keys = [key.decode() for key in await store._redis.command("KEYS", f"{tenant.meta[:-4]}*")]
    return {key for key in keys if any(f":{kind}:" in key.partition("}")[2] for kind in "nkg")}


def test_theta_of_an_archived_experiment_moves_to_mongodb(
    run: Any, store: ProductionStore, mongo_server: MongoServer, name: str
) -> None:
    async def body() -> None:
        await committed(store, writes=ROWS)
        before = await theta(store, "e1")
        assert len(before) == len(ROWS)
        archived = await store.decisions.archive_experiment("ann", "e1", NOW)
        assert await redis_keys(store)
        await store.forget(NOW, 0, 100)
        assert not await redis_keys(store)
        assert await theta(store, "e1") == before
        assert await store.decisions.get_experiment("e1") == archived

    run(body())
    with mongo_server.client() as client:
        (stored,) = client[name]["archived_experiments"].find()
        assert (stored["_id"], stored["tenant"]) == ("e1", "ann")
        assert client[name]["archived_theta"].count_documents({"experiment": "e1"}) == len(ROWS)


def test_theta_of_a_live_experiment_stays_in_redis(run: Any, store: ProductionStore) -> None:
    async def body() -> None:
        await committed(store, writes=ROWS)
        await store.decisions.archive_experiment("ann", "e2", NOW)
        before = await redis_keys(store)
        await store.forget(NOW, 0, 100)
        assert await redis_keys(store) == before

    run(body())


@pytest.mark.parametrize("broken", [0, 5, len(ODD_NAMES), len(ODD_NAMES) + 1, 2 * len(ODD_NAMES) + 2])
def test_a_move_that_was_broken_off_is_finished_by_the_next(
    run: Any, store: ProductionStore, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    """Redis goes away at each of the removals."""
    real, left = RedisConnection.command, [broken]

    async def command(link: RedisConnection, name: str, *args: Any, quick: bool = False) -> Any:
        if name == "UNLINK":
            if left[0] == 0:
                raise StoreUnavailable("away")
            left[0] -= 1
        return await real(link, name, *args, quick=quick)

    async def body() -> None:
        await committed(store, writes=ROWS)
        before = await theta(store, "e1")
        await store.decisions.archive_experiment("ann", "e1", NOW)
        with monkeypatch.context() as patch:
            patch.setattr(RedisConnection, "command", command)
            try:
                await store.forget(NOW, 0, 100)
            except StoreUnavailable:
                assert left == [0]
        await store.forget(NOW, 0, 100)
        assert not await redis_keys(store)
        assert await theta(store, "e1") == before

    run(body())
