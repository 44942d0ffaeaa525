"""Numbers of calls by minute and hour over HTTP, against the logs."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.application import Caller

CODE = {
    "get_action": "self.action['arm'] = self.context['arm']",
    "set_reward": "if self.reward < 0: raise ValueError('negative')",
}


async def _used(ann: Caller, rewards: list[float]) -> dict[str, Any]:
    experiment = await ann.experiment(**CODE)

    async def one(number: int, reward: float) -> None:
        context = {"arm": f"arm {number % 3}"}
        query = {"key": experiment["key"], "context": context}
        decided = await ann.get(f"/getaction/{experiment['id']}", **query)
        assert decided.status == 200
        await ann.get(f"/setreward/{experiment['id']}", **query, action=decided.body["action"], reward=reward)

    await asyncio.gather(*(one(number, reward) for number, reward in enumerate(rewards)))
    return experiment


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_buckets_add_up_to_what_the_logs_hold(ann: Caller) -> None:
    rewards = [0.5 * number - 1 for number in range(30)]
    experiment = await _used(ann, rewards)
    logged = (await ann.get(f"/stats/{experiment['id']}/rewardlog")).body
    decided = (await ann.get(f"/stats/{experiment['id']}/actionlog")).body
    for step in ("minute", "hour"):
        answer = (await ann.get(f"/stats/{experiment['id']}/buckets", step=step)).body
        assert answer["since"] is None
        buckets = answer["buckets"]
        assert sum(bucket["errors"] for bucket in buckets) == 2
        for name, rows in (("decisions", decided), ("rewards", logged)):
            expected = Counter(row["action"]["arm"] for row in rows)
            found: Counter[str] = Counter()
            for bucket in buckets:
                found.update({arm: figures[name] for arm, figures in bucket["arms"].items()})
            assert found == expected
            assert sum(bucket[name] for bucket in buckets) == expected.total()
        whole = [row["reward"] for row in logged]
        assert sum(bucket["reward_sum"] for bucket in buckets) == pytest.approx(sum(whole))
        squares = sum(reward * reward for reward in whole)
        assert sum(bucket["reward_squares"] for bucket in buckets) == pytest.approx(squares)
    [listed] = (await ann.get("/stats")).body
    assert (listed["id"], listed["state"], listed["errors"]) == (experiment["id"], "running", 2)
    assert (sum(listed["decisions"]), sum(listed["rewards"])) == (30, 28)
    assert listed["mean"] == pytest.approx(sum(whole) / 28)
    assert listed["low"] < listed["mean"] < listed["high"]


@pytest.mark.gen_test
async def test_what_names_no_arm_is_in_the_sums_alone(ann: Caller) -> None:
    code = {"get_action": "self.action.update(a=1, b=2)", "set_reward": ""}
    experiment = await ann.experiment(**code)
    assert (await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"])).status == 200
    query = {"key": experiment["key"], "context": {}, "action": {"a": 1, "b": 2}, "reward": {"x": 1, "y": 2}}
    assert (await ann.get(f"/setreward/{experiment['id']}", **query)).status == 200
    [bucket] = (await ann.get(f"/stats/{experiment['id']}/buckets", step="hour")).body["buckets"]
    assert bucket["arms"] == {}
    assert (bucket["decisions"], bucket["rewards"], bucket["numbers"]) == (1, 1, 0)


@pytest.mark.gen_test
async def test_of_many_arms_the_first_have_rows(ann: Caller) -> None:
    experiment = await _used(ann, [1.0])
    for number in range(70):
        query = {"key": experiment["key"], "context": {"arm": f"more {number}"}}
        assert (await ann.get(f"/getaction/{experiment['id']}", **query)).status == 200
    buckets = (await ann.get(f"/stats/{experiment['id']}/buckets", step="hour")).body["buckets"]
    assert sum(bucket["decisions"] for bucket in buckets) == 71
    assert len({arm for bucket in buckets for arm in bucket["arms"]}) == 50


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"step": "day"}, "step"),
        ({"from": "2026-01-02", "to": "2026-01-01"}, "from"),
        ({"from": "2026-01-01", "to": "2026-01-03"}, "from"),
        ({"from": "soon"}, "from"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused_by_name(
    ann: Caller, query: dict[str, str], field: str
) -> None:
    experiment = await ann.experiment(**CODE)
    answer = await ann.get(f"/stats/{experiment['id']}/buckets", **query)
    assert (answer.status, answer.body["error"]["field"]) == (400, field)


@pytest.mark.gen_test
async def test_the_overview_goes_on_page_by_page(ann: Caller) -> None:
    made = sorted([(await ann.experiment(**CODE))["id"] for _ in range(3)])
    first = await ann.get("/stats", limit=2)
    assert 'rel="next"' in first.headers["link"]
    rest = await ann.get("/stats", limit=2, after=first.body[-1]["id"])
    assert [one["id"] for one in first.body + rest.body] == made
    assert "link" not in rest.headers
