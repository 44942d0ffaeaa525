"""An experiment with a guardrail, and what trips it."""

from __future__ import annotations

import random
from typing import Any

from tests.support import Client

GUARDED: dict[str, Any] = {
    "get_action": """
self.action['arm'] = random.choice('ab')
self.action_probabilities = {'a': 0.5, 'b': 0.5}
""",
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
