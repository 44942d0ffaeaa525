"""Code in the shadow of a present system: whatever it does, the answer is the action that the caller sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from streamsim.errors import BadRequest
from tests.decisions.conftest import Bench
from tests.decisions.helpers import COUNT, count

GOOD = "self.action['arm'] = 'b'\nself.action_probabilities = {'a': 0.25, 'b': 0.75}\n"
BAD = {
    "raises": "1 / 0",
    "answers nothing": "self.action = None",
    "too slow": "while True: pass",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "answers nonsense": "self.action = {'arm': 'b'}\nself.action_probabilities = 'x'",
    "changes what it got": "self.context.clear()\nself.action = {'arm': 'z'}",
}


def decide(bench: Bench, present: Any, **context: Any) -> dict[str, Any]:
    work = bench.decisions.get_action("e1", "k", context, present=present)
    answer: dict[str, Any] = json.loads(bench.run(work))
    return answer


@pytest.mark.every_backend
def test_the_callers_action_is_answered_logged_and_learnt_from(bench: Bench) -> None:
    bench.experiment(GOOD + COUNT, COUNT, shadow=True, arm_field="arm", advice_id=True, delta_hours=1)
    found = decide(bench, {"arm": "a", "propensity": 0.5}, user=1)
    assert found["action"] == {"arm": "a", "propensity": 0.5}
    (row,) = bench.log("action")
    assert row == {
        "context": {"user": 1},
        "action": {"arm": "a", "propensity": 0.5},
        "propensity": 0.5,
        "shadow": {"action": {"arm": "b"}, "propensity": 0.75, "probabilities": {"a": 0.25, "b": 0.75}},
        "advice_id": found["advice_id"],
        "revision": 1,
    }
    assert count(bench) == 1  # what get_action writes stays
    bench.reward(1, advice_id=found["advice_id"])
    assert count(bench) == 2
    assert bench.log("reward")[0]["action"] == {"arm": "a", "propensity": 0.5}


@pytest.mark.parametrize("bad", BAD)
def test_bad_code_never_changes_an_answer(bench: Bench, bad: str) -> None:
    bench.experiment(BAD[bad], "", shadow=True, arm_field="arm")
    other = bench.more()

    async def many() -> list[bytes]:
        calls = [
            [bench.decisions, other][n % 2].get_action("e1", "k", {"n": n}, present={"arm": n})
            for n in range(6)
        ]
        return await asyncio.gather(*calls)

    assert [json.loads(one)["action"] for one in bench.run(many())] == [{"arm": n} for n in range(6)]
    rows = bench.log("action")
    assert sorted(row["action"]["arm"] for row in rows) == list(range(6))
    failed = bad not in ("changes what it got",)
    assert all(("shadow" in row) == (not failed) for row in rows)
    assert bool(bench.log("error")) == failed


@pytest.mark.every_backend
def test_code_that_does_not_compile_answers_all_the_same(bench: Bench) -> None:
    bench.experiment("self.action[", "", shadow=True)
    assert decide(bench, "now")["action"] == "now"


@pytest.mark.every_backend
def test_without_the_callers_action_a_shadow_is_refused(bench: Bench) -> None:
    bench.experiment(GOOD, "", shadow=True)
    with pytest.raises(BadRequest) as caught:
        decide(bench, None)
    assert caught.value.field == "action"


@pytest.mark.every_backend
def test_without_a_shadow_the_callers_action_does_not_count(bench: Bench) -> None:
    bench.experiment(GOOD, "", arm_field="arm")
    assert decide(bench, {"arm": "a"})["action"] == {"arm": "b"}
    assert "shadow" not in bench.log("action")[0]


@pytest.mark.every_backend
def test_traffic_waits_until_the_code_is_promoted_and_a_pause_stops_its_shadow(bench: Bench) -> None:
    traffic = {"floor": 0.5, "burn_in": 10}
    bench.experiment(GOOD, "", shadow=True, arm_field="arm", arms=["a", "b"], traffic=traffic, state="paused")
    for _ in range(5):
        assert decide(bench, {"arm": "c"})["action"] == {"arm": "c"}
    assert all("shadow" not in row and "decided_by" not in row for row in bench.log("action"))
