"""Indexes are made once for each version of them, whoever opens the database, and how many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pymongo import ASCENDING, IndexModel

from streamsim.storage.contract.logs import LogKind
from streamsim.storage.mongo.connection import MongoConnection
from streamsim.storage.mongo.schema import INDEXES, SCHEMA_VERSION, ensure_indexes
from tests.servers import MongoServer

# What version 1 stands for, as field and order. A change of it has a version of its own.
DEFINED = {
    "archived_theta": ["experiment+"],
    "job_parts": ["job+"],
    "jobs": ["tenant+ experiment+ number-", "tenant+ number-", "state+ number+"],
    **{f"log_{kind}": ["experiment+ position-"] for kind in get_args(LogKind)},
    "log_reward": ["experiment+ position-", "experiment+ advice+"],
    "model_versions": ["tenant+ name+ version+"],
    "models": ["tenant+ order+"],
    "run_chunks": ["run+ at+"],
    "runs": ["tenant+ kind+ project+ created_ms+", "expires_ms+", "tenant+ index.name+ index.number+"],
    "sessions": ["uid+ kind+ created_ms+", "expires_ms+"],
    "statistics": ["experiment+ modified_ms-"],
}


class Database:
    """One database: opened as server processes do, looked at and changed from outside."""

    def __init__(self, server: MongoServer, name: str) -> None:
        self._server, self._name = server, name
        self.url = f"{server.url}/{name}"

    async def open(self, times: int = 1) -> None:
        """By so many processes at once."""
        connections = [MongoConnection(self.url) for _ in range(times)]
        await asyncio.gather(*(one.open() for one in connections))
        await asyncio.gather(*(one.close() for one in connections))

    def indexes(self) -> dict[str, list[str]]:
        """What is there, but for those of `_id`."""
        with self._server.client() as client:
            database = client[self._name]
            found = {
                name: [
                    " ".join(field for field, _ in index["key"])
                    for key, index in database[name].index_information().items()
                    if key != "_id_"
                ]
                for name in database.list_collection_names()
            }
        return {name: sorted(indexes) for name, indexes in found.items() if indexes}

    def drop_index(self, collection: str) -> None:
        """All of a collection."""
        with self._server.client() as client:
            client[self._name][collection].drop_indexes()

    def versions(self) -> list[int]:
        with self._server.client() as client:
            return [one["version"] for one in client[self._name]["schema"].find()]

    def say(self, version: int | None) -> None:
        """Make the database say that it has the indexes of a version, or of none."""
        with self._server.client() as client:
            schema = client[self._name]["schema"]
            schema.delete_many({})
            if version is not None:
                schema.insert_one({"_id": "indexes", "version": version})


# What a database shows of them; the server of these tests does not tell the order of a field.
ALL = {name: sorted(one.translate({43: "", 45: ""}) for one in indexes) for name, indexes in DEFINED.items()}


@pytest.fixture
def database(mongo_server: MongoServer, name: str) -> Database:
    return Database(mongo_server, name)


def test_version_3_stands_for_these_indexes() -> None:
    found = {
        name: [
            " ".join(
                f"{field}{'+' if order == ASCENDING else '-'}" for field, order in one.document["key"].items()
            )
            for one in models
        ]
        for name, models in INDEXES.items()
    }
    assert (SCHEMA_VERSION, found) == (3, DEFINED)


def test_a_new_database_gets_all_and_says_so(run: Any, database: Database) -> None:
    run(database.open())
    assert (database.indexes(), database.versions()) == (ALL, [SCHEMA_VERSION])


def test_of_processes_that_open_a_new_database_at_once_all_find_them(run: Any, database: Database) -> None:
    run(database.open(times=6))
    assert (database.indexes(), database.versions()) == (ALL, [SCHEMA_VERSION])


def test_a_database_that_has_this_version_or_a_later_one_is_left_alone(run: Any, database: Database) -> None:
    run(database.open())
    database.drop_index("jobs")
    rest = {name: indexes for name, indexes in ALL.items() if name != "jobs"}
    for version in (SCHEMA_VERSION, SCHEMA_VERSION + 1):
        database.say(version)
        run(database.open(times=2))
        assert (database.indexes(), database.versions()) == (rest, [version])


@pytest.mark.parametrize("version", [None, SCHEMA_VERSION - 1])
def test_a_database_from_before_gets_what_it_lacks(run: Any, database: Database, version: int | None) -> None:
    run(database.open())
    database.drop_index("jobs")
    database.say(version)
    run(database.open(times=3))
    assert (database.indexes(), database.versions()) == (ALL, [SCHEMA_VERSION])


class Ending(dict[str, list[IndexModel]]):
    """Indexes whose maker ends halfway."""

    def items(self) -> Iterator[tuple[str, list[IndexModel]]]:  # type: ignore[override]
        yield from list(super().items())[: len(self) // 2]
        raise ConnectionAbortedError


def test_a_process_that_ends_halfway_leaves_the_rest_to_the_next(run: Any, database: Database) -> None:
    async def body() -> None:
        connection = MongoConnection(database.url)
        await connection.open()
        for name in INDEXES:
            await connection.database[name].drop_indexes()
        await connection.database.schema.delete_many({})
        with pytest.raises(ConnectionAbortedError):
            await ensure_indexes(connection.database, Ending(INDEXES))
        await connection.close()

    run(body())
    assert 0 < len(database.indexes()) < len(ALL)
    assert database.versions() == []
    run(database.open())
    assert (database.indexes(), database.versions()) == (ALL, [SCHEMA_VERSION])
