"""The backups that docs/operations.md describes, made while the server works, and restored."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.backends import production
from tests.servers import MongoServer, RedisServer, wait_until
from tests.support import Client, Server

pytestmark = pytest.mark.durable

COUNT = """
stored = self.get_theta(key="n", value="all")
self.set_theta({"n": stored.get("n", 0) + 1}, key="n", value="all")
"""


def create(client: Client) -> dict[str, Any]:
    created: dict[str, Any] = client.post("/exp", {"name": "counter", "set_reward": COUNT}).body
    return created


def reward(client: Client, one: dict[str, Any]) -> None:
    assert client.post(f"/setreward/{one['id']}", {"key": one["key"], "reward": 1}).status == 200


def count(client: Client, one: dict[str, Any]) -> int:
    n: int = client.get(f"/stats/{one['id']}/currenttheta").body["n:all"]["n"]
    return n


def logged(client: Client, one: dict[str, Any]) -> int:
    return len(client.get(f"/stats/{one['id']}/rewardlog?limit=5000").body)


def test_a_copy_of_sqlite_made_under_load_has_all_that_was_acknowledged_before(tmp_path: Path) -> None:
    with Server(tmp_path / "one") as server:
        admin, other = server.admin(), server.client()
        one = create(admin)
        for _ in range(20):
            reward(admin, one)
        stopped = threading.Event()

        def load() -> None:
            while not stopped.is_set():
                reward(other, one)

        thread = threading.Thread(target=load)
        thread.start()
        folder = tmp_path / "two" / "data"
        folder.mkdir(parents=True)
        source = sqlite3.connect(tmp_path / "one" / "data" / "streamsim.db")
        target = sqlite3.connect(folder / "streamsim.db")
        source.backup(target)  # what `sqlite3 streamsim.db ".backup FILE"` does
        source.close()
        target.close()
        stopped.set()
        thread.join()
    with Server(tmp_path / "two") as server:
        admin = server.admin()
        assert count(admin, one) == logged(admin, one) >= 20
        reward(admin, one)


def test_files_of_sqlite_copied_while_it_is_stopped_are_a_backup(tmp_path: Path) -> None:
    with Server(tmp_path / "one") as server:
        admin = server.admin()
        one = create(admin)
        for _ in range(5):
            reward(admin, one)
    shutil.copytree(tmp_path / "one" / "data", tmp_path / "two" / "data")
    with Server(tmp_path / "two") as server:
        admin = server.admin()
        assert count(admin, one) == logged(admin, one) == 5


def test_a_snapshot_of_redis_is_restored_into_a_server_with_appendonly(
    tmp_path: Path, mongo_server: MongoServer
) -> None:
    old = RedisServer(tmp_path / "old")
    old.start()
    settings = production(old.url, mongo_server.url)
    with Server(tmp_path / "one", settings=settings) as server:
        admin = server.admin()
        one = create(admin)
        for _ in range(20):
            reward(admin, one)
        with old.client() as client:
            before = client.lastsave()
            client.bgsave()
            wait_until(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0, "a snapshot")
            assert client.lastsave() >= before
        reward(admin, one)  # after the snapshot: its row stays in the log, its effect is not restored
    old.stop()

    new = RedisServer(tmp_path / "new", "--appendonly", "no")
    shutil.copy(tmp_path / "old" / "dump.rdb", tmp_path / "new" / "dump.rdb")
    new.start()
    with new.client() as client:
        client.config_set("appendonly", "yes")
        wait_until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, "the append-only file")
        wait_until(lambda: client.info("persistence")["aof_last_bgrewrite_status"] == "ok", "its end")
    new.kill()
    new.options = ()  # from here on as configured
    new.start()
    with Server(tmp_path / "two", settings={**settings, "storage.redis": new.url}) as server:
        admin = server.admin()
        assert count(admin, one) == 20
        assert logged(admin, one) == 21
        reward(admin, one)
        assert count(admin, one) == 21
        assert logged(admin, one) == 22
    new.stop()
