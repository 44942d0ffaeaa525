"""Guardrails: an arm that does harm is switched off, or the experiment falls back; the log says why."""

from __future__ import annotations

import random
from typing import Any

import pytest

from streamsim.evaluation.guardrails import Guardrails
from streamsim.services import Services
from tests.application import Caller, Clock

DRAW = """
p = {'a': 0.4, 'b': 0.3, 'c': 0.3}
self.action['arm'] = random.choices(list(p), list(p.values()))[0]
self.action_probabilities = p
"""
GIVEN: dict[str, Any] = {
    "arm_field": "arm",
    "arms": ["a", "b", "c"],
    "control": "a",
    "advice_id": True,
    "delta_hours": 1,
}
SLOW: dict[str, Any] = {"metric": "ms", "harm": "increase", "bound": 10}


@pytest.fixture
def guardrails(services: Services, clock: Clock) -> Guardrails:
    return Guardrails(services.store, services.decisions, 10_000, clock)


async def play(ann: Caller, made: dict[str, Any], n: int, means: dict[str, float]) -> list[str]:
    """So many decisions with their metric; the arms they took."""
    taken: list[str] = []
    for start in range(0, n, 500):
        some = min(500, n - start)
        answer = await ann.post(f"/getaction/{made['id']}", {"key": made["key"], "contexts": [{}] * some})
        decided = answer.body["results"]
        rewards = []
        for one in decided:
            arm = one["action"]["arm"]
            taken.append(arm)
            metrics = {"ms": random.gauss(means[arm], 20), "clicks": random.random()}
            rewards.append({"advice_id": one["advice_id"], "reward": 1, "metrics": metrics})
        answer = await ann.post(f"/setreward/{made['id']}", {"key": made["key"], "rewards": rewards})
        assert not any("error" in one for one in answer.body["results"])
    return taken


EVEN = {"a": 100.0, "b": 100.0, "c": 100.0}
HARM = EVEN | {"b": 160.0}


@pytest.mark.gen_test
async def test_an_arm_that_does_harm_is_switched_off_and_the_log_says_why(
    ann: Caller, guardrails: Guardrails
) -> None:
    random.seed(11)
    made = await ann.experiment("harm", get_action=DRAW, guardrails=[SLOW], **GIVEN)
    await play(ann, made, 60, HARM)
    assert await guardrails.look() == 0  # too little is known
    await play(ann, made, 600, HARM)
    assert await guardrails.look() == 1
    found = (await ann.get(f"/exp/{made['id']}")).body
    assert (found["off"], found["revision"]) == (["b"], 2)
    (row,) = (await ann.get(f"/stats/{made['id']}/log")).body
    said = row["guardrail"]
    assert {name: said[name] for name in ("metric", "harm", "bound", "then", "arm")} == {
        **SLOW, "then": "arm", "arm": "b"
    }  # fmt: skip
    assert 10 < said["low"] < 60 < said["high"]
    # The next decisions serve the control in its place, and say so in their probabilities.
    taken = await play(ann, made, 500, EVEN)
    assert set(taken) == {"a", "c"}
    rows = (await ann.get(f"/stats/{made['id']}/actionlog?limit=500")).body
    assert {row["propensity"] for row in rows} == {0.7, 0.3}
    assert rows[0]["probabilities"] == {"a": 0.7, "c": 0.3}
    assert await guardrails.look() == 0
    # Another process, which knows nothing, reads the log and finds nothing new to do.
    assert len((await ann.get(f"/stats/{made['id']}/log")).body) == 1


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_two_processes_that_find_the_same_harm_act_once(
    ann: Caller, services: Services, clock: Clock
) -> None:
    random.seed(12)
    made = await ann.experiment("twice", get_action=DRAW, guardrails=[SLOW], **GIVEN)
    processes = [Guardrails(services.store, services.decisions, 10_000, clock) for _ in range(2)]
    await play(ann, made, 900, HARM)
    tripped = []
    for one in processes:
        services.decisions.guarded.add(made["id"])
        tripped.append(await one.look())
    assert tripped == [1, 0]
    assert len((await ann.get(f"/stats/{made['id']}/log")).body) == 1


@pytest.mark.gen_test
async def test_an_experiment_falls_back_where_its_guardrail_says_so(
    ann: Caller, guardrails: Guardrails
) -> None:
    random.seed(13)
    rails = [{"metric": "clicks", "harm": "decrease", "bound": 5}, SLOW | {"then": "fallback"}]
    made = await ann.experiment("falls", get_action=DRAW, guardrails=rails, fallback="a", **GIVEN)
    await play(ann, made, 900, HARM)
    assert await guardrails.look() == 1
    assert (await ann.get(f"/exp/{made['id']}")).body["state"] == "paused"
    assert set(await play(ann, made, 50, EVEN)) == {"a"}
    # Nothing more happens while it is paused.
    assert await guardrails.look() == 0


@pytest.mark.gen_test
async def test_without_harm_nothing_happens(ann: Caller, guardrails: Guardrails) -> None:
    random.seed(14)
    rails = [SLOW | {"bound": 0}, {"metric": "clicks", "harm": "decrease"}]
    made = await ann.experiment("fine", get_action=DRAW, guardrails=rails, **GIVEN)
    for _ in range(4):
        await play(ann, made, 300, EVEN)
        assert await guardrails.look() == 0
    assert (await ann.get(f"/exp/{made['id']}")).body["revision"] == 1


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("control", {"control": None}),
        ("advice_id", {"advice_id": False}),
        ("fallback", {"guardrails": [SLOW | {"then": "fallback"}]}),
        ("guardrails[0].harm", {"guardrails": [SLOW | {"harm": "change"}]}),
        ("guardrails[0].bound", {"guardrails": [SLOW | {"bound": -1}]}),
        ("guardrails[0]", {"guardrails": [{"metric": "ms"}]}),
        ("guardrails", {"guardrails": []}),
        ("off", {"off": ["a"]}),
        ("off", {"off": ["z"]}),
    ],
)
async def test_guardrails_that_do_not_fit_are_refused_by_name(
    ann: Caller, field: str, changes: dict[str, Any]
) -> None:
    answer = await ann.post("/exp", {"name": "wrong", **GIVEN, "guardrails": [SLOW], **changes})
    assert (answer.status, answer.body["error"]["field"]) == (400, field), answer.body
