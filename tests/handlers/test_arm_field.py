"""Which field of an action is the arm, and that the logged propensity is that arm's probability."""

from __future__ import annotations

from typing import Any

import pytest

from tests.application import Caller
from tests.handlers.test_health import HONEST, checks, decide

FAIR = """
self.action['arm'] = random.choice(['a', 'b'])
self.action['price'] = random.randint(1, 100)
"""
NUMBERS = """
p = {1: 0.75, 2.5: 0.25}
self.action['arm'] = random.choices([1, 2.5], p.values())[0]
self.action_probabilities = p
"""
BY_ATTRIBUTE = "self.action['arm'] = random.choice(['a', 'b'])\nself.propensity = 0.5"


async def rows(ann: Caller, experiment: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await ann.get(f"/stats/{experiment['id']}/actionlog?limit=500")).body
    return found


async def ips(ann: Caller, experiment: dict[str, Any], **more: Any) -> Any:
    body = {"candidate": {"experiment": experiment["id"]}, "estimators": ["ips"], **more}
    return await ann.post(f"/eval/{experiment['id']}/offpolicy", body)


@pytest.mark.gen_test
@pytest.mark.parametrize("code", [HONEST, NUMBERS], ids=["text", "numbers"])
async def test_probabilities_alone_give_the_propensity_of_what_was_served(ann: Caller, code: str) -> None:
    experiment = await ann.experiment("telling", get_action=code)
    await decide(ann, experiment, 300)
    logged = await rows(ann, experiment)
    chances = {"a": 0.75, "b": 0.25, 1: 0.75, 2.5: 0.25}
    assert [row["propensity"] for row in logged] == [chances[row["action"]["arm"]] for row in logged]
    found = await checks(ann, experiment)
    assert found["propensities"]["ok"]
    assert found["sample_ratio"]["p_value"] > 0.001


@pytest.mark.gen_test
async def test_rewards_by_action_take_the_propensity_of_their_decision(ann: Caller) -> None:
    experiment = await ann.experiment("by action", get_action=BY_ATTRIBUTE)
    for result in await decide(ann, experiment, 40):
        action = result["action"]
        reward = {"context": {}, "action": action, "reward": float(action["arm"] == "a")}
        await ann.post(f"/setreward/{experiment['id']}", reward | {"key": experiment["key"]})
    answer = await ips(ann, experiment)
    assert answer.status == 200, answer.body
    assert answer.body["log"]["matched"] == 40
    taken = [row["action"]["arm"] for row in await rows(ann, experiment)]
    # A fair coin as candidate on a fair coin's log: the mean of what was earned, up to its estimated chances.
    assert answer.body["estimates"][0]["value"] == pytest.approx(taken.count("a") / 40, abs=0.1)


@pytest.mark.gen_test
async def test_of_several_fields_the_declared_one_is_the_arm_everywhere(ann: Caller) -> None:
    experiment = await ann.experiment(
        "priced", get_action=FAIR, arm_field="arm", log_propensity=True, advice_id=True, delta_hours=1,
        get_context="", get_reward="self.reward['value'] = 1", set_reward="pass",
    )  # fmt: skip
    path = f"/exp/{experiment['id']}"
    assert (await ann.get(path)).body["arm_field"] == "arm"
    for result in await decide(ann, experiment, 200):
        reward = {"advice_id": result["advice_id"], "reward": {"value": result["action"]["arm"] == "a"}}
        answer = await ann.post(f"/setreward/{experiment['id']}", reward | {"key": experiment["key"]})
        assert answer.status == 200
    chances = [row["propensity"] for row in await rows(ann, experiment)]
    assert sum(chances) / len(chances) == pytest.approx(0.5, abs=0.05)
    found = await checks(ann, experiment)
    assert "arm_field" not in found
    assert found["propensities"]["ok"]
    answer = await ips(ann, experiment)
    assert answer.status == 200
    assert answer.body["candidate"]["arms"] == ["a", "b"]
    assert answer.body["estimates"][0]["value"] == pytest.approx(0.5, abs=0.15)
    compared = await ann.post(
        "/eval/compare", {"experiments": [experiment["id"]], "N": 50, "replications": 2}
    )
    assert compared.status == 200
    assert compared.body["policies"]["priced"]["arms"].keys() == {"a", "b"}


@pytest.mark.gen_test
async def test_an_arm_that_cannot_be_told_is_asked_for_where_it_is_needed(ann: Caller) -> None:
    experiment = await ann.experiment(
        "priced", get_action=FAIR, get_reward="self.reward['value'] = 1", set_reward="pass"
    )
    results = await decide(ann, experiment, 30)
    check = (await checks(ann, experiment))["arm_field"]
    assert not check["ok"]
    assert "arm_field" in check["sentence"]
    assert "arm, price" in check["sentence"]
    reward = {"key": experiment["key"], "context": {}, "action": results[0]["action"], "reward": 1}
    await ann.post(f"/setreward/{experiment['id']}", reward)
    refused = await ips(ann, experiment)
    assert refused.status == 400
    assert "arm_field" in refused.body["error"]["message"]
    assert (await ips(ann, experiment, action_field="arm")).status == 200
    assert (await ann.put(f"/exp/{experiment['id']}", {"arm_field": "arm"})).status == 200
    assert (await ips(ann, experiment)).status == 200
    assert "arm_field" not in await checks(ann, experiment)


@pytest.mark.gen_test
@pytest.mark.parametrize("value", [5, True, [], {}, "x" * 300, "propensity"])
async def test_an_arm_field_is_the_name_of_a_field(ann: Caller, value: object) -> None:
    answer = await ann.post("/exp", {"name": "x", "arm_field": value})
    assert answer.status == 400
    assert answer.body["error"]["field"] == "arm_field"


@pytest.mark.gen_test
async def test_expected_rewards_of_arms_that_are_numbers_give_regret(ann: Caller) -> None:
    experiment = await ann.experiment(
        "numbers", get_action=NUMBERS, set_reward="pass",
        get_reward="self.expected_rewards = {1: 0.5, 2.5: 0.25}\nself.reward['value'] = 1",
    )  # fmt: skip
    answer = await ann.post("/eval/compare", {"experiments": [experiment["id"]], "N": 400, "replications": 2})
    assert answer.status == 200, answer.body
    # A quarter of the decisions cost a quarter each.
    assert answer.body["policies"]["numbers"]["regret"]["mean"][-1] == pytest.approx(25, abs=6)
