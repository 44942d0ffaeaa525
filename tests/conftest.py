"""Fixtures that every part of the tests may use."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from streamsim.sandbox.host import zygote
from tests.application import (
    admin,
    ann,
    app,
    bob,
    caller,
    clock,
    empty_file,
    http_loop,
    http_server,
    io_loop,
    nobody,
    sandbox,
    services,
    settings,
    user,
)
from tests.backends import pytest_addoption, pytest_generate_tests, shared_storage, storage
from tests.folders import tmp_path, use_memory
from tests.nursery import fork, nursery
from tests.servers import mongo_server, redis_cluster, redis_server
from tests.support import Server
from tests.warm import warm

__all__ = [
    "admin",
    "ann",
    "app",
    "bob",
    "caller",
    "clock",
    "empty_file",
    "http_loop",
    "http_server",
    "io_loop",
    "mongo_server",
    "nobody",
    "pytest_addoption",
    "pytest_generate_tests",
    "redis_cluster",
    "redis_server",
    "sandbox",
    "services",
    "settings",
    "shared_storage",
    "storage",
    "tmp_path",
    "user",
]

use_memory()

# Folders whose files are run by one process, where there are several: they share a browser, or what takes
# long to start. They are begun first.
TOGETHER = ("tests/models/", "tests/console/", "tests/sandbox/zygote/")
# Files that take long. Where files are dealt out to several processes these come first, the longest before
# the others, so that none is begun when the others are done.
LONG = (
    "test_concurrency.py",
    "test_schemathesis.py",
    "test_serve.py",
    "test_restart.py",
    "test_persistence.py",
    "test_replications.py",
    "test_ten_armed.py",
    "test_sweep_jobs.py",
    "test_outages.py",
    "test_warm.py",
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def pytest_configure() -> None:
    # What is collected stays: no need to look at it for garbage.
    gc.disable()
    Server.executed = False
    zygote.start = lambda *given: fork(nursery.address(), *given)


def pytest_unconfigure() -> None:
    warm.close()
    nursery.close()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Of several processes each imports its share of the test files before it collects them all, so that the
    others find them compiled: to rewrite their assertions is most of what collecting takes."""
    worker, root = os.environ.get("PYTEST_XDIST_WORKER"), session.config.rootpath
    if worker is None or list(session.config.args) != session.config.getini("testpaths"):
        return
    files = sorted((root / "tests").rglob("test_*.py"))
    for file in files[int(worker.removeprefix("gw")) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]:
        # What cannot be imported, or skips, says so when it is collected.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(file.relative_to(root).with_suffix("").parts))


def together(nodeid: str) -> str | None:
    """The folder of `TOGETHER` that a test is in."""
    return next((folder for folder in TOGETHER if nodeid.startswith(folder)), None)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deals out files, but those of a folder of `TOGETHER` as one."""
    if config.getoption("dist") != "loadfile":
        return None
    scheduler = LoadFileScheduling(config, log)
    file_of = scheduler._split_scope
    scheduler._split_scope = lambda nodeid: together(nodeid) or file_of(nodeid)
    return scheduler


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate((*TOGETHER, *LONG))}

    def place(item: pytest.Item) -> tuple[int, bool]:
        # Those that share a browser come in a row, as it is there no longer.
        shares = "browser" in getattr(item, "fixturenames", ())
        return order.get(together(item.nodeid) or item.path.name, len(order)), not shares

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """From here on garbage is looked for, but rarely, as what tests make is mostly gone without that, and not
    in what was collected."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs a coroutine to its end; every call of one test shares one event loop."""
    with asyncio.Runner() as runner:
        yield runner.run
