"""What only the SQLite store promises: its file, its processes, its disk."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamsim.storage.contract.decisions import Summary, ThetaAddress
from streamsim.storage.contract.errors import DuplicateName, StoreUnavailable
from streamsim.storage.sqlite import schema as sqlite_schema
from streamsim.storage.sqlite.store import SQLiteStore
from streamsim.storage.sqlite.writer import Turn
from tests.patience import PATIENCE_S
from tests.storage.contract.helpers import (
    committed,
    experiment,
    log,
    row,
    transaction,
    whole,
)
from tests.storage.sqlite.conftest import opened

# Commits one log row and one more in a counter again and again, prints each that was acknowledged, and stops
# when its standard input closes. Arguments: file, name, counter's key.
WRITER = """
import asyncio, json, sys
from pathlib import Path
from streamsim.storage.contract.decisions import Committed, ThetaAddress, Transaction
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.sqlite.store import SQLiteStore

async def main(file, name, key):
    store = SQLiteStore(Path(file))
    await store.open()
    stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    counter = ThetaAddress("e1", "_theta", key, "")
    rows = await store.decisions.read_theta(counter)
    i = 0
    while not stop.done():
        data, version = rows.rows.get((key, ""), (b'{"n":0}', 0))
        answer = await store.decisions.commit(Transaction(
            "ann", {"e1": 1}, reads={counter: version},
            writes={counter: json.dumps({"n": json.loads(data)["n"] + 1}).encode()},
            logs=[LogRow("e1", "reward", f"{name}-{i}", 1, b"{}")],
        ))
        if isinstance(answer, Committed):
            print(f"{name}-{i}", flush=True)
            rows = await store.decisions.read_theta(counter)
            i += 1
        else:
            rows = answer.theta[counter]
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def writer(path: Path, name: str, key: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITER, str(path), name, key]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def state(store: SQLiteStore) -> tuple[int, list[str], Summary]:
    """Sum of all counters, ids in the reward log, summary."""
    theta = await store.decisions.read_theta(whole())
    count = sum(json.loads(data)["n"] for data, _ in theta.rows.values())
    rows = await store.logs.read_log("e1", "reward", limit=1_000_000)
    return count, [one.id for one in rows], await store.decisions.summary("e1")


@pytest.mark.durable
@pytest.mark.parametrize("same", [True, False], ids=["one counter", "two counters"])
def test_a_killed_process_loses_no_acknowledged_commit(run: Any, path: Path, same: bool) -> None:
    with opened(path, run) as store:
        run(store.decisions.create_experiment(experiment()))
        killed_keys = ["k", "k"] if same else ["k", "l"]
        acknowledged: list[str] = []
        with (
            writer(path, "survivor", killed_keys[0]) as survivor,
            writer(path, "killed", killed_keys[1]) as killed,
        ):
            assert survivor.stdin
            assert survivor.stdout
            assert killed.stdout
            acknowledged += [killed.stdout.readline().strip() for _ in range(25)]
            killed.send_signal(signal.SIGKILL)
            acknowledged += [line.strip() for line in killed.stdout if line.endswith("\n")]
            acknowledged += [survivor.stdout.readline().strip() for _ in range(25)]
            survivor.stdin.close()
            acknowledged += survivor.stdout.read().split()
            assert survivor.wait(PATIENCE_S) == 0
        count, ids, summary = run(state(store))
        assert len(ids) == len(set(ids)) == count == summary.reward_calls
        assert set(acknowledged) <= set(ids)
        assert len(ids) <= len(acknowledged) + 1  # the last one of the killed process may be in, as a whole
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.durable
def test_a_file_left_by_a_killed_process_opens_with_all_that_was_acknowledged(run: Any, path: Path) -> None:
    with opened(path, run) as store:
        run(store.decisions.create_experiment(experiment()))
    with writer(path, "w", "k") as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    with opened(path, run) as store:
        count, ids, summary = run(state(store))
        assert ids[::-1][: len(acknowledged)] == acknowledged
        assert count == len(ids) == summary.reward_calls <= len(acknowledged) + 1


def test_files_are_private(run: Any, path: Path) -> None:
    before = os.umask(0o022)
    try:
        with opened(path, run) as store:
            run(store.ping())
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            assert {"streamsim.db", "streamsim.db-wal", "streamsim.db-shm"} <= modes.keys()
            assert set(modes.values()) == {0o600}
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_a_full_disk_refuses_commits_and_applies_nothing(run: Any, path: Path) -> None:
    big = b'"' + b"x" * 200_000 + b'"'

    async def body(store: SQLiteStore) -> None:
        await store.decisions.create_experiment(experiment())
        await committed(store, writes={row(): b'{"n":1}'}, logs=[log("before", "reward")])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = max(file.stat().st_size for file in path.parent.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50_000, hard))
        try:
            attempts = [
                store.decisions.commit(
                    transaction(writes={row(key=str(i)): b'{"n":1}'}, logs=[log(f"r{i}", "reward", data=big)])
                )
                for i in range(3)
            ]
            for answer in await asyncio.gather(*attempts, return_exceptions=True):
                assert isinstance(answer, StoreUnavailable)
                assert str(path) not in str(answer)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert await state(store) == (1, ["before"], Summary(0, None, 1, log("").date_ms))
        await store.ping()
        await committed(store, writes={row(key="after"): b'{"n":1}'}, logs=[log("after", "reward", data=big)])
        assert (await state(store))[:2] == (2, ["after", "before"])

    with opened(path, run) as store:
        run(body(store))


def test_a_process_that_keeps_the_lock_makes_the_store_unavailable_for_a_time(run: Any, path: Path) -> None:
    with opened(path, run, busy_ms=30) as store:
        run(store.decisions.create_experiment(experiment()))
        with closing(Turn(path, 1000)) as other:
            with other:
                for call in (store.ping(), committed(store, logs=[log("r")])):
                    with pytest.raises(StoreUnavailable):
                        run(call)
                assert run(store.logs.read_log("e1", "action", limit=9)) == []  # reads go on
            run(committed(store, logs=[log("r")]))


def test_another_tool_that_writes_is_waited_for_and_then_given_up(run: Any, path: Path) -> None:
    with opened(path, run, busy_ms=30) as store, closing(sqlite3.connect(path, isolation_level=None)) as tool:
        tool.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            run(store.ping())
        tool.execute("ROLLBACK")
        run(store.ping())


def test_one_failing_job_of_a_group_leaves_the_others(run: Any, path: Path) -> None:
    async def body(store: SQLiteStore) -> None:
        await store.decisions.create_experiment(experiment())
        calls = [
            committed(store, writes={row(key="a"): b"{}"}),
            store.decisions.create_experiment(experiment("e9", name="name of e1")),
            committed(store, writes={row(key="b"): b"{}"}),
            committed(store, writes={row(key="c"): b"{}"}, logs=[log("c", None)]),
            committed(store, writes={row(key="d"): b"{}"}, logs=[log("d", "reward")]),
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in outcomes] == [dict, DuplicateName, dict, sqlite3.IntegrityError, dict]
        theta = await store.decisions.read_theta(whole())
        assert sorted(key for key, _ in theta.rows) == ["a", "b", "d"]
        versions = [outcome["e1"] for outcome in outcomes if isinstance(outcome, dict)]
        assert versions == sorted(set(versions))
        assert theta.version == versions[-1]
        assert (await store.decisions.summary("e1")).reward_calls == 1

    with opened(path, run) as store:
        run(body(store))


def test_a_cancelled_caller_disturbs_no_other(run: Any, path: Path) -> None:
    async def body(store: SQLiteStore) -> None:
        await store.decisions.create_experiment(experiment())
        calls = [asyncio.ensure_future(committed(store, logs=[log(str(i))])) for i in range(10)]
        await asyncio.sleep(0)
        calls[3].cancel()
        async with asyncio.timeout(30):
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in outcomes] == [dict] * 3 + [asyncio.CancelledError] + [dict] * 6
        assert await store.decisions.read_theta(ThetaAddress("e1", "_theta", None, None))

    with opened(path, run) as store:
        run(body(store))


def test_many_processes_may_open_a_new_file_at_once(run: Any, path: Path) -> None:
    stores = [SQLiteStore(path) for _ in range(5)]

    async def body() -> None:
        await asyncio.gather(*(store.open() for store in stores))
        await asyncio.gather(
            *(store.decisions.create_experiment(experiment(f"e{i}")) for i, store in enumerate(stores))
        )
        for store in stores:
            assert len(await store.decisions.list_experiments("ann", limit=9)) == 5
        await asyncio.gather(*(store.close() for store in stores))

    run(body())


def test_a_file_of_another_application_or_a_newer_version_is_left_alone(run: Any, path: Path) -> None:
    path.parent.mkdir(parents=True)
    foreign = path.with_name("foreign.db")
    newer = path.with_name("newer.db")
    text = path.with_name("text.db")
    text.write_text("not a database at all, but long enough to be read as one" * 20)
    with closing(sqlite3.connect(foreign)) as db:
        db.execute("CREATE TABLE theirs (x)")
    with opened(newer, run):
        pass
    with closing(sqlite3.connect(newer)) as db:
        db.execute("PRAGMA user_version = 99")
    for file, why in ((foreign, "another application"), (newer, "newer"), (text, "not a database")):
        with pytest.raises(StoreUnavailable, match=why) as error, opened(file, run):
            pass
        assert str(path.parent) not in str(error.value)
    with closing(sqlite3.connect(foreign)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_a_folder_that_cannot_be_made_is_unavailable(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable), opened(tmp_path / "file" / "streamsim.db", run):
        pass


def test_an_older_schema_is_upgraded_once_with_its_rows(tmp_path: Path) -> None:
    steps = (
        "CREATE TABLE a (x); INSERT INTO a VALUES (1);",
        "ALTER TABLE a ADD COLUMN y DEFAULT 'semi;colon';\n-- a remark\nUPDATE a SET x = x + 1;",
    )
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as db:
        for known in (steps[:1], steps, steps):
            sqlite_schema.upgrade(db, known)
            assert db.execute("PRAGMA user_version").fetchone() == (len(known),)
        assert db.execute("SELECT x, y FROM a").fetchall() == [(2, "semi;colon")]
        with pytest.raises(sqlite3.OperationalError):
            sqlite_schema.upgrade(db, (*steps, "CREATE TABLE b (x);", "CREATE TABLE a (x);"))
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("a",)]


def test_what_was_stored_is_there_after_reopening(run: Any, path: Path) -> None:
    with opened(path, run) as store:
        run(store.decisions.create_experiment(experiment()))
        version = run(committed(store, writes={row(): b"{}"}, logs=[log("r")]))["e1"]
    with opened(path, run, synchronous="NORMAL") as store:
        assert run(store.decisions.get_experiment("e1")) == experiment()
        assert run(store.decisions.read_theta(row())).version == version
        assert run(committed(store, deletes=[whole()]))["e1"] > version
        assert store.describe()["synchronous"] == "NORMAL"


def test_a_look_for_jobs_that_finds_none_waits_for_no_writer(run: Any, path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write(_: sqlite3.Connection) -> None:
        begun.set()
        assert go_on.wait(PATIENCE_S)

    async def body(store: SQLiteStore) -> None:
        writing = asyncio.ensure_future(store._db.write(write))
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S / 2):
            assert await store.jobs.claim_job("p", 1, 2, kind="simulate") is None
        go_on.set()
        await writing

    with opened(path, run) as store:
        run(body(store))
