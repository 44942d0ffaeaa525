"""`streamsim migrate --from streamingbandit`: its users, experiments, theta, logs and advices move over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import gridfs
import pytest
import redis

from tests.servers import MongoServer, RedisServer
from tests.support import Server

NOW = datetime.now(UTC).replace(microsecond=250_000, tzinfo=None)
DATABASES = ("userinfo", "getaction", "setreward", "logs", "hourly_theta", "simulations", "advices")
CODE = {
    "get_context": "self.context['age'] = 3",
    "get_action": """
stored = self.get_theta(key="treatment")
self.action["treatment"] = base.List(stored, base.Mean, ["A", "B"]).max()
self.action["text"] = self.get_theta(key="treatment", value="A").get("n") == "3"
""",
    "get_reward": "self.reward['value'] = 1",
    "set_reward": """
mean = base.Mean(self.get_theta(key="treatment", value=self.action["treatment"]))
mean.update(self.reward["value"])
self.set_theta(mean, key="treatment", value=self.action["treatment"])
""",
}


class Theirs:
    """A StreamingBandit's stores, filled as its own calls fill them."""

    def __init__(self, redis_server: RedisServer, mongo_server: MongoServer) -> None:
        self.redis_url, self.mongo_url = (
            f"{redis_server.url.rstrip('/').removesuffix('/0')}/7",
            mongo_server.url,
        )
        self.redis = redis.Redis.from_url(self.redis_url, decode_responses=True)
        self.mongo = mongo_server.client()
        self.clear()

    def clear(self) -> None:
        self.redis.flushdb()
        for name in DATABASES:
            self.mongo.drop_database(name)

    def user(self, number: int, name: str, password: str) -> None:
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4))
        self.mongo["userinfo"]["userinfo"].insert_one(
            {"username": name, "password": hashed, "user_id": number}
        )

    def experiment(self, id: str, user: int, **properties: str) -> None:
        self.redis.sadd("admin:experiments", id)
        given: dict[Any, Any] = {
            "user_id": str(user),
            "name": f"number {id}",
            "key": f"key{id}",
            **CODE,
            **properties,
        }
        self.redis.hset(f"exp:{id}:properties", mapping=given)

    def decision(self, id: str, context: Any, action: Any, reward: Any) -> None:
        date = NOW.isoformat()
        self.mongo["getaction"][id].insert_one({"context": context, "action": action, "date": date})
        self.mongo["setreward"][id].insert_one(
            {"context": context, "action": action, "reward": reward, "date": date}
        )

    def advice(self, id: str, context: dict[str, Any], action: Any, date: datetime) -> str:
        row = {**context, "date": date, "action": action, "exp_id": id}
        return str(self.mongo["advices"]["advices"].insert_one(row).inserted_id)


@pytest.fixture
def theirs(redis_server: RedisServer, mongo_server: MongoServer) -> Iterator[Theirs]:
    made = Theirs(redis_server, mongo_server)
    yield made
    made.clear()
    made.redis.close()
    made.mongo.close()


def migrate(theirs: Theirs, target: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("streamsim")), "migrate", "--from", "streamingbandit"]
    command += ["--redis", theirs.redis_url, "--mongo", theirs.mongo_url, "--to", target, *more]
    return subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=120, check=False)


def test_what_runs_on_a_streamingbandit_goes_on_here(tmp_path: Path, theirs: Theirs) -> None:
    theirs.user(1, "ann@example.com", "ann's password")
    theirs.user(2, "bob", "bob's password")
    advised = {"advice_id": "True", "delta_hours": "24", "default_reward": "{'value': 0}"}
    theirs.experiment("f3a91bc0d2", 1, hourly_theta="True", **advised)
    theirs.experiment("b1", 1, advice_id="False", hourly_theta="False", name="number f3a91bc0d2")
    theirs.experiment("0477", 2, advice_id="True", delta_hours="2.0", default_reward="no dict")
    theirs.redis.hset("exp:f3a91bc0d2:_theta:treatment:A", mapping={"m": "0.5", "n": "3"})
    theirs.redis.hset("exp:f3a91bc0d2:_theta:treatment:B", mapping={"m": "0.75", "n": "4"})
    theirs.redis.hset("exp:b1:_theta", mapping={"flag": "True", "list": "[1, 2]"})
    theirs.redis.hset("exp:b1:other:a:b:c", mapping={"x": "1"})
    theirs.redis.hset("exp:gone:_theta", mapping={"x": "1"})  # of an experiment that was deleted
    for number in range(30):
        theirs.decision("f3a91bc0d2", {"n": number}, {"treatment": "A"}, {"value": number / 2})
    theirs.mongo["logs"]["b1"].insert_one({"seen": 2.5, "exp_id": "b1", "when": NOW})
    draws = {
        str(n): {"context": {"n": n}, "action": {"treatment": "A"}, "reward": {"value": n}} for n in range(3)
    }
    files = gridfs.GridFS(theirs.mongo["simulations"])
    files.put(json.dumps(draws), encoding="utf-8", filename="f3a91bc0d2")
    files.put(b"no draws", filename="f3a91bc0d2")
    theirs.mongo["hourly_theta"]["f3a91bc0d2"].insert_one({"treatment:A": {"n": "1"}, "exp_id": "f3a91bc0d2"})
    open_advice = theirs.advice("f3a91bc0d2", {"age": 5}, {"treatment": "B"}, NOW)
    late = theirs.advice("0477", {}, {"treatment": "A"}, NOW - timedelta(days=3))
    theirs.mongo["advices"]["advices"].insert_one({"date": NOW, "action": {}})
    before = theirs.redis.dbsize()

    target = f"sqlite:///{tmp_path}/ours/data/streamsim.db"
    done = migrate(theirs, target)
    assert done.returncode == 0, done.stderr
    assert "left out 1 advices that do not say of which experiment they are" in done.stdout
    assert "experiment 0477: its default reward is no dict and was left out: no dict" in done.stdout
    assert "experiment f3a91bc0d2: left out simulation" in done.stdout
    assert {"user: 2", "experiment: 3", "theta: 4", "advice: 2", "log: 65"} <= set(done.stdout.splitlines())
    assert theirs.redis.dbsize() == before

    with Server(tmp_path / "ours") as server:
        ann = server.client()
        user = {"username": "ann@example.com", "password": "ann's password"}
        assert ann.post("/login", user).status == 200
        assert ann.get("/exp").body == {"b1": "number f3a91bc0d2", "f3a91bc0d2": "number f3a91bc0d2 (2)"}
        shown = ann.get("/exp/f3a91bc0d2").body
        assert {name: shown[name] for name in CODE} == CODE
        assert (shown["key"], shown["compat"]) == ("keyf3a91bc0d2", "streamingbandit")
        assert (shown["advice_id"], shown["delta_hours"], shown["default_reward"]) == (
            True,
            24,
            "{'value': 0}",
        )
        rows = ann.get("/stats/f3a91bc0d2/rewardlog").body
        assert [row["reward"]["value"] for row in rows] == [n / 2 for n in range(29, -1, -1)]
        assert {row["date"] for row in rows} == {NOW.isoformat(timespec="milliseconds") + "Z"}
        summary = ann.get("/stats/f3a91bc0d2/summary").body
        assert (summary["get_action_calls"], summary["last_added_set_reward"]) == (30, rows[0]["date"])
        assert ann.get("/stats/b1/currenttheta").body == {"flag": "True", "list": "[1, 2]"}
        assert ann.get("/stats/b1/currenttheta", name="other").body == {"a:b:c": {"x": "1"}}
        assert ann.get("/stats/f3a91bc0d2/hourlytheta").body[-1]["theta"] == {"treatment:A": {"n": "1"}}
        (logged,) = ann.get("/stats/b1/log").body
        assert (logged["seen"], logged["when"]) == (2.5, NOW.isoformat(timespec="milliseconds"))
        simulated = ann.get("/stats/f3a91bc0d2/simulationlog").body
        assert [(row["draw"], row["reward"]) for row in simulated] == [(n, {"value": n}) for n in (2, 1, 0)]
        # The running application goes on: old ids, keys and advice ids, on the theta that was learned.
        key = {"key": "keyf3a91bc0d2"}
        assert ann.get("/getaction/f3a91bc0d2", **key).body["action"] == {"treatment": "B", "text": True}
        told = {**key, "advice_id": open_advice, "reward": {"value": 2}}
        assert ann.get("/setreward/f3a91bc0d2", **told).status == 200
        assert ann.get("/setreward/f3a91bc0d2", **told).status == 409
        assert ann.get("/stats/f3a91bc0d2/currenttheta").body == {
            "treatment:A": {"m": "0.5", "n": "3"},
            "treatment:B": {"m": 1.0, "n": 5},
        }
        assert ann.get("/setreward/0477", key="key0477", advice_id=late, reward=1).status == 409
        bob = server.client()
        assert bob.post("/login", {"username": "bob", "password": "bob's password"}).status == 200
        assert list(bob.get("/exp").body) == ["0477"]


def test_a_target_in_use_or_a_missing_url_is_refused(tmp_path: Path, theirs: Theirs) -> None:
    theirs.experiment("b1", 9)
    target = f"sqlite:///{tmp_path}/streamsim.db"
    assert migrate(theirs, target).returncode == 0
    again = migrate(theirs, target)
    assert again.returncode != 0
    assert "needs an empty installation" in again.stderr
    command = [str(Path(sys.executable).with_name("streamsim")), "migrate", "--from", "streamingbandit"]
    missing = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert missing.returncode != 0
    assert "--redis and --mongo" in missing.stderr
