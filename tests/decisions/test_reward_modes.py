"""Several rewards of one advice id: which of them count, when, and that each counts exactly once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from streamsim.dates import HOUR_MS
from streamsim.errors import BadRequest, Conflict
from streamsim.storage.contract.decisions import ThetaAddress
from tests.decisions.conftest import Bench

pytestmark = pytest.mark.every_backend

LEARN = """
seen = self.get_theta(key="seen", value="all")
reward = self.reward["v"] if isinstance(self.reward, dict) else self.reward
self.set_theta({"n": seen.get("n", 0) + 1, "total": seen.get("total", 0) + reward}, key="seen", value="all")
"""


def advised(bench: Bench, mode: str | None, **properties: Any) -> str:
    given: dict[str, Any] = {"reward_window_hours": 2, "default_reward": {"v": 100}} | properties
    if mode is not None:
        given["reward_mode"] = mode
    bench.experiment('self.action["a"] = 1', LEARN, advice_id=True, **given)
    advice_id: str = bench.decide({"c": 3})["advice_id"]
    return advice_id


def learnt(bench: Bench) -> tuple[int, float]:
    """How often the code learnt, and the total of what it learnt from."""
    address = ThetaAddress("e1", "_theta", "seen", "all")
    rows = bench.run(bench.store.decisions.read_theta(address)).rows
    found = json.loads(next(iter(rows.values()))[0]) if rows else {"n": 0, "total": 0}
    return found["n"], found["total"]


def closed(bench: Bench) -> None:
    """Let the window close."""
    bench.now_ms += 2 * HOUR_MS
    assert bench.run(bench.decisions.time_out_advices()) == 1
    assert bench.run(bench.decisions.time_out_advices()) == 0


@pytest.mark.parametrize(
    ("mode", "at_once", "in_the_end"),
    [("each", (3, 8), (3, 8)), ("last", (0, 0), (1, 4)), ("sum", (0, 0), (1, 8))],
)
def test_several_rewards_come_to_what_the_mode_says_when_it_says(
    bench: Bench, mode: str, at_once: tuple[int, int], in_the_end: tuple[int, int]
) -> None:
    advice_id = advised(bench, mode)
    for reward in (1, 3, 4):
        assert bench.reward(reward, advice_id=advice_id) == {"status": "success"}
    assert learnt(bench) == at_once
    closed(bench)
    assert learnt(bench) == in_the_end
    rows = bench.log("reward")
    call = {"context": {"c": 3}, "action": {"a": 1}, "advice_id": advice_id}
    part = {} if mode == "each" else {"part": True}
    expected = [call | {"reward": reward} | part for reward in (1, 3, 4)]
    if mode != "each":
        expected.append(call | {"reward": in_the_end[1], "parts": 3})
    assert rows == expected
    # What comes after that is logged as late, and nothing more.
    assert bench.reward(50, advice_id=advice_id) == {"status": "success", "late": True}
    assert learnt(bench) == in_the_end
    assert bench.log("reward")[len(expected) :] == [call | {"reward": 50, "late": True}]


@pytest.mark.parametrize("mode", [None, "first", "each", "last", "sum"])
def test_where_no_reward_came_the_default_reward_counts(bench: Bench, mode: str | None) -> None:
    advice_id = advised(bench, mode)
    closed(bench)
    assert learnt(bench) == (1, 100)
    assert [row.get("timeout") for row in bench.log("reward")] == [True]
    assert bench.reward(50, advice_id=advice_id)["late"] is True
    assert learnt(bench) == (1, 100)


def test_of_first_a_second_one_is_refused_and_a_late_one_logged(bench: Bench) -> None:
    advice_id = advised(bench, "first")
    bench.reward(1, advice_id=advice_id)
    with pytest.raises(Conflict, match="redeemed before"):
        bench.reward(2, advice_id=advice_id)
    other = bench.decide()["advice_id"]
    bench.now_ms += 2 * HOUR_MS
    # Before the jobs came to it.
    assert bench.reward(3, advice_id=other)["late"] is True
    assert learnt(bench) == (1, 1)


@pytest.mark.parametrize("mode", ["each", "last", "sum"])
def test_rewards_from_two_processes_at_once_and_in_the_last_moment_count_once(
    bench: Bench, mode: str
) -> None:
    advice_id = advised(bench, mode)
    ahead = bench.more(ahead_ms=2 * HOUR_MS)
    processes = [bench.decisions, bench.more()]

    async def race() -> list[Any]:
        calls = [
            asyncio.ensure_future(bench.learn(processes[n % 2], 1, advice_id=advice_id)) for n in range(60)
        ]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert done
        # Its time is up for another process, in the middle of it.
        assert await ahead.time_out_advices() == 1
        return await asyncio.gather(*calls)

    answers = bench.run(race())
    in_time = sum(b"late" not in answer for answer in answers)
    rows = bench.log("reward")
    assert sum("late" in row for row in rows) == 60 - in_time
    total = {"each": (in_time, in_time), "last": (1, 1), "sum": (1, in_time)}
    assert learnt(bench) == total[mode]
    if mode == "sum":
        (whole,) = [row for row in rows if "parts" in row]
        assert (whole["reward"], whole["parts"]) == (in_time, in_time)


def test_objects_are_added_field_by_field_and_what_cannot_be_added_is_refused(bench: Bench) -> None:
    advice_id = advised(bench, "sum")
    bench.reward({"v": 1, "bought": True, "page": "a"}, advice_id=advice_id)
    bench.reward({"v": 2.5, "bought": True, "page": "b", "more": 1}, advice_id=advice_id)
    for wrong in (3, "text", None):
        with pytest.raises(BadRequest) as caught:
            bench.reward(wrong, advice_id=advice_id)
        assert caught.value.field == "reward"
    bench.reward({"v": 2**62}, advice_id=advice_id)
    with pytest.raises(BadRequest, match="the sum of this advice id's rewards"):
        bench.reward({"more": 2**63 - 1}, advice_id=advice_id)
    closed(bench)
    row = bench.log("reward")[-1]
    assert row["parts"] == 3
    assert row["reward"] == {"v": 3.5 + 2**62, "bought": 2, "page": "b", "more": 1}


def test_an_idempotency_key_adds_its_reward_once(bench: Bench) -> None:
    advice_id = advised(bench, "sum")
    for _ in range(3):
        bench.reward(5, advice_id=advice_id, idempotency_key="i")
    bench.reward(5, advice_id=advice_id, idempotency_key="j")
    closed(bench)
    assert learnt(bench) == (1, 10)


def test_a_sum_that_the_code_fails_on_closes_without_effect(bench: Bench) -> None:
    bench.experiment("", "1 / 0", advice_id=True, reward_window_hours=2, reward_mode="sum")
    advice_id = bench.decide()["advice_id"]
    bench.reward(5, advice_id=advice_id)
    closed(bench)
    (row,) = bench.log("manual")
    assert row["default_reward"] == 5
    assert "ZeroDivisionError" in row["error"]
    assert bench.reward(5, advice_id=advice_id)["late"] is True
