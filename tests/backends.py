"""The switch: `storage` gives the settings of an empty installation.

A test about what is stored is marked `every_backend` and runs on each in turn. Any other that needs an
installation runs on SQLite alone, but on each in the long form (see `tests.effort`). `pytest --backend NAME`
names those to use.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import pymongo
import pytest
import redis

from streamsim.config import Settings
from tests.effort import LONG
from tests.servers import MongoServer, RedisServer

Storage = dict[str, object]
BACKENDS = ["sqlite", "production"]
GIVEN = ("STREAMSIM_TEST_REDIS", "STREAMSIM_TEST_MONGO")
if all(name in os.environ for name in GIVEN):
    BACKENDS.append("given")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", action="append", choices=BACKENDS, help="only on this one; may be repeated")


def chosen(config: pytest.Config, *, every: bool = False) -> list[str]:
    """The backends of a test; of one about what is stored if `every`."""
    named: list[str] | None = config.getoption("--backend")
    return named or (BACKENDS if every or LONG else BACKENDS[:1])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    every = metafunc.definition.get_closest_marker("every_backend") is not None
    for fixture in ("storage", "shared_storage"):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, chosen(metafunc.config, every=every), indirect=True)


def _empty(request: pytest.FixtureRequest) -> Storage:
    """Settings of a new, empty installation, e.g. for `config.load(overrides=...)` or `Server`."""
    if request.param == "sqlite":
        return {}
    if request.param == "given":
        return production(*(os.environ[name] for name in GIVEN))
    redis_server: RedisServer = request.getfixturevalue("redis_server")
    mongo_server: MongoServer = request.getfixturevalue("mongo_server")
    made = production(redis_server.url, mongo_server.url)
    mongo_server.make_database(str(made["storage.redis_prefix"]))
    return made


storage = pytest.fixture(_empty, name="storage")
shared_storage = pytest.fixture(_empty, name="shared_storage", scope="module")


def production(redis_url: str, mongo_url: str) -> Storage:
    """Settings of a new installation on these servers: names that nobody else uses."""
    name = f"test-{uuid4().hex}"
    return {
        "storage.redis": redis_url,
        "storage.mongo": urlsplit(mongo_url)._replace(path=f"/{name}").geturl(),
        "storage.redis_prefix": name,
    }


def dump(settings: Settings) -> str:
    """Everything that an installation has stored, as text."""
    return "\n".join(_everything(settings))


def _everything(settings: Settings) -> Iterator[str]:
    storage = settings.storage
    if not storage.redis:
        with sqlite3.connect(settings.storage_url().removeprefix("sqlite:///")) as db:
            yield from db.iterdump()
        db.close()
        return
    with redis.Redis.from_url(storage.redis) as client:
        for key in client.scan_iter(f"*{storage.redis_prefix}*"):
            yield f"{key!r} {client.dump(key)!r}"
    with pymongo.MongoClient[dict[str, object]](storage.mongo) as mongo:
        database = mongo.get_default_database()
        for name in database.list_collection_names():
            yield from map(repr, database[name].find())
