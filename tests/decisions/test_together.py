"""Calls that came together are answered together, each as if it had come by itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from streamsim.decisions.calls import Decision, Pending, Reward
from streamsim.errors import BadRequest, PolicyError, TooManyRequests, Unauthorized
from tests.decisions.conftest import Bench
from tests.decisions.helpers import COUNT, Held, count
from tests.patience import PATIENCE_S

TELL = 'self.action["n"] = self.context["n"]'


def test_each_call_has_its_own_answer_or_error_in_order(bench: Bench) -> None:
    bench.experiment(TELL, COUNT)
    wrong = BadRequest("no such field", field="odd")
    calls: list[Pending | BadRequest] = [Decision({"n": 1}), wrong, Decision({})]
    calls += [Reward({}, context={"n": 1}), Decision({"n": 2})]
    first, second, third, fourth, fifth = bench.run(bench.decisions.answer_all("e1", "k", calls))
    assert [json.loads(one)["action"] for one in (first, fifth)] == [{"n": 1}, {"n": 2}]
    assert second is wrong
    assert isinstance(third, PolicyError)
    assert json.loads(fourth) == {"status": "success"}
    assert count(bench) == 1
    assert [row["action"] for row in bench.log("action")] == [{"n": 1}, {"n": 2}]


def test_of_no_calls_there_are_no_answers(bench: Bench) -> None:
    bench.experiment(TELL)
    assert bench.run(bench.decisions.answer_all("e1", "k", [])) == []


def test_calls_for_which_there_is_no_room_are_refused_and_the_others_answered(bench: Bench) -> None:
    bench.experiment(TELL)
    small = bench.more(queue=5)
    calls = [Decision({"n": n}) for n in range(8)]
    ends = bench.run(small.answer_all("e1", "k", calls))
    assert [type(end) for end in ends] == [bytes] * 5 + [TooManyRequests] * 3


@pytest.mark.parametrize(("experiment", "key"), [("e1", "other"), ("e2", "k")])
def test_without_the_key_there_is_no_answer(bench: Bench, experiment: str, key: str) -> None:
    bench.experiment(TELL)
    with pytest.raises(Unauthorized):
        bench.run(bench.decisions.answer_all(experiment, key, [Decision({"n": 1})]))
    assert bench.log("action") == []


def test_what_waits_for_a_caller_that_is_gone_is_not_decided(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.experiment(TELL)
    bench.decide({"n": 0})
    held = Held(bench.store.decisions, monkeypatch)

    async def left() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            calls = [Decision({"n": n}) for n in range(64 + 10)]
            together = asyncio.ensure_future(bench.decisions.answer_all("e1", "k", calls))
            await held.begun.wait()
            together.cancel()
            await asyncio.gather(together, return_exceptions=True)
            held.go.set()
            return await bench.decisions.get_action("e1", "k", {"n": 100})

    assert json.loads(bench.run(left()))["action"] == {"n": 100}
    assert [row["action"]["n"] for row in bench.log("action")] == [0, *range(64), 100]
