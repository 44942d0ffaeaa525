"""How the production store uses MongoDB: indexes, acknowledged writes, payloads to the byte."""

from __future__ import annotations

import asyncio
import os
from typing import Any, get_args

import pymongo
import pytest
from msgspec.structs import replace

from streamsim.storage.contract.accounts import LoginSession, User
from streamsim.storage.contract.errors import DuplicateName, StoreUnavailable
from streamsim.storage.contract.logs import LogKind, LogRow
from streamsim.storage.mongo import schema
from streamsim.storage.mongo.accounts import MongoAccounts
from streamsim.storage.mongo.connection import MongoConnection
from streamsim.storage.mongo.logs import MongoLogs
from streamsim.storage.production.store import ProductionStore
from tests.servers import MongoServer
from tests.storage.conftest import Make
from tests.storage.contract.helpers import HOUR, NOW, ODD, committed, log

# What the queries of accounts and logs need: collection -> leading fields of an index. `_id` is always there.
NEEDED: dict[str, set[tuple[str, ...]]] = {
    "sessions": {("uid", "kind", "created_ms"), ("expires_ms",)},
    **{f"log_{kind}": {("experiment", "position")} for kind in get_args(LogKind)},
}


def user(name: str = "ann", **changes: Any) -> User:
    fields: dict[str, Any] = {"name": name, "password_hash": "x", "created_ms": NOW}
    return User(**(fields | changes))


def session(id: str, name: str = "ann", **changes: Any) -> LoginSession:
    fields: dict[str, Any] = {"kind": "cookie", "epoch": 1, "created_ms": NOW, "expires_ms": NOW + HOUR}
    return LoginSession(**({"id": id, "user": name} | fields | changes))


def test_collections_have_the_indexes_that_queries_need(
    run: Any, store: ProductionStore, mongo_server: MongoServer, name: str
) -> None:
    run(committed(store, logs=[log("a")]))
    with mongo_server.client() as client:
        for collection, needed in NEEDED.items():
            present = {
                tuple(field for field, _ in index["key"])
                for index in client[name][collection].index_information().values()
            }
            assert needed <= present, collection
    assert {one for one in schema.INDEXES if one.startswith(("log_", "sessions"))} == NEEDED.keys()


@pytest.mark.skipif(
    "STREAMSIM_TEST_MONGO" not in os.environ,
    reason="nx-27017 explains in a form of its own: name another server in STREAMSIM_TEST_MONGO",
)
def test_no_query_of_a_given_server_scans_a_collection(run: Any, make_store: Make, name: str) -> None:
    run(make_store(mongo=os.environ["STREAMSIM_TEST_MONGO"]))
    with pymongo.MongoClient[dict[str, Any]](os.environ["STREAMSIM_TEST_MONGO"]) as client:
        database = client[name]
        queries = [
            database["log_action"]
            .find({"experiment": "e", "position": {"$lt": 5}})
            .sort("position", -1)
            .limit(3),
            database["log_action"]
            .find({"experiment": "e", "position": {"$gt": 5}})
            .sort("position", 1)
            .limit(3),
            database["log_reward"].find({"experiment": "e", "advice": {"$in": ["a", "b"]}}),
            database["log_reward"].find({"experiment": "e", "advice": None}).limit(1),
            database["statistics"].find({"experiment": "e"}).sort("modified_ms", -1),
            database["log_action"].find({"_id": {"$in": ["a", "b"]}}),
            database["sessions"].find({"uid": "u", "kind": "token"}).sort("created_ms", 1),
            database["sessions"].find({"expires_ms": {"$lte": 5}}).limit(3),
            database["users"].find({"_id": {"$gt": "a"}}).sort("_id", 1).limit(3),
        ]
        for query in queries:
            try:
                explained = query.explain()
            except pymongo.errors.OperationFailure as error:
                pytest.skip(f"this server cannot explain: {error}")
            plan = str(explained["queryPlanner"]["winningPlan"])
            assert "COLLSCAN" not in plan
            assert "SORT'" not in plan


def test_writes_wait_for_a_majority_and_its_journal(run: Any, store: ProductionStore) -> None:
    concern = store._mongo.database.write_concern.document
    assert concern["w"] == "majority"
    assert concern["j"] is True
    assert concern["wtimeout"] > 0


def test_the_database_and_options_of_the_url_are_used(run: Any, mongo_server: MongoServer, name: str) -> None:
    connection = MongoConnection(
        f"mongodb://127.0.0.1:{mongo_server.port}/{name}?serverSelectionTimeoutMS=123"
    )

    async def body() -> None:
        await connection.open()
        await MongoAccounts(connection).create_user(user())
        assert connection.place == f"127.0.0.1:{mongo_server.port}/{name}"
        assert connection._client.options.server_selection_timeout == 0.123
        assert connection._client.options.pool_options.connect_timeout == 3
        await connection.close()

    run(body())
    with mongo_server.client() as client:
        assert client[name]["users"].count_documents({}) == 1


@pytest.mark.parametrize(
    "url", ["mongodb://", "http://x", "mongodb://host:port", "mongodb://127.0.0.1:1/?x=y"]
)
def test_a_wrong_url_is_unavailable_not_a_crash(run: Any, url: str) -> None:
    async def body() -> None:
        with pytest.raises(StoreUnavailable, match="MongoDB"):
            await MongoConnection(url).open()

    run(body())


def test_payloads_stay_to_the_byte_and_can_be_read_by_people(
    run: Any, store: ProductionStore, mongo_server: MongoServer, name: str
) -> None:
    payloads = [ODD, b"\xff not even text", b"{}", b'{"$where": {"a.b.": 9223372036854775807}}']
    dates = [0, -1, 2**53, 2**62]

    async def body() -> None:
        await committed(
            store,
            logs=[
                log(str(n), date_ms=date, data=data)
                for n, (date, data) in enumerate(zip(dates, payloads, strict=True))
            ],
        )
        rows = (await store.logs.read_log("e1", "action", limit=9))[::-1]
        assert [row.data for row in rows] == payloads
        assert [row.date_ms for row in rows] == dates

    run(body())
    with mongo_server.client() as client:
        stored = client[name]["log_action"].find_one({"_id": "3"})
        assert stored is not None
        assert stored["data"] == payloads[3].decode()


def test_append_says_which_rows_are_repetitions_of_others(run: Any, store: ProductionStore) -> None:
    logs = MongoLogs(store._mongo)
    first = [LogRow("e1", "action", f"{n}", NOW, b"1", f"{n}") for n in range(4)]
    other = [replace(row, position=f"{int(row.position) + 100}", data=b"2") for row in first[:2]]
    fresh = LogRow("e1", "action", "new", NOW, b"3", "200")

    async def body() -> None:
        assert await logs.append(first) == []
        assert await logs.append(first) == []
        assert await logs.append([*first, *other, fresh]) == other
        assert await logs.append([]) == []
        rows = await logs.read_log("e1", "action", limit=9)
        assert [(row.id, row.data) for row in rows] == [
            ("new", b"3"),
            *((str(n), b"1") for n in (3, 2, 1, 0)),
        ]

    run(body())


def test_sessions_of_a_removed_account_are_not_those_of_its_successor(
    run: Any, store: ProductionStore, mongo_server: MongoServer, name: str
) -> None:
    """Also if the process that removed the account ended before it removed the sessions."""

    async def body() -> None:
        await store.accounts.create_user(user())
        await store.accounts.add_session(session("s1"))
        await store.accounts.add_session(session("t1", kind="token"))
        with mongo_server.client() as client:
            client[name]["users"].delete_one({"_id": "ann"})
        await store.accounts.create_user(user())
        assert await store.accounts.get_session("s1", NOW) is None
        assert await store.accounts.get_session("t1", NOW) is None
        assert await store.accounts.list_sessions("ann", "token", NOW) == []
        assert await store.accounts.remove_session("ann", "t1")

    run(body())


def test_one_of_many_racing_accounts_and_secrets_is_stored(run: Any, make_store: Make) -> None:
    async def body() -> None:
        stores = [await make_store() for _ in range(3)]
        secrets = await asyncio.gather(
            *(store.accounts.secret("cookie", b"%d" % n) for n, store in enumerate(stores * 3))
        )
        assert len(set(secrets)) == 1
        made = await asyncio.gather(
            *(store.accounts.create_user(user(password_hash=str(n))) for n, store in enumerate(stores * 3)),
            return_exceptions=True,
        )
        assert [type(one) for one in made if one is not None] == [DuplicateName] * 8
        found = await stores[0].accounts.get_user("ann")
        assert found is not None
        assert found.password_hash == str(made.index(None))

    run(body())
