"""Numbers that come with a reward: checked, logged, added up with it, and looked at by inference."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamsim.dates import HOUR_MS
from streamsim.services import Services
from tests.application import Caller, Clock

DRAW = """
self.action['arm'] = random.choice('ab')
self.action_probabilities = {'a': 0.5, 'b': 0.5}
"""


async def decide(ann: Caller, made: dict[str, Any], n: int) -> list[dict[str, Any]]:
    answer = await ann.post(f"/getaction/{made['id']}", {"key": made["key"], "contexts": [{}] * n})
    found: list[dict[str, Any]] = answer.body["results"]
    return found


@pytest.mark.gen_test
async def test_inference_looks_at_a_metric_in_place_of_the_reward(ann: Caller) -> None:
    made = await ann.experiment("metrics", get_action=DRAW, advice_id=True, delta_hours=1)
    rewards = [
        {"advice_id": one["advice_id"], "reward": 1, "metrics": {"cost": 3.0 * (one["action"]["arm"] == "b")}}
        for one in await decide(ann, made, 400)
    ]
    del rewards[0]["metrics"]
    answer = await ann.post(f"/setreward/{made['id']}", {"key": made["key"], "rewards": rewards})
    assert not any("error" in one for one in answer.body["results"])
    where = f"/stats/{made['id']}/inference"
    found = (await ann.get(f"{where}?metric=cost&low=0&high=3")).body
    assert (found["rows"]["decisions"], found["rows"]["unrewarded"]) == (399, 1)
    (difference,) = found["segments"][0]["differences"]
    assert 2 < difference["low"] <= difference["high"] <= 4
    (none,) = (await ann.get(f"{where}?low=0&high=3")).body["segments"][0]["differences"]
    assert none["low"] < 0 < none["high"]
    answer = await ann.get(f"{where}?metric=other")
    assert answer.body["error"]["field"] == "metric"


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_metrics_are_logged_and_added_up_with_their_rewards(
    ann: Caller, services: Services, clock: Clock
) -> None:
    given = {"advice_id": True, "reward_window_hours": 1, "reward_mode": "sum"}
    made = await ann.experiment("sums", get_action=DRAW, **given)
    (one,) = await decide(ann, made, 1)
    for metrics in ({"cost": 1, "views": 2}, None, {"cost": 2.5}):
        fields = {"advice_id": one["advice_id"], "reward": 1, "metrics": metrics}
        assert (await ann.post(f"/setreward/{made['id']}", fields | {"key": made["key"]})).status == 200
    clock.ahead_ms += HOUR_MS
    assert await services.decisions.time_out_advices() == 1
    await ann.log_in("ann")
    rows = (await ann.get(f"/stats/{made['id']}/rewardlog")).body
    assert [row.get("metrics") for row in rows] == [
        {"cost": 3.5, "views": 2}, {"cost": 2.5}, None, {"cost": 1, "views": 2}
    ]  # fmt: skip
    (row,) = (await ann.get(f"/stats/{made['id']}/decisions")).body
    assert row["rewards"][-1]["metrics"] == {"cost": 3.5, "views": 2}


@pytest.mark.gen_test
async def test_the_same_reward_with_other_metrics_is_another_one(ann: Caller) -> None:
    made = await ann.experiment("keys", get_action=DRAW)
    where = f"/setreward/{made['id']}"
    fields = {"key": made["key"], "idempotency_key": "i", "reward": 1, "metrics": {"m": 1}}
    assert (await ann.post(where, fields)).status == 200
    assert (await ann.post(where, fields)).status == 200
    assert (await ann.post(where, fields | {"metrics": {"m": 2}})).status == 422
    query = {"key": made["key"], "reward": "1", "metrics": json.dumps({"m": 4})}
    assert (await ann.get(where, **query)).status == 200
    rows = (await ann.get(f"/stats/{made['id']}/rewardlog")).body
    assert [row["metrics"] for row in rows] == [{"m": 4}, {"m": 1}]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("field", "metrics"),
    [
        ("metrics", [1]),
        ("metrics", "text"),
        ("metrics", {str(n): n for n in range(51)}),
        ("metrics.m", {"m": "1"}),
        ("metrics.m", {"m": True}),
        ("metrics.m", {"m": None}),
        ("metrics.", {"": 1}),
    ],
)
async def test_what_are_no_numbers_by_name_is_refused(ann: Caller, field: str, metrics: Any) -> None:
    made = await ann.experiment("wrong")
    body = {"key": made["key"], "reward": 1, "metrics": metrics}
    answer = await ann.post(f"/setreward/{made['id']}", body)
    assert (answer.status, answer.body["error"]["field"]) == (400, field)
