"""Three server processes on a Redis and a MongoDB of their own, which tests may kill."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from streamsim.storage.redis.keys import Keys
from tests.backends import production
from tests.faults.load import CODE, Load
from tests.folders import on_disk
from tests.servers import MongoServer, RedisServer
from tests.support import ADMIN, Client, Server

LONG = os.environ.get("STREAMSIM_FAULTS") == "long"
PROCESSES = 3


class Installation:
    """What a team would run."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        # Until the end: a server dies with the thread that started it.
        threads = stack.enter_context(ThreadPoolExecutor(PROCESSES))
        self.redis = RedisServer(folder / "redis")
        self.mongo = MongoServer(folder / "mongo")
        for one in (self.redis, self.mongo):
            one.start()
            stack.callback(one.stop)
        settings = production(self.redis.url, self.mongo.url)
        self._database = str(settings["storage.mongo"]).rpartition("/")[2]
        self._outbox = Keys(str(settings["storage.redis_prefix"])).of(ADMIN).outbox
        self.servers = [
            # Children of theirs are what a test looks for.
            Server(folder / str(n), settings=settings, executed_zygotes=True)
            for n in range(PROCESSES)
        ]
        self.admin: Client = stack.enter_context(self.servers[0]).admin()  # the first start makes the account
        list(threads.map(stack.enter_context, self.servers[1:]))

    def load(self, name: str) -> tuple[Load, str]:
        """Clients for a new experiment, and its id."""
        answer = self.admin.post("/exp", {"name": name, "advice_id": True, "delta_hours": 24, **CODE})
        assert answer.status == 200, answer
        experiment = answer.body["id"]
        return Load([server.port for server in self.servers], experiment, answer.body["key"]), experiment

    def waiting(self) -> int:
        """Commits whose rows are not in MongoDB yet."""
        with self.redis.client() as client:
            return int(client.xlen(self._outbox))

    def held(self) -> int:
        """Commits whose rows a drainer has fetched and not finished."""
        with self.redis.client() as client:
            groups = client.xinfo_groups(self._outbox) if client.exists(self._outbox) else []
            return sum(group["pending"] for group in groups)

    def rows(self, kind: str, experiment_id: str) -> list[dict[str, Any]]:
        """All rows of a log as they are in MongoDB."""
        with self.mongo.client() as client:
            found = client[self._database][f"log_{kind}"].find({"experiment": experiment_id})
            return [json.loads(row["data"]) for row in found]

    def theta(self, experiment_id: str) -> dict[str, int]:
        """The counts of the policy by "key:value"."""
        answer = self.admin.get(f"/stats/{experiment_id}/currenttheta")
        assert answer.status == 200, answer
        return {name: row["n"] for name, row in answer.body.items()}

    def check(self, load: Load, experiment_id: str) -> None:
        """I1, I2, I5 and I9: what was acknowledged is there once, what was refused is not, logs, theta and
        counters agree."""
        # Reading a log first moves what a dead drainer left.
        assert self.admin.get(f"/stats/{experiment_id}/actionlog?limit=1").status == 200
        tags: dict[str, set[str]] = {}
        for kind, part in (("action", "context"), ("reward", "reward")):
            listed = [row[part]["tag"] for row in self.rows(kind, experiment_id)]
            tags[kind] = set(listed)
            assert len(listed) == len(tags[kind]), "a call is in the log twice"
            assert load.acknowledged[kind] <= tags[kind], "an acknowledged call is missing"
            assert tags[kind] <= load.acknowledged[kind] | load.unknown[kind], "a refused call is in the log"
        theta = self.theta(experiment_id)
        total = theta.pop("n:all")
        assert theta == {f"seen:{tag}": 1 for tag in tags["reward"]}
        assert total == len(tags["reward"])
        for one, other in load.races:
            assert not {one, other} <= tags["reward"], "an advice id was redeemed twice"
        summary = self.admin.get(f"/stats/{experiment_id}/summary").body
        assert summary["get_action_calls"] == len(tags["action"])
        assert summary["set_reward_calls"] == len(tags["reward"])
        hours = self.admin.get(f"/stats/{experiment_id}/buckets?step=hour").body["buckets"]
        assert sum(hour["decisions"] for hour in hours) == len(tags["action"])
        assert sum(hour["rewards"] for hour in hours) == len(tags["reward"])


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with on_disk() as folder, ExitStack() as stack:
        yield Installation(folder, stack)
