"""Off-policy evaluation over HTTP: the estimators' own numbers, from logs served here and from uploads."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.offpolicy import evaluate
from streamsim.evaluation.sample import prepare
from streamsim.evaluation.testbed import contextual_logistic, softmax, uniform
from tests.application import Caller

WORLD = contextual_logistic(3)
BETTER = softmax(WORLD, 0.2)
CHOICES = {context["segment"]: row.tolist() for context, row in zip(WORLD.contexts, BETTER, strict=True)}
TELLING = f"""
p = {CHOICES!r}[self.context['segment']]
self.action['arm'] = random.choices('0123', p)[0]
self.action_probabilities = dict(zip('0123', p))
"""
SILENT = TELLING.replace("self.action_probabilities =", "unused =") + "self.set_theta({'n': 1})\n"


def logged(n: int, seed: int = 1) -> tuple[np.ndarray, DecisionLog]:
    return WORLD.log(uniform(WORLD), n, seed)


def lines(data: DecisionLog) -> str:
    rows = zip(data.contexts, data.actions, data.rewards, data.propensities, strict=True)
    return "".join(
        json.dumps({"context": c, "action": a, "reward": r, "propensity": p}) + "\n" for c, a, r, p in rows
    )


def table(data: DecisionLog) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("context", "action", "reward", "propensity"))
    for c, a, r, p in zip(data.contexts, data.actions, data.rewards, data.propensities, strict=True):
        # An arm called 3 is the text "3" in JSON lines; in a cell it is a number, with the same label.
        writer.writerow((json.dumps(c), a, r, p))
    return text.getvalue()


@pytest.mark.gen_test
async def test_a_candidate_that_tells_its_probabilities_gets_the_estimators_own_numbers(ann: Caller) -> None:
    places, data = logged(1500)
    experiment = await ann.experiment("logging", get_action=TELLING)
    answer = await ann.post(
        f"/eval/{experiment['id']}/offpolicy",
        {"candidate": {"code": {"get_action": TELLING}}, "log": lines(data), "seed": 7},
    )
    assert answer.status == 200, answer.body
    arms = list("0123")
    expected = evaluate(prepare(data, arms, BETTER[places], seed=7), seed=7)
    assert [one["estimator"] for one in answer.body["estimates"]] == [e.estimator for e in expected.estimates]
    for one, other in zip(answer.body["estimates"], expected.estimates, strict=True):
        assert one["value"] == pytest.approx(other.value, rel=1e-9)
        assert other.bootstrap is not None
        assert one["bootstrap"]["low"] == pytest.approx(other.bootstrap.low, rel=1e-9)
        assert one["warnings"] == list(other.warnings)
    ips = next(one for one in answer.body["estimates"] if one["estimator"] == "ips")
    assert ips["asymptotic"]["low"] < WORLD.value(BETTER) < ips["asymptotic"]["high"]
    assert answer.body["candidate"]["exact_rows"] == 1500
    assert answer.body["candidate"]["runs"] is None
    assert answer.body["overlap"]["could_take"] == 1
    assert answer.body["log"]["rows"] == 1500


@pytest.mark.gen_test
async def test_a_candidate_that_tells_nothing_is_run_repeatedly_and_its_theta_stays(ann: Caller) -> None:
    _, data = logged(400)
    experiment = await ann.experiment("silent", get_action=SILENT)
    await ann.get(f"/setreward/{experiment['id']}", key=experiment["key"], reward=1)
    before = (await ann.get(f"/stats/{experiment['id']}/currenttheta")).body
    path = f"/eval/{experiment['id']}/offpolicy"
    body = {
        "candidate": {"experiment": experiment["id"]},
        "log": lines(data),
        "runs": 300,
        "seed": 3,
        "estimators": ["dr", "snips"],
    }
    answer = await ann.post(path, body)
    assert answer.status == 200, answer.body
    shown = answer.body["candidate"]
    assert (shown["exact_rows"], shown["runs"]) == (0, 300)
    # The error of a share of 300 runs is at most 0.5 / sqrt(299).
    assert 0 < shown["probability_error"] <= 0.5 / 299**0.5
    exact = await ann.post(path, body | {"candidate": {"code": {"get_action": TELLING}}})
    for one, other in zip(answer.body["estimates"], exact.body["estimates"], strict=True):
        assert abs(one["value"] - other["value"]) < 4 * 2 * shown["probability_error"] / 400**0.5
    for arm in "0123":
        share = shown["mean_probabilities"][arm]
        assert abs(share - exact.body["candidate"]["mean_probabilities"][arm]) < 4 * 0.5 / (300 * 400) ** 0.5
    assert (await ann.post(path, body)).body == answer.body
    assert (await ann.get(f"/stats/{experiment['id']}/currenttheta")).body == before


@pytest.mark.gen_test
async def test_csv_and_json_lines_in_body_and_field_are_one_log(ann: Caller) -> None:
    _, data = logged(200)
    id = (await ann.experiment("telling", get_action=TELLING))["id"]
    path = f"/eval/{id}/offpolicy"
    first = await ann.post(path, {"candidate": {"experiment": id}, "log": lines(data), "estimators": ["ips"]})
    others = [
        await ann.post(path, {"candidate": {"experiment": id}, "log": table(data), "format": "csv",
                              "estimators": ["ips"]}),
        await ann.request("POST", f"{path}?candidate={id}&estimators=ips", body=table(data).encode(),
                          headers={"Content-Type": "text/csv"}),
        await ann.request("POST", f"{path}?candidate={id}&estimators=ips", body=lines(data).encode(),
                          headers={"Content-Type": "application/x-ndjson"}),
    ]  # fmt: skip
    assert first.status == 200
    for other in others:
        assert other.body == first.body


@pytest.mark.gen_test
async def test_an_experiments_own_log_is_evaluated_with_its_logged_propensities(ann: Caller) -> None:
    experiment = await ann.experiment(
        "served",
        get_action="self.action['arm'] = random.choice('ab'); self.action['propensity'] = 0.5",
        advice_id=True,
        delta_hours=1,
        default_reward={},
    )
    key, rewards = experiment["key"], {"a": 3, "b": 1}
    taken = []
    for _ in range(60):
        decided = (await ann.get(f"/getaction/{experiment['id']}", key=key)).body
        taken.append(decided["action"]["arm"])
        await ann.get(
            f"/setreward/{experiment['id']}",
            key=key,
            advice_id=decided["advice_id"],
            reward=rewards[taken[-1]],
        )
    await ann.get(f"/getaction/{experiment['id']}", key=key)
    code = {"get_action": "self.action['arm'] = 'a'; self.action_probabilities = {'a': 1.0}"}
    body = {"candidate": {"code": code}, "estimators": ["replay", "ips", "snips"]}
    answer = (await ann.post(f"/eval/{experiment['id']}/offpolicy", body)).body
    values = {one["estimator"]: one["value"] for one in answer["estimates"]}
    share = taken.count("a") / 60
    assert values == pytest.approx({"replay": 3, "ips": 3 * share / 0.5, "snips": 3})
    assert answer["overlap"]["could_take"] == pytest.approx(share)
    assert (answer["log"]["rows"], answer["log"]["unrewarded"]) == (60, 1)
    few = (await ann.post(f"/eval/{experiment['id']}/offpolicy", body | {"rows": 10})).body
    assert few["log"]["rows"] == 10
    assert any("equivalent of" in warning for warning in few["estimates"][0]["warnings"])


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"candidate": None}, "candidate"),
        ({"candidate": {"experiment": 5}}, "candidate"),
        ({"candidate": {"code": {"get_context": ""}}}, "candidate"),
        ({"candidate": {"code": {"get_action": "("}}}, "get_action"),
        ({"estimators": ["magic"]}, "estimators"),
        ({"estimators": []}, "estimators"),
        ({"log": 5}, "log"),
        ({"log": "{}\n"}, "action"),
        ({"log": "", "format": "xml"}, "format"),
        ({"log": "", "format": {}}, "format"),
        ({"log": ""}, "log"),
        ({"runs": 1}, "runs"),
        ({"theta": "old"}, "theta"),
        ({"colour": 1}, "colour"),
        ({}, "log"),
    ],
)
async def test_bad_fields_are_named(ann: Caller, fields: dict[str, Any], field: str) -> None:
    id = (await ann.experiment("telling", get_action=TELLING))["id"]
    answer = await ann.post(f"/eval/{id}/offpolicy", {"candidate": {"experiment": id}, **fields})
    assert (answer.status, answer.body["error"]["field"]) == (400, field)


@pytest.mark.gen_test
async def test_a_candidate_that_fails_on_a_context_names_the_decision(ann: Caller) -> None:
    _, data = logged(20)
    id = (await ann.experiment("telling", get_action=TELLING))["id"]
    code = {
        "get_action": "self.action['arm'] = '0'\n1 / (self.context['x'][0] != {!r})".format(
            data.contexts[0]["x"][0]
        )
    }
    answer = await ann.post(f"/eval/{id}/offpolicy", {"candidate": {"code": code}, "log": lines(data)})
    assert answer.status == 422
    assert answer.body["error"]["message"].startswith("logged decision 1: ")
    assert answer.body["error"]["detail"]["type"] == "ZeroDivisionError"


@pytest.mark.gen_test
async def test_nobody_evaluates_on_the_log_or_with_the_policy_of_another(ann: Caller, bob: Caller) -> None:
    anns = (await ann.experiment("telling", get_action=TELLING))["id"]
    bobs = (await bob.experiment("telling", get_action=TELLING))["id"]
    assert (await bob.post(f"/eval/{anns}/offpolicy", {"candidate": {"experiment": bobs}})).status == 401
    assert (await bob.post(f"/eval/{bobs}/offpolicy", {"candidate": {"experiment": anns}})).status == 401
