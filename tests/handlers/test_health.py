"""The health of live experiments, the log of errors, and propensities that are logged while serving."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.application import Caller, Clock

HONEST = """
p = {'a': 0.75, 'b': 0.25}
self.action['arm'] = random.choices('ab', p.values())[0]
self.action_probabilities = p
"""
LYING = HONEST.replace("p.values()", "[0.25, 0.75]")
SILENT = "self.action['arm'] = 'a' if random.random() < 0.75 else 'b'\nself.log_data({'n': 1})"


async def decide(ann: Caller, experiment: dict[str, Any], times: int) -> list[dict[str, Any]]:
    path = f"/getaction/{experiment['id']}"
    answer = await ann.post(path, {"key": experiment["key"], "contexts": [{}] * times})
    results: list[dict[str, Any]] = answer.body["results"]
    return results


async def checks(ann: Caller, experiment: dict[str, Any]) -> dict[str, Any]:
    answer = await ann.get(f"/stats/{experiment['id']}/health")
    assert answer.status == 200, answer.body
    found = {check["name"]: check for check in answer.body["checks"]}
    assert answer.body["ok"] == all(check["ok"] for check in found.values())
    assert all(check["sentence"] for check in found.values())
    return found


@pytest.mark.gen_test
async def test_an_honest_experiment_is_healthy(ann: Caller) -> None:
    experiment = await ann.experiment("honest", get_action=HONEST)
    await decide(ann, experiment, 400)
    found = await checks(ann, experiment)
    drift = {"reward_drift", "context_drift", "shares"}
    assert set(found) == {"propensities", "sample_ratio", "arms", "rewards", "errors", "stuck"} | drift
    # A right policy fails this in one of a thousand runs.
    assert found["sample_ratio"]["p_value"] > 0.001
    assert found["arms"]["ok"]
    assert found["errors"]["statistic"] == 0


@pytest.mark.gen_test
async def test_decisions_that_all_fail_after_a_reward_are_said_to_be_stuck(ann: Caller) -> None:
    code = "if self.get_theta(key='t', value='t'): raise ValueError('cannot go on')\nself.action['arm'] = 'a'"
    learn = "self.set_theta({'bad': 1}, key='t', value='t')"
    experiment = await ann.experiment("stuck", get_action=code, set_reward=learn)
    await decide(ann, experiment, 30)
    assert (await checks(ann, experiment))["stuck"]["ok"]
    reward = {"key": experiment["key"], "context": {}, "action": {"arm": "a"}, "reward": 1}
    assert (await ann.post(f"/setreward/{experiment['id']}", reward)).status == 200
    await decide(ann, experiment, 25)
    check = (await checks(ann, experiment))["stuck"]
    assert not check["ok"]
    assert check["detail"] == {"failed": 25}
    assert "cannot go on" in check["sentence"]
    assert "Rewards came before them" in check["sentence"]


@pytest.mark.gen_test
async def test_a_lying_policy_is_found_out_by_its_arm_counts(ann: Caller) -> None:
    experiment = await ann.experiment("lying", get_action=LYING)
    await decide(ann, experiment, 400)
    check = (await checks(ann, experiment))["sample_ratio"]
    assert not check["ok"]
    assert check["p_value"] < 1e-6
    rows = (await ann.get(f"/stats/{experiment['id']}/actionlog")).body
    a = sum(row["action"]["arm"] == "a" for row in rows)
    # Pearson's statistic by hand.
    assert check["statistic"] == pytest.approx((a - 300) ** 2 / 300 + (300 - a) ** 2 / 100)


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_errors_are_logged_and_counted(ann: Caller) -> None:
    code = "self.action['arm'] = 'a'\nif self.context.get('bad'):\n    raise KeyError('bad')"
    experiment = await ann.experiment("failing", get_action=code)
    path = f"/getaction/{experiment['id']}"
    contexts = [{"bad": n < 6} for n in range(10)]
    await ann.post(path, {"key": experiment["key"], "contexts": contexts})
    check = (await checks(ann, experiment))["errors"]
    assert (check["detail"]["errors"], check["detail"]["calls"], check["ok"]) == (6, 10, False)
    rows = (await ann.get(f"/stats/{experiment['id']}/errorlog")).body
    assert len(rows) == 6
    assert (rows[0]["call"], rows[0]["code"], rows[0]["detail"]["line"]) == ("getaction", "policy_error", 3)
    assert (await ann.get(f"/stats/{experiment['id']}/summary")).body["get_action_calls"] == 4


@pytest.mark.gen_test
async def test_a_call_that_kills_its_process_is_an_error_too(ann: Caller) -> None:
    code = "self.action['arm'] = 'a'\nif self.context.get('bad'):\n    __import__('os')._exit(1)"
    experiment = await ann.experiment("dying", get_action=code)
    for bad in (False, True):
        await ann.post(f"/getaction/{experiment['id']}", {"key": experiment["key"], "context": {"bad": bad}})
    rows = (await ann.get(f"/stats/{experiment['id']}/errorlog")).body
    assert [row["code"] for row in rows] == ["policy_crashed"]


@pytest.mark.gen_test
async def test_missing_rewards_and_their_delays_are_told(ann: Caller, clock: Clock) -> None:
    experiment = await ann.experiment(
        "delayed", get_action=HONEST, advice_id=True, delta_hours=2, default_reward={}
    )
    decided = await decide(ann, experiment, 100)
    clock.ahead_ms += 1_800_000
    rewards = [{"advice_id": one["advice_id"], "reward": 1} for one in decided[:60]]
    await ann.post(f"/setreward/{experiment['id']}", {"key": experiment["key"], "rewards": rewards})
    assert (await checks(ann, experiment))["rewards"]["ok"]  # none is due yet
    clock.ahead_ms += 6_000_000
    check = (await checks(ann, experiment))["rewards"]
    assert not check["ok"]
    assert (check["statistic"], check["detail"]["missing"], check["detail"]["due"]) == (0.4, 40, 100)
    assert check["detail"]["delay_ms"]["p50"] == pytest.approx(1_800_000, abs=10_000)


@pytest.mark.gen_test
async def test_an_arm_that_is_never_picked_is_named(ann: Caller) -> None:
    code = "self.action['arm'] = 'a'\nself.action_probabilities = {'a': 1.0, 'b': 0.0}"
    experiment = await ann.experiment("stuck", get_action=code)
    await decide(ann, experiment, 50)
    check = (await checks(ann, experiment))["arms"]
    assert not check["ok"]
    assert check["detail"]["never_picked"] == ["b"]


@pytest.mark.gen_test
async def test_an_experiment_without_decisions_has_no_complaints(ann: Caller) -> None:
    experiment = await ann.experiment("new", get_action=HONEST)
    assert all(check["ok"] for check in (await checks(ann, experiment)).values())


@pytest.mark.gen_test
async def test_log_propensity_estimates_what_the_code_does_not_tell(ann: Caller) -> None:
    experiment = await ann.experiment("silent", get_action=SILENT, log_propensity=True)
    await decide(ann, experiment, 60)
    rows = (await ann.get(f"/stats/{experiment['id']}/actionlog")).body
    assert len(rows) == 60
    for row in rows:
        assert 2 <= row["propensity_runs"] <= 200
        truth = 0.75 if row["action"]["arm"] == "a" else 0.25
        assert abs(row["propensity"] - truth) < 5 * 0.5 / row["propensity_runs"] ** 0.5
    taken = [row["propensity"] for row in rows if row["action"]["arm"] == "a"]
    assert np.mean(taken) == pytest.approx(0.75, abs=0.03)
    # What the other runs logged is not there, and each decision is one call.
    assert len((await ann.get(f"/stats/{experiment['id']}/log")).body) == 60
    found = await checks(ann, experiment)
    assert found["propensities"]["ok"]


@pytest.mark.gen_test
async def test_log_propensity_takes_what_the_code_tells(ann: Caller) -> None:
    telling = await ann.experiment("telling", get_action=HONEST, log_propensity=True)
    await decide(ann, telling, 20)
    for row in (await ann.get(f"/stats/{telling['id']}/actionlog")).body:
        assert row["propensity"] == {"a": 0.75, "b": 0.25}[row["action"]["arm"]]
        assert "propensity_runs" not in row
    plain = await ann.experiment("plain", get_action=SILENT)
    await decide(ann, plain, 5)
    for row in (await ann.get(f"/stats/{plain['id']}/actionlog")).body:
        assert "propensity" not in row


@pytest.mark.gen_test
async def test_estimating_a_propensity_leaves_no_trace_in_theta(ann: Caller) -> None:
    code = (
        SILENT + "\nt = self.get_theta()\nself.set_theta({'n': t.get('n', 0) + 1})\nself.context['seen'] = 1"
    )
    experiment = await ann.experiment("counting", get_action=code, log_propensity=True)
    await decide(ann, experiment, 7)
    assert (await ann.get(f"/stats/{experiment['id']}/currenttheta")).body == {"n": 7}
    rows = (await ann.get(f"/stats/{experiment['id']}/actionlog")).body
    assert all(row["context"] == {"seen": 1} and "propensity" in row for row in rows)


@pytest.mark.gen_test
async def test_a_dose_has_no_propensity_however_often_it_is_drawn_again(ann: Caller) -> None:
    experiment = await ann.experiment(
        get_action="self.action['dose'] = random.uniform(2, 3)", log_propensity=True
    )
    for _ in range(30):
        await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"])
    rows = (await ann.get(f"/stats/{experiment['id']}/actionlog", limit=30)).body
    assert all(row.get("propensity") is None for row in rows)
    health = (await ann.get(f"/stats/{experiment['id']}/health", unit="user")).body
    assert {"dose"} <= {check["name"] for check in health["checks"]}


@pytest.mark.gen_test
async def test_health_counts_units_once_where_they_are_named(ann: Caller) -> None:
    code = (
        "self.action['arm'] = 'ab'[self.context['user'] % 2]\n"
        "self.action_probabilities = {'a': 0.5, 'b': 0.5}"
    )
    experiment = await ann.experiment(get_action=code)
    for number in range(40):
        context = json.dumps({"user": number % 20})
        await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"], context=context)
    health = (await ann.get(f"/stats/{experiment['id']}/health", unit="user")).body
    ratio = next(check for check in health["checks"] if check["name"] == "sample_ratio")
    assert (ratio["detail"]["unit"], ratio["detail"]["decisions"]) == ("user", 20)
