"""Every test of this folder that uses `store` or `make_store` runs once per backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamsim.storage.contract import Store

from .helpers import experiment


@contextmanager
def _sqlite(request: pytest.FixtureRequest) -> Iterator[Callable[[], Store]]:
    from streamsim.storage.sqlite import SQLiteStore

    folder: Path = request.getfixturevalue("tmp_path")
    yield lambda: SQLiteStore(folder / "data" / "streamsim.db")


# A backend: a context with an empty installation that gives a function for new, unopened stores on it.
BACKENDS: dict[str, Callable[[pytest.FixtureRequest], AbstractContextManager[Callable[[], Store]]]] = {
    "sqlite": _sqlite,
}


@pytest.fixture(params=BACKENDS)
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
        run(store.create_experiment(one))
    return store
