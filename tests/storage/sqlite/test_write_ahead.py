"""SQLite's log grows in steps, which loses nothing of what anybody commits."""

from __future__ import annotations

import logging
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from streamsim.storage.sqlite import write_ahead
from streamsim.storage.sqlite.database import Database
from streamsim.storage.sqlite.write_ahead import SMALL, STEP, WriteAheadLog

PIECE = 100_000
KEPT = "INSERT INTO claims (work, owner, expires_ms) VALUES (?, ?, 1)"


@pytest.fixture
def db(run: Any, path: Path) -> Iterator[Database]:
    opened = Database(path, "FULL", 5000)
    run(opened.open())
    yield opened
    run(opened.close())


def log_bytes(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


def fill(run: Any, db: Database, name: str, count: int) -> None:
    """So many commits of 100 kB."""

    def keep(number: int, one: sqlite3.Connection) -> None:
        one.execute(KEPT, (f"{name}{number}", "x" * PIECE))

    for number in range(count):
        run(db.write(partial(keep, number)))


def kept_after_a_crash(path: Path, folder: Path) -> list[str]:
    """What a new process finds where the ones before did not close anything."""
    folder.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        shutil.copy(path.with_name(name), folder / name)
    with closing(sqlite3.connect(folder / path.name)) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [work for (work,) in other.execute("SELECT work FROM claims ORDER BY rowid")]


def test_a_log_grows_by_whole_steps_and_is_read_after_a_crash(
    run: Any, db: Database, path: Path, tmp_path: Path
) -> None:
    fill(run, db, "a", SMALL // PIECE // 2)
    assert log_bytes(path) < SMALL
    fill(run, db, "b", SMALL // PIECE)
    assert log_bytes(path) == STEP
    fill(run, db, "c", STEP // PIECE)
    assert log_bytes(path) == 2 * STEP
    expected = [
        f"{name}{number}" for name, count in zip("abc", (5, 10, 41), strict=True) for number in range(count)
    ]
    assert kept_after_a_crash(path, tmp_path / "copy") == expected


def test_after_a_checkpoint_its_space_serves_again(
    run: Any, db: Database, path: Path, tmp_path: Path
) -> None:
    fill(run, db, "a", 20)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0] == 0
    fill(run, db, "b", 30)
    assert log_bytes(path) == STEP
    expected = [f"a{number}" for number in range(20)] + [f"b{number}" for number in range(30)]
    assert kept_after_a_crash(path, tmp_path / "copy") == expected


def test_processes_and_tools_that_write_too_lose_nothing_and_do_not_make_it_longer(
    run: Any, db: Database, path: Path, tmp_path: Path
) -> None:
    second = Database(path, "FULL", 5000)
    run(second.open())
    expected = []
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as tool:
            for turn in range(10):
                fill(run, db, f"a{turn}-", 1)
                fill(run, second, f"b{turn}-", 1)
                tool.execute(KEPT, (f"c{turn}", "x" * PIECE))
                expected += [f"a{turn}-0", f"b{turn}-0", f"c{turn}"]
            assert kept_after_a_crash(path, tmp_path / "copy") == expected
            assert log_bytes(path) == STEP
    finally:
        run(second.close())


@contextmanager
def full_disk_after(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_without_space_for_a_step_is_told_once_and_stops_nobody(
    run: Any, db: Database, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(write_ahead, "SMALL", 1 << 40)  # so that the store's own does nothing
    fill(run, db, "a", 15)
    monkeypatch.undo()
    size = log_bytes(path)
    with closing(WriteAheadLog(path)) as log, caplog.at_level(logging.WARNING):
        with full_disk_after(size):
            for _ in range(3):
                log.make_room()
        assert caplog.text.count("grows with each commit") == 1
        assert log_bytes(path) == size
        log.make_room()
        assert log_bytes(path) == STEP
