"""`streamsim migrate` as an operator uses it: SQLite to Redis and MongoDB, and back, with servers on each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamsim.cli.main import main
from tests.backends import Storage, production
from tests.servers import MongoServer, RedisServer
from tests.support import Client, Server

COUNT = """
stored = self.get_theta(key="n", value=str(self.action["arm"]))
self.set_theta({"n": stored.get("n", 0) + 1, "half": 0.5}, key="n", value=str(self.action["arm"]))
"""


def migrate(source: str, target: str, prefix: object = "streamsim") -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("streamsim")), "migrate", "--from", source, "--to", target]
    environment = os.environ | {"STREAMSIM_STORAGE_REDIS_PREFIX": str(prefix)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def seen(client: Client, experiments: list[dict[str, Any]]) -> Any:
    """All that the API shows of an installation."""
    found: dict[Any, Any] = {"names": client.get("/exp").body, "tokens": client.get("/user/token").body}
    for one in experiments:
        id = one["id"]
        found[id] = client.get(f"/exp/{id}").body
        for part in ("currenttheta", "actionlog", "rewardlog", "log", "summary"):
            answer = client.get(f"/stats/{id}/{part}")
            assert answer.status == 200
            found[id, part] = answer.body
    return found


def test_to_redis_and_mongodb_and_back_everything_is_as_it_was(
    tmp_path: Path, redis_server: RedisServer, mongo_server: MongoServer
) -> None:
    storage: Storage = production(redis_server.url, mongo_server.url)
    middle = f"{storage['storage.redis']},{storage['storage.mongo']}"
    first, last = (f"sqlite:///{tmp_path}/{name}/data/streamsim.db" for name in ("first", "last"))
    with Server(tmp_path / "first") as server:
        admin = server.admin()
        code = {"get_action": "self.action['arm'] = int(random.random() < 0.5)", "set_reward": COUNT}
        experiments = [
            admin.post("/exp", {"name": f"e{n}", "advice_id": n == 0, "delta_hours": 9, **code}).body
            for n in range(3)
        ]
        assert admin.post("/user", {"username": "ann", "password": "ann's password"}).status == 200
        token = admin.post("/user/token", {"label": "app"}).body["token"]
        advices = []
        for one in experiments * 4:
            decided = admin.post(f"/getaction/{one['id']}", {"key": one["key"], "context": {"é": 2**62}})
            body: dict[str, Any] = {
                "key": one["key"],
                "reward": {"v": 1.25},
                "action": decided.body["action"],
            }
            if "advice_id" in decided.body:
                advices.append(decided.body["advice_id"])
            assert admin.post(f"/setreward/{one['id']}", body).status == 200
        before = seen(admin, experiments)
        assert before[experiments[1]["id"], "summary"]["set_reward_calls"] == 4
    cookies = dict(admin.cookies)
    ways = [(first, middle, tmp_path / "middle", storage), (middle, last, tmp_path / "last", {})]
    reward = {"key": experiments[0]["key"], "reward": {"v": 1}}
    path = f"/setreward/{experiments[0]['id']}"
    for source, target, folder, settings in ways:
        done = migrate(source, target, storage["storage.redis_prefix"])
        assert done.returncode == 0, done.stderr
        assert "compared " in done.stdout
        with Server(folder, settings=settings) as server:
            client = server.client()
            client.cookies = dict(cookies)
            assert seen(client, experiments) == before
            ann = server.client()
            assert ann.post("/login", {"username": "ann", "password": "ann's password"}).status == 200
            bearer = server.client()
            bearer.token = token
            assert bearer.get("/exp").body == before["names"]
            # An open advice id is open, and one that was redeemed is not.
            redeemed = advices.pop()
            assert client.post(path, {**reward, "advice_id": redeemed}).status == 200
            assert client.post(path, {**reward, "advice_id": redeemed}).status == 409
            before = seen(client, experiments)
    again = migrate(first, last)
    assert again.returncode == 1
    assert "empty installation" in again.stderr


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("sqlite:///none.db", "sqlite:///other.db", "there is no file"),
        ("mysql://x", "sqlite:///other.db", "--from: must be sqlite:///PATH"),
        ("redis://localhost", "sqlite:///other.db", "--from: must be sqlite:///PATH"),
        ("sqlite:///a.db", "sqlite:///a.db", "the same installation"),
    ],
)
def test_what_cannot_be_migrated_is_said_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, target: str, said: str
) -> None:
    place = f"sqlite:///{tmp_path}/"
    ends = [end.replace("sqlite:///", place) for end in (source, target)]
    # In this process: what a command is executed with, the test above has.
    assert main(["migrate", "--from", ends[0], "--to", ends[1]]) == 78
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
