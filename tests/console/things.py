"""Experiments, models and runs to look at; their names, arms, contexts and errors hold HTML."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tests.support import Client
from tests.tea import TEA

HTML = "<img src=x onerror=alert(1)>"
CHANCES = {"a": 0.2, "b": 0.7}
PIECES = ("get_context", "get_action", "get_reward", "set_reward")
SHOP = """price = 3.0
stock = {"apples": 20, "pears": 5}
label = "<img src=x onerror=alert(1)>"


def sell(fruit, count):
    stock[fruit] -= count
    return count * price
"""
HOSTILE = {
    "get_action": "self.action['arm'] = random.choice([ARM, 'plain'])",
    "set_reward": "if self.reward.get('fail'):\n    raise ValueError(ARM)\n"
    "self.set_theta({'n': self.get_theta(key=ARM).get('n', 0) + 1, 'note': ARM}, key=ARM)\n"
    "self.log_data({'note': ARM})",
    "get_reward": "self.reward['value'] = 1",
}


@dataclass(frozen=True)
class Things:
    """Ids of what was made."""

    hostile: str
    empty: str
    run: str
    client: Client


def decide(
    client: Client, made: dict[str, Any], times: int, chances: dict[str, float], seed: int = 1
) -> None:
    """Traffic as an application makes it: decisions, and what they earned."""
    drawn = random.Random(seed)
    asked = {"key": made["key"], "contexts": [{"note": HTML}] * times}
    answers = client.post(f"/getaction/{made['id']}", asked).body["results"]
    rewards = [
        {
            "context": {"note": HTML},
            "action": one["action"],
            "reward": {"value": int(drawn.random() < chances.get(one["action"]["arm"], 0.5))},
        }
        for one in answers
    ]
    answer = client.post(f"/setreward/{made['id']}", {"key": made["key"], "rewards": rewards})
    assert answer.status == 200, answer


def make(client: Client) -> Things:
    """One of each, over the API."""
    code = {name: text.replace("ARM", repr(HTML)) for name, text in HOSTILE.items()}
    hostile = client.post("/exp", {"name": HTML, "arm_field": "arm", **code}).body
    decide(client, hostile, 40, {})
    failed = {"key": hostile["key"], "reward": {"fail": 1}, "action": {"arm": HTML}}
    assert client.post(f"/setreward/{hostile['id']}", failed).status == 422
    empty = client.post("/exp", {"name": "an empty one"}).body
    for name, engine, text in (("tea", "bptk", TEA), ("shop", "python", SHOP)):
        files = {f"{name}.py": text}
        answer = client.post("/models", {"name": name, "engine": engine, "files": files})
        assert answer.status == 201, answer
    run = client.post("/v2/run/admin/console/", {"model": "shop", "scope": {"note": HTML}}).body
    return Things(hostile["id"], empty["id"], run["id"], client)
