"""Simulations across processes and restarts of a real server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.backends import Storage
from tests.patience import PATIENCE_S
from tests.support import Client, Server

pytestmark = [pytest.mark.every_backend, pytest.mark.durable]

CODE = {
    "get_action": "self.action['arm'] = random.choice('ab')",
    "get_reward": "self.reward['value'] = random.gauss(0, 1) + np.random.rand()",
    "set_reward": "m = base.Mean(self.get_theta(key='arm', value=self.action['arm']))\n"
    "m.update(self.reward['value'])\nself.set_theta(m, key='arm', value=self.action['arm'])",
}
REQUEST = {"N": 8_000, "replications": 12, "seed": 6, "points": 5}


def until(client: Client, path: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(path).body
        if job["state"] in states:
            return job
        time.sleep(0.05)
    raise AssertionError(f"not {states} in {PATIENCE_S} s: {job}")


def test_a_job_survives_the_kill_of_its_server_and_two_servers_agree(
    tmp_path: Path, storage: Storage
) -> None:
    settings = {"jobs.lease_s": 1.0, "upkeep.interval_ms": 100, **storage}
    with Server(tmp_path, settings=settings) as server:
        client = server.admin()
        experiment = client.post("/exp", {"name": "noise", **CODE}).body
        first = client.get(f"/eval/{experiment['id']}/simulate", N=200, seed=3).body
        path = client.post(f"/eval/{experiment['id']}/simulations", REQUEST).headers["location"]
        while not client.get(path).body["progress"]["done"]:
            time.sleep(0.02)
        server.kill()
        server.start()
        client = server.admin()
        found = client.get(path).body
        # Nobody has finished it, and it says so: its owner is gone, or a new one has taken it.
        assert found["state"] in ("running", "interrupted")
        assert 0 < found["progress"]["done"] < found["progress"]["total"]
        assert client.get(f"/eval/{experiment['id']}/simulate", N=200, seed=3).body == first
        job = until(client, path, "done")
        assert job["attempts"] == 2
        again = client.post(f"/eval/{experiment['id']}/simulations", REQUEST).headers["location"]
        assert until(client, again, "done")["result"] == job["result"]
