"""An experiment in the shadow of a present system, over HTTP: agreement, value, and promotion."""

from __future__ import annotations

import random
from typing import Any

import pytest

from streamsim.evaluation.guardrails import Guardrails
from streamsim.services import Services
from tests.application import Caller, Clock

BETTER = "self.action['arm'] = 'b'\nself.action_probabilities = {'a': 0.2, 'b': 0.8}"
WORSE = "self.action['arm'] = 'a'\nself.action_probabilities = {'a': 0.8, 'b': 0.2}"
GIVEN: dict[str, Any] = {"arm_field": "arm", "advice_id": True, "delta_hours": 1}


async def play(ann: Caller, made: dict[str, Any], n: int, *, told: bool = True) -> None:
    """A present system that takes a and b evenly, of which b earns 1 in 0.7 and a in 0.3."""
    for _ in range(0, n, 500):
        arms = random.choices("ab", k=500)
        actions = [{"arm": arm, "propensity": 0.5} if told else {"arm": arm} for arm in arms]
        body = {"key": made["key"], "contexts": [{}] * 500, "actions": actions}
        answer = await ann.post(f"/getaction/{made['id']}", body)
        assert [one["action"] for one in answer.body["results"]] == actions
        rewards = [
            {"advice_id": one["advice_id"], "reward": int(random.random() < (0.7 if arm == "b" else 0.3))}
            for one, arm in zip(answer.body["results"], arms, strict=True)
        ]
        answer = await ann.post(f"/setreward/{made['id']}", {"key": made["key"], "rewards": rewards})
        assert not any("error" in one for one in answer.body["results"])


@pytest.mark.gen_test
async def test_inference_tells_agreement_and_what_the_code_would_have_earned(ann: Caller) -> None:
    random.seed(1)
    made = await ann.experiment("shadow", get_action=BETTER, shadow=True, **GIVEN)
    await play(ann, made, 2_000)
    shadow = (await ann.get(f"/stats/{made['id']}/inference")).body["shadow"]
    assert (shadow["decisions"], shadow["agreement"]) == (2_000, pytest.approx(0.5, abs=0.05))
    assert shadow["baseline"] == pytest.approx(0.5, abs=0.05)
    for name, truth in (("value", 0.62), ("difference", 0.12)):
        assert shadow[name]["low"] < truth < shadow[name]["high"]
    unknown = await ann.experiment("unknown", get_action=BETTER, shadow=True, **GIVEN)
    await play(ann, unknown, 500, told=False)
    shadow = (await ann.get(f"/stats/{unknown['id']}/inference")).body["shadow"]
    assert (shadow["value"], shadow["difference"]) == (None, None)
    assert "came without the probability" in shadow["reason"]


@pytest.mark.gen_test
async def test_better_code_is_promoted_by_itself_and_worse_code_is_not(
    ann: Caller, services: Services, clock: Clock
) -> None:
    random.seed(2)
    guardrails = Guardrails(services.store, services.decisions, 20_000, clock)
    shadow = {"auto_promote": True}
    better = await ann.experiment("better", get_action=BETTER, shadow=shadow, **GIVEN)
    worse = await ann.experiment("worse", get_action=WORSE, shadow=shadow, **GIVEN)
    promoted = 0
    for _ in range(8):
        await play(ann, worse, 500)
        if not promoted:
            await play(ann, better, 500)
        promoted += await guardrails.look()
    assert promoted == 1
    assert (await ann.get(f"/exp/{worse['id']}")).body["shadow"] == shadow
    assert "shadow" not in (await ann.get(f"/exp/{better['id']}")).body
    (row,) = (await ann.get(f"/stats/{better['id']}/log")).body
    assert 0 < row["promoted"]["difference"]["low"] < 0.12
    # From now on the code decides; the action that is still sent does not count.
    body = {"key": better["key"], "context": {}, "action": {"arm": "a"}}
    assert (await ann.post(f"/getaction/{better['id']}", body)).body["action"] == {"arm": "b"}


@pytest.mark.gen_test
async def test_promotion_by_a_call(ann: Caller) -> None:
    made = await ann.experiment("by call", get_action=BETTER, shadow=True, arm_field="arm")
    where = f"/getaction/{made['id']}"
    query = {"key": made["key"], "action": '{"arm": "a"}'}
    assert (await ann.get(where, **query)).body["action"] == {"arm": "a"}
    answer = await ann.get(where, key=made["key"])
    assert (answer.status, answer.body["error"]["field"]) == (400, "action")
    await ann.put(f"/exp/{made['id']}", {"shadow": None})
    assert (await ann.get(where, **query)).body["action"] == {"arm": "b"}
    assert (await ann.get(where, key=made["key"])).body["action"] == {"arm": "b"}


@pytest.mark.gen_test
async def test_actions_are_one_for_each_context(ann: Caller) -> None:
    made = await ann.experiment("lists", get_action=BETTER, shadow=True, arm_field="arm")
    for actions in ([{"arm": "a"}], {"arm": "a"}, None):
        body = {"key": made["key"], "contexts": [{}, {}], "actions": actions}
        answer = await ann.post(f"/getaction/{made['id']}", body)
        assert (answer.status, answer.body["error"]["field"]) == (400, "actions")
