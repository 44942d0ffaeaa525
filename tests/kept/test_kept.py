"""What earlier versions stored opens in this one: installations that `make.py` made of them, used again."""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from bson import json_util

from tests.servers import MongoServer, RedisServer
from tests.support import Client, Server

FOLDER = Path(__file__).parent
KEPT = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))


def restore_sqlite(kept: dict[str, Any], folder: Path) -> dict[str, object]:
    """The file as it was; settings of a server on it."""
    (folder / "data").mkdir(parents=True)
    db = sqlite3.connect(folder / "data" / "streamsim.db", isolation_level=None)
    db.executescript(kept["script"])
    db.execute(f"PRAGMA user_version = {kept['user_version']}")
    db.execute(f"PRAGMA application_id = {kept['application_id']}")
    db.close()
    return {}


def restore_production(kept: dict[str, Any], stores: tuple[RedisServer, MongoServer]) -> dict[str, object]:
    """Keys and documents as they were, in a database of their own; settings of a server on them."""
    (redis_server, mongo_server), name = stores, f"test-{uuid4().hex}"
    with redis_server.client() as client:
        for key, (dump, expires_ms) in kept["redis"].items():
            client.restore(base64.b64decode(key), max(expires_ms, 0), base64.b64decode(dump), replace=True)
    with mongo_server.client() as mongo:
        for collection, documents in kept["mongo"].items():
            if documents:
                mongo[name][collection].insert_many(json_util.loads(json.dumps(documents)))
    return {
        "storage.redis": redis_server.url,
        "storage.mongo": f"{mongo_server.url}/{name}",
        "storage.redis_prefix": kept["prefix"],
    }


@pytest.fixture(params=KEPT)
def kept(
    request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer, mongo_server: MongoServer
) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A server of this version on the installation, and what its clients know."""
    content: dict[str, Any] = json.loads(gzip.decompress((FOLDER / f"{request.param}.json.gz").read_bytes()))
    if "script" in content:
        settings = restore_sqlite(content, tmp_path)
    else:
        settings = restore_production(content, (redis_server, mongo_server))
    with Server(tmp_path, settings=settings) as server:
        yield server, content["facts"]


def test_the_last_version_is_kept_on_both_backends() -> None:
    versions = [name.rpartition("-") for name in KEPT]
    assert {backend for *_, backend in versions} == {"sqlite", "production"}


def test_an_installation_of_an_earlier_version_goes_on(kept: tuple[Server, dict[str, Any]]) -> None:
    server, facts = kept
    ann = server.client()
    assert ann.post("/login", {"username": "ann", "password": "a good password"}).status == 200
    decisions_go_on(ann, facts["experiment"])
    advices_go_on(ann, facts)
    runs_go_on(ann, facts)
    by_token = server.client()
    by_token.token = facts["token"]
    names = by_token.get("/exp").body.values()
    assert sorted(names) == ["advised", "kept"]
    assert by_token.get(f"/exp/{facts['gone']['id']}").status == 401
    job = by_token.get(f"/eval/{facts['experiment']['id']}/simulations/{facts['job']}").body
    assert (job["state"], job["progress"]) == ("done", {"done": 20, "total": 20})
    assert job["result"]["reward"]["mean"][-1] == 10


def decisions_go_on(ann: Client, made: dict[str, Any]) -> None:
    """Theta, counters and logs are those of before, and grow."""
    id, key = made["id"], made["key"]
    assert ann.get(f"/stats/{id}/currenttheta").body == {"arm:a": {"n": 6}}
    assert ann.get(f"/getaction/{id}", key=key).body == {"action": {"arm": "a"}}
    reward = {"key": key, "action": {"arm": "a"}, "reward": {"value": 4}}
    assert ann.post(f"/setreward/{id}", reward).status == 200
    assert ann.get(f"/stats/{id}/currenttheta").body == {"arm:a": {"n": 10}}
    summary = ann.get(f"/stats/{id}/summary").body
    assert (summary["get_action_calls"], summary["set_reward_calls"]) == (4, 4)
    rows = ann.get(f"/stats/{id}/rewardlog").body
    assert [row["reward"]["value"] for row in rows] == [4, 3, 2, 1]
    edited = ann.put(f"/exp/{id}", {"name": "kept and edited"})
    assert edited.body["status"] == "success"
    assert ann.put(f"/exp/{id}", {"name": "kept"}).status == 200


def advices_go_on(ann: Client, facts: dict[str, Any]) -> None:
    """What was redeemed is, and what is open may be redeemed once."""
    made, (redeemed, also_redeemed, still_open) = facts["advised"], facts["advices"]
    path = f"/setreward/{made['id']}"
    for advice_id in (redeemed, also_redeemed):
        again = {"key": made["key"], "advice_id": advice_id, "reward": {"value": 1}}
        assert ann.post(path, again).status == 409
    assert ann.get(f"/stats/{made['id']}/currenttheta").body == {"arm:a": {"n": 12}}
    for status in (200, 409):
        answer = ann.post(path, {"key": made["key"], "advice_id": still_open, "reward": {"value": 1}})
        assert answer.status == status
    assert ann.get(f"/stats/{made['id']}/currenttheta").body == {"arm:a": {"n": 13}}


def runs_go_on(ann: Client, facts: dict[str, Any]) -> None:
    """A run is played again from its journal, and goes on."""
    run = f"/v2/run/ann/kept/{facts['run']}"
    assert ann.get(f"{run}/variables/total").body == 9
    assert ann.post(f"{run}/operations/add", {"arguments": [1]}).body["result"] == 10
