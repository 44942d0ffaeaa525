"""Every test of this folder that uses `store` or `make_store` runs once per backend."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from streamsim.storage.contract.store import Store
from tests.effort import LONG
from tests.servers import production_store
from tests.storage.contract.helpers import experiment


@contextmanager
def _sqlite(request: pytest.FixtureRequest) -> Iterator[Callable[[], Store]]:
    from streamsim.storage.sqlite.store import SQLiteStore

    folder: Path = request.getfixturevalue("tmp_path")
    yield lambda: SQLiteStore(folder / "data" / "streamsim.db")


def _production(
    redis: Callable[[pytest.FixtureRequest], str],
    mongo: Callable[[pytest.FixtureRequest], str],
) -> Callable[[pytest.FixtureRequest], AbstractContextManager[Callable[[], Store]]]:
    """On the servers at these URLs, which other tests use as well."""

    @contextmanager
    def backend(request: pytest.FixtureRequest) -> Iterator[Callable[[], Store]]:
        name = f"test-{uuid4().hex}"
        if request.param != "given":
            request.getfixturevalue("mongo_server").make_database(name)
        yield lambda: production_store(redis(request), mongo(request), name)

    return backend


def _own(fixture: str) -> Callable[[pytest.FixtureRequest], str]:
    return lambda request: str(request.getfixturevalue(fixture).url)


def _given(variable: str, otherwise: str) -> Callable[[pytest.FixtureRequest], str]:
    return lambda request: os.environ.get(variable) or _own(otherwise)(request)


# A backend: a context with an empty installation that gives a function for new, unopened stores on it.
BACKENDS: dict[str, Callable[[pytest.FixtureRequest], AbstractContextManager[Callable[[], Store]]]] = {
    "sqlite": _sqlite,
    "production": _production(_own("redis_server"), _own("mongo_server")),
    "cluster": _production(_own("redis_cluster"), _own("mongo_server")),
}
if {"STREAMSIM_TEST_REDIS", "STREAMSIM_TEST_MONGO"} & os.environ.keys():
    BACKENDS["given"] = _production(
        _given("STREAMSIM_TEST_REDIS", "redis_server"), _given("STREAMSIM_TEST_MONGO", "mongo_server")
    )


# What MongoDB alone stores does not know whether Redis is a cluster: tested so in the long form.
OF_MONGO = ("test_accounts.py", "test_jobs.py", "test_runs.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "make_store" in metafunc.fixturenames:
        fewer = not LONG and metafunc.definition.path.name in OF_MONGO
        named = [one for one in BACKENDS if one != "cluster" or not fewer]
        metafunc.parametrize("make_store", named, indirect=True)


@pytest.fixture
def make_store(request: pytest.FixtureRequest, run: Any) -> Iterator[Callable[[], Store]]:
    """Opens another store on this test's installation, as one more server process would."""
    opened: list[Store] = []
    with BACKENDS[request.param](request) as new:

        def make() -> Store:
            store = new()
            run(store.open())
            opened.append(store)
            return store

        yield make
        for store in opened:
            run(store.close())


@pytest.fixture
def store(make_store: Callable[[], Store], run: Any) -> Store:
    """A store in which tenant `ann` has the experiments e1 and e2, and tenant `bob` has b1."""
    store = make_store()
    for one in (experiment("e1"), experiment("e2"), experiment("b1", tenant="bob")):
        run(store.decisions.create_experiment(one))
    return store
