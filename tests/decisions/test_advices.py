"""Advice ids and idempotency keys through the lane: each counts once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamsim.errors import (
    Conflict,
    NotFound,
    PolicyError,
    Unprocessable,
)
from tests.decisions.conftest import Bench
from tests.decisions.helpers import COUNT, count

pytestmark = pytest.mark.every_backend


def advised(bench: Bench, **properties: Any) -> str:
    given: dict[str, Any] = {"delta_hours": 1, "default_reward": {"v": 0}} | properties
    bench.experiment('self.action["a"] = 1', COUNT, advice_id=True, **given)
    advice_id: str = bench.decide({"c": 3})["advice_id"]
    return advice_id


def test_an_advice_id_is_redeemed_once_by_fifty_callers_in_two_processes(bench: Bench) -> None:
    advice_id = advised(bench)
    other = bench.more()

    async def race() -> list[Any]:
        calls = (bench.learn([bench.decisions, other][i % 2], 1, advice_id=advice_id) for i in range(50))
        return await asyncio.gather(*calls, return_exceptions=True)

    ends = bench.run(race())
    assert sum(isinstance(end, bytes) for end in ends) == 1
    assert sum(isinstance(end, Conflict) for end in ends) == 49
    assert count(bench) == 1
    assert bench.log("reward") == [
        {"context": {"c": 3}, "action": {"a": 1}, "reward": 1, "advice_id": advice_id}
    ]


def test_a_reward_races_its_time_out_and_one_of_them_counts(bench: Bench) -> None:
    bench.experiment('self.action["a"] = 1', COUNT, advice_id=True, delta_hours=1, default_reward={"v": 0})
    late = bench.more(ahead_ms=3_600_001)
    won = {"reward": 0, "timeout": 0}
    for round in range(30):
        advice_id = bench.decide()["advice_id"]

        async def race(advice_id: str = advice_id, round: int = round) -> list[Any]:
            timing_out = asyncio.ensure_future(late.time_out_advices())
            for _ in range(round // 2):  # let it get further and further before the reward comes
                await asyncio.sleep(0)
            calls = [bench.learn(bench.decisions, 1, advice_id=advice_id) for _ in range(3)]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            await timing_out
            return ends

        ends = bench.run(race())
        accepted = sum(isinstance(end, bytes) for end in ends)
        assert accepted + sum(isinstance(end, Conflict) for end in ends) == 3
        assert accepted <= 1
        won["reward" if accepted else "timeout"] += 1
        assert count(bench) == round + 1
    rows = bench.log("reward")
    assert len(rows) == 30
    assert sum("timeout" in row for row in rows) == won["timeout"]


def test_past_its_time_a_reward_is_refused_though_the_job_has_not_come_yet(bench: Bench) -> None:
    advice_id = advised(bench)
    bench.now_ms += 3_600_000
    with pytest.raises(Conflict, match="past its delta_hours"):
        bench.reward(1, advice_id=advice_id)
    assert bench.run(bench.decisions.time_out_advices()) == 1


def test_the_default_reward_counts_when_delta_hours_are_over(bench: Bench) -> None:
    advice_id = advised(bench)
    assert bench.run(bench.decisions.time_out_advices()) == 0
    bench.now_ms += 3_600_000
    assert bench.run(bench.decisions.time_out_advices()) == 1
    assert bench.run(bench.decisions.time_out_advices()) == 0
    with pytest.raises(Conflict, match="default_reward"):
        bench.reward(1, advice_id=advice_id)
    assert bench.log("reward") == [
        {"context": {"c": 3}, "action": {"a": 1}, "reward": {"v": 0}, "advice_id": advice_id, "timeout": True}
    ]
    assert count(bench) == 1


def test_a_default_reward_that_the_code_fails_on_does_not_come_due_for_ever(bench: Bench) -> None:
    bench.experiment("", "1 / 0", advice_id=True, delta_hours=0, default_reward={"v": 0})
    advice_id = bench.decide()["advice_id"]
    assert bench.run(bench.decisions.time_out_advices()) == 1
    assert bench.run(bench.decisions.time_out_advices()) == 0
    assert bench.log("reward") == []
    (row,) = bench.log("manual")
    assert row["advice_id"] == advice_id
    assert "ZeroDivisionError" in row["error"]


def test_a_reward_that_failed_leaves_its_advice_open(bench: Bench) -> None:
    bench.experiment("", 'if self.reward == 0: raise ValueError("zero")', advice_id=True, delta_hours=1)
    advice_id = bench.decide()["advice_id"]
    with pytest.raises(PolicyError):
        bench.reward(0, advice_id=advice_id)
    assert bench.reward(1, advice_id=advice_id) == {"status": "success"}


def test_unknown_advice_ids_are_named(bench: Bench) -> None:
    bench.experiment("", "")
    with pytest.raises(NotFound) as caught:
        bench.reward(1, advice_id="nope")
    assert caught.value.field == "advice_id"


def test_a_repeated_idempotency_key_is_one_update_and_the_same_answer(bench: Bench) -> None:
    bench.experiment("", COUNT)
    other = bench.more()

    async def repeat() -> list[bytes]:
        calls = (bench.learn([bench.decisions, other][i % 2], 1, idempotency_key="i") for i in range(20))
        return await asyncio.gather(*calls)

    assert set(bench.run(repeat())) == {b'{"status":"success"}'}
    assert count(bench) == 1
    with pytest.raises(Unprocessable):
        bench.reward(2, idempotency_key="i")
    assert bench.reward(1, idempotency_key="j") == {"status": "success"}
    assert count(bench) == 2


def test_a_repeated_request_for_an_advice_id_is_answered_as_before(bench: Bench) -> None:
    advice_id = advised(bench)
    for _ in range(2):
        assert bench.reward(1, advice_id=advice_id, idempotency_key="i") == {"status": "success"}
    with pytest.raises(Conflict):
        bench.reward(1, advice_id=advice_id, idempotency_key="other")
    assert count(bench) == 1
