"""The first calls of a batch run while it gathers, and nobody can tell."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from streamsim.decisions.decisions import Decisions
from streamsim.decisions.early import PART
from streamsim.decisions.pace import LEAST
from streamsim.errors import PolicyError, Unauthorized
from tests.decisions.conftest import Bench
from tests.decisions.helpers import COUNT, SHOW, Early, count
from tests.patience import PATIENCE_S

TELL = 'self.action["n"] = self.context["n"]'


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> Early:
    return Early(monkeypatch)


async def decide(decisions: Decisions, calls: int, key: str = "k") -> list[Any]:
    """So many decisions that come at once: what each is answered, or its error."""
    async with asyncio.timeout(PATIENCE_S):
        waiting = [decisions.get_action("e1", key, {"n": n}) for n in range(calls)]
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    return [json.loads(one)["action"] if isinstance(one, bytes) else one for one in answers]


def warm(bench: Bench, get_action: str, set_reward: str = "") -> None:
    """An experiment whose worker has started."""
    bench.experiment(get_action, set_reward)
    bench.decide({"n": -1})


def test_parts_of_a_batch_run_before_it_is_complete_and_are_answered_in_their_order(
    bench: Bench, early: Early
) -> None:
    warm(bench, TELL)
    answers = bench.run(decide(bench.decisions, 2 * PART + 3))
    assert early.parts == [PART, PART]
    assert answers == [{"n": n} for n in range(2 * PART + 3)]
    assert [row["action"]["n"] for row in bench.log("action")] == [-1, *range(2 * PART + 3)]


def test_no_more_runs_early_than_half_a_batch_or_than_the_one_before_had(bench: Bench, early: Early) -> None:
    warm(bench, TELL)
    many = LEAST + 2 * PART
    for calls, parts in (
        (3 * PART, 3),
        (PART + 1, 1),
        (many, LEAST // PART),  # more than these may be two batches
        (many, many // PART),
        (many + 1, many // PART),
        (2 * PART, 2),
    ):
        early.parts.clear()
        assert bench.run(decide(bench.decisions, calls)) == [{"n": n} for n in range(calls)]
        assert early.parts == [PART] * parts, calls


def test_few_calls_go_to_the_worker_in_one_message(bench: Bench, early: Early) -> None:
    warm(bench, TELL)
    assert len(bench.run(decide(bench.decisions, PART - 1))) == PART - 1
    assert early.parts == []


def test_each_of_many_rewards_is_learnt_once_whichever_of_them_ran_early(bench: Bench, early: Early) -> None:
    warm(bench, TELL, COUNT)

    async def learn() -> None:
        for _ in range(3):
            await asyncio.gather(*(bench.learn(bench.decisions) for _ in range(PART + 1)))

    bench.run(learn())
    assert early.parts == [PART] * 3
    assert count(bench) == 3 * (PART + 1)


def test_what_ran_early_on_theta_that_another_server_changed_runs_again(bench: Bench, early: Early) -> None:
    warm(bench, SHOW, COUNT)
    other = bench.more()
    for learnt in range(1, 4):
        bench.run(bench.learn(other))
        assert bench.run(decide(bench.decisions, PART + 1)) == [{"n": learnt}] * (PART + 1)
    assert early.parts == [PART] * 3


def test_code_that_was_changed_elsewhere_is_what_decides(bench: Bench, early: Early) -> None:
    warm(bench, TELL)
    stored = bench.run(bench.store.decisions.get_experiment("e1"))
    code = stored.code | {"get_action": 'self.action["n"] = "new"'}
    bench.run(bench.store.decisions.update_experiment(msgspec.structs.replace(stored, code=code)))
    assert bench.run(decide(bench.decisions, PART + 1)) == [{"n": "new"}] * (PART + 1)
    assert early.parts == [PART]


def test_a_call_that_fails_early_fails_alone(bench: Bench, early: Early) -> None:
    warm(bench, f"{TELL}\nassert self.context['n'] != 2")
    answers = bench.run(decide(bench.decisions, PART + 1))
    assert early.parts == [PART]
    assert isinstance(answers[2], PolicyError)
    assert [one for one in answers if one is not answers[2]] == [{"n": n} for n in range(PART + 1) if n != 2]


def test_a_process_that_dies_of_a_call_that_ran_early_takes_no_other_call_along(
    bench: Bench, early: Early
) -> None:
    warm(bench, f"{TELL}\nimport os\nif self.context['n'] == 2: os._exit(3)")
    answers = bench.run(decide(bench.decisions, PART + 1))
    assert early.parts[0] == PART
    assert isinstance(answers[2], PolicyError)
    assert [one for one in answers if one is not answers[2]] == [{"n": n} for n in range(PART + 1) if n != 2]


def test_nothing_runs_early_for_a_wrong_key(bench: Bench, early: Early) -> None:
    warm(bench, TELL)
    answers = bench.run(decide(bench.decisions, 2 * PART, key="wrong"))
    assert all(isinstance(one, Unauthorized) for one in answers)
    assert early.parts == []
    assert len(bench.log("action")) == 1


def test_what_nobody_waits_for_any_more_has_no_effect_though_it_ran_early(bench: Bench, early: Early) -> None:
    warm(bench, TELL)

    async def left() -> list[Any]:
        calls = [bench.decisions.get_action("e1", "k", {"n": n}) for n in range(PART)]
        waiting = [asyncio.ensure_future(call) for call in calls]
        await early.begun.wait()
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return await decide(bench.decisions, 2)

    assert bench.run(left()) == [{"n": 0}, {"n": 1}]
    assert [row["action"]["n"] for row in bench.log("action")] == [-1, 0, 1]


def test_questions_of_calls_that_run_early_are_answered(bench: Bench, early: Early) -> None:
    # Every call reads a scope that the worker does not know yet.
    code = (
        'n = self.context["n"]\nself.action["n"] = len(self.get_theta(key="k", value=str(n), name=f"t{n}"))'
    )
    warm(bench, code)
    assert bench.run(decide(bench.decisions, 3 * PART)) == [{"n": 0}] * (3 * PART)
    assert early.parts[:1] == [PART]


def test_those_who_call_again_when_they_are_answered_go_to_the_worker_as_they_come(
    bench: Bench, early: Early
) -> None:
    warm(bench, TELL)

    async def twice(n: int) -> list[dict[str, int]]:
        answers = [await bench.decisions.get_action("e1", "k", {"n": n}) for _ in range(2)]
        return [json.loads(answer)["action"] for answer in answers]

    async def all_twice() -> list[Any]:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.gather(*(twice(n) for n in range(PART + 3)))

    assert bench.run(all_twice()) == [[{"n": n}] * 2 for n in range(PART + 3)]
    # Not all in one message, when the last of them is there.
    assert early.parts == [PART, PART]
