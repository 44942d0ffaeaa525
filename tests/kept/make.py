"""Makes a small installation and keeps it as data: `python -m tests.kept.make VERSION` writes both backends'.

It has one of everything that is stored: users, an experiment that learned, open advices, an archived
experiment, a model with a run that was operated, and a finished job. Run it on a version before its successor
is begun; `test_kept.py` holds every later version against what it wrote.
"""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pymongo
import redis
from bson import json_util

from tests.backends import production
from tests.servers import MongoServer, RedisServer
from tests.support import Client, Server

FOLDER = Path(__file__).parent
CODE = {
    "get_reward": "self.reward['value'] = 1",
    "get_action": "self.action['arm'] = 'a'",
    "set_reward": "t = self.get_theta(key='arm', value='a')\n"
    "self.set_theta({'n': t.get('n', 0) + self.reward['value']}, key='arm', value='a')",
}
HOURS = 99_999
"""Open advices of an installation that is kept must not expire."""
COUNTER = """
total = 0

def add(amount):
    global total
    total += amount
    return total
"""


def fill(admin: Client, url: str) -> dict[str, Any]:
    """Store one of everything; the ids and secrets that a client would keep."""
    assert admin.post("/user", {"username": "ann", "password": "a good password"}).status == 200
    ann = Client(url)
    assert ann.post("/login", {"username": "ann", "password": "a good password"}).status == 200
    token = ann.post("/user/token", {"label": "kept"}).body["token"]
    made = ann.post("/exp", {"name": "kept", "hourly_theta": True, **CODE}).body
    for value in (1, 2, 3):
        assert ann.get(f"/getaction/{made['id']}", key=made["key"], context={"visitor": value}).status == 200
        answer = ann.get(
            f"/setreward/{made['id']}",
            key=made["key"],
            context={"visitor": value},
            action={"arm": "a"},
            reward={"value": value},
        )
        assert answer.status == 200
    advised = ann.post(
        "/exp",
        {"name": "advised", "advice_id": True, "delta_hours": 8760, "default_reward": {"value": 0}, **CODE},
    ).body
    advices = [ann.get(f"/getaction/{advised['id']}", key=advised["key"]).body["advice_id"] for _ in range(3)]
    first = {"key": advised["key"], "advice_id": advices[0], "reward": {"value": 5}}
    assert ann.post(f"/setreward/{advised['id']}", first).status == 200
    once = {"key": advised["key"], "advice_id": advices[1], "reward": {"value": 7}, "idempotency_key": "k"}
    assert ann.post(f"/setreward/{advised['id']}", once).status == 200
    gone = ann.post("/exp", {"name": "gone", **CODE}).body
    assert ann.delete(f"/exp/{gone['id']}").status == 200
    return {
        "token": token,
        "experiment": made,
        "advised": advised,
        "advices": advices,
        "once": once,
        "gone": gone,
        "job": job(ann, made["id"]),
        "run": run(ann),
    }


def job(ann: Client, experiment_id: str) -> str:
    """A finished simulation job."""
    place = ann.post(f"/eval/{experiment_id}/simulations", {"N": 10, "replications": 2, "seed": 1})
    assert place.status == 202, place
    path = f"/eval/{experiment_id}/simulations/{place.body['id']}"
    while (state := ann.get(path).body["state"]) != "done":
        assert state in ("waiting", "running"), state
        time.sleep(0.05)
    return str(place.body["id"])


def run(ann: Client) -> str:
    """A model, and a run of it that was operated."""
    pushed = ann.post("/models", {"name": "counter", "engine": "python", "files": {"counter.py": COUNTER}})
    assert pushed.status in (200, 201), pushed
    made = ann.post("/v2/run/ann/kept", {"model": "counter"})
    assert made.status == 201, made
    for amount in (4, 5):
        added = ann.post(f"/v2/run/ann/kept/{made.body['id']}/operations/add", {"arguments": [amount]})
        assert added.status == 200, added
    return str(made.body["id"])


def keep_sqlite(version: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Server(Path(folder)) as server:
            facts = fill(server.admin(), server.url)
        with sqlite3.connect(Path(folder) / "data" / "streamsim.db") as db:
            version_number, application = (
                db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
            )
            script = "\n".join(db.iterdump())
        db.close()
    kept = {"facts": facts, "user_version": version_number, "application_id": application, "script": script}
    write(f"{version}-sqlite", kept)


def keep_production(version: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        for name in ("redis", "mongo"):
            (path / name).mkdir()
        stores = RedisServer(path / "redis"), MongoServer(path / "mongo")
        for one in stores:
            one.start()
        try:
            settings = production(stores[0].url, stores[1].url)
            with Server(path / "server", settings=settings) as server:
                facts = fill(server.admin(), server.url)
            prefix = str(settings["storage.redis_prefix"])
            with redis.Redis.from_url(stores[0].url) as client:
                keys = {
                    base64.b64encode(key).decode(): (
                        base64.b64encode(client.dump(key)).decode(),
                        client.pttl(key),
                    )
                    for key in client.scan_iter(f"*{prefix}*")
                }
            with pymongo.MongoClient[dict[str, object]](str(settings["storage.mongo"])) as mongo:
                database = mongo.get_default_database()
                documents = {
                    name: json.loads(json_util.dumps(list(database[name].find())))
                    for name in database.list_collection_names()
                }
        finally:
            for one in stores:
                one.stop()
    write(f"{version}-production", {"facts": facts, "prefix": prefix, "redis": keys, "mongo": documents})


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write(name: str, kept: dict[str, Any]) -> None:
    with gzip.GzipFile(FOLDER / f"{name}.json.gz", "wb", mtime=0) as file:
        file.write(json.dumps(kept, sort_keys=True).encode())
    print(f"{name}: {(FOLDER / f'{name}.json.gz').stat().st_size} bytes")


if __name__ == "__main__":
    keep_sqlite(sys.argv[1])
    keep_production(sys.argv[1])
