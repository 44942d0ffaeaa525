"""What MongoDB refuses as too large stays smaller, or is refused by name. nx-27017 takes any size."""

from __future__ import annotations

from typing import Any

import bson
import pymongo
import pytest
from pymongo.errors import DocumentTooLarge, WriteError

from streamsim.errors import TooLarge
from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.contract.jobs import Job
from streamsim.storage.contract.runs import Append, Run
from streamsim.storage.mongo.connection import reaching
from streamsim.storage.production.store import ProductionStore
from tests.servers import MongoServer

LARGEST = 16 << 20
NOW = 1_700_000_000_000


def documents(mongo_server: MongoServer, name: str) -> list[int]:
    """Sizes of all documents of runs."""
    with mongo_server.client() as client:
        both = (client[name]["runs"], client[name]["run_chunks"])
        return [len(bson.encode(one)) for collection in both for one in collection.find()]


def test_a_journal_of_large_entries_is_in_documents_that_mongodb_takes(
    run: Any, store: ProductionStore, mongo_server: MongoServer, name: str
) -> None:
    async def body() -> None:
        made = Run(id="r1", tenant="ann", kind="instance", models={}, seed=1, created_ms=NOW, modified_ms=NOW)
        await store.runs.create_runs([made])
        for number in range(5):
            assert await store.runs.append(Append("r1", number, NOW, [b"x" * (4 << 20)])) is not None

    run(body())
    sizes = documents(mongo_server, name)
    assert sum(sizes) > 20 << 20 > LARGEST
    assert max(sizes) < LARGEST


def test_a_record_that_is_too_large_is_refused_and_mongodb_is_not_called_away(
    run: Any, store: ProductionStore
) -> None:
    large = Job(
        id="j1",
        kind="sweep",
        tenant="ann",
        experiment_id="",
        total=1,
        created_ms=NOW,
        modified_ms=NOW,
        spec=b"x" * (17 << 20),
    )

    async def body() -> None:
        with pytest.raises(TooLarge, match="16 MiB"):
            await store.jobs.create_job(large)

    run(body())


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (DocumentTooLarge("the client says so"), TooLarge),
        (WriteError("Resulting document after update is larger than 16777216", 17419), TooLarge),
        (WriteError("another", 8), StoreUnavailable),
        (pymongo.errors.AutoReconnect("gone"), StoreUnavailable),
    ],
)
def test_what_the_driver_says_of_a_size_is_told_apart_from_a_server_that_is_away(
    run: Any, refusal: Exception, expected: type[Exception]
) -> None:
    async def body() -> None:
        with pytest.raises(expected):
            async with reaching():
                raise refusal

    run(body())
