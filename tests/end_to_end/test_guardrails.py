"""A guardrail on real servers: what one process finds counts in all, also when one of them is killed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.backends import Storage
from tests.servers import wait_until
from tests.support import Client, Server

pytestmark = [pytest.mark.every_backend, pytest.mark.durable]

DRAW = """
self.action['arm'] = random.choice('ab')
self.action_probabilities = {'a': 0.5, 'b': 0.5}
"""
GIVEN: dict[str, Any] = {
    "arm_field": "arm",
    "arms": ["a", "b"],
    "control": "a",
    "advice_id": True,
    "delta_hours": 1,
    "guardrails": [{"metric": "ms", "harm": "increase", "bound": 10}],
}


def decide(client: Client, made: dict[str, Any], n: int) -> list[dict[str, Any]]:
    answer = client.post(f"/getaction/{made['id']}", {"key": made["key"], "contexts": [{}] * n})
    found: list[dict[str, Any]] = answer.body["results"]
    return found


def learn(client: Client, made: dict[str, Any], decided: list[dict[str, Any]]) -> None:
    """Rewards with a metric that is 60 worse for b."""
    rewards = [
        {
            "advice_id": one["advice_id"],
            "reward": 1,
            "metrics": {"ms": random.gauss(160 if one["action"]["arm"] == "b" else 100, 20)},
        }
        for one in decided
    ]
    assert client.post(f"/setreward/{made['id']}", {"key": made["key"], "rewards": rewards}).status == 200


@pytest.mark.parametrize("killed", [False, True])
def test_harm_that_comes_to_one_process_switches_the_arm_off_in_every_process(
    tmp_path: Path, storage: Storage, *, killed: bool
) -> None:
    random.seed(1)
    with Server(tmp_path, settings=storage) as one, Server(tmp_path, settings=storage) as other:
        admin = one.admin()
        made = admin.post("/exp", {"name": "guarded", "get_action": DRAW, **GIVEN}).body
        clients = [one.client(), other.client()]
        assert {row["action"]["arm"] for row in decide(clients[1], made, 40)} == {"a", "b"}
        learn(clients[0], made, [row for client in clients for row in decide(client, made, 400)])
        if killed:
            # Perhaps before it looked: the other one goes on where the log ends.
            assert one.process is not None
            os.kill(one.process.pid, signal.SIGKILL)
            clients, admin = clients[1:], other.admin()
        began = time.monotonic()

        def served() -> set[str]:
            return {row["action"]["arm"] for client in clients for row in decide(client, made, 30)}

        wait_until(lambda: served() == {"a"}, "no process serves b")
        print(f"off in every process after {time.monotonic() - began:.2f} s")
        assert admin.get(f"/exp/{made['id']}").body["off"] == ["b"]
        (row,) = admin.get(f"/stats/{made['id']}/log").body
        assert row["guardrail"]["arm"] == "b"
