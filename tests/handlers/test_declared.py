"""What an experiment may declare, over HTTP: checked by name, shown as given, and used by what reads logs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.application import Caller

DRAW = """
p = {'a': 0.5, 'b': 0.5}
self.action['arm'] = random.choice('ab')
self.action_probabilities = p
"""
GIVEN: dict[str, Any] = {
    "state": "running",
    "starts": "2026-01-31",
    "ends": "2031-01-31T09:30:00+02:00",
    "max_decisions": 1_000,
    "arm_field": "arm",
    "arms": ["a", {"arm": "b", "price": 3}],
    "control": "a",
    "fallback": {"arm": "c"},
    "unit": "user",
    "traffic": {"floor": 0.1, "burn_in": 5, "holdout": 0.2, "ramp": 0.9},
    "sticky": {"hours": 5},
    "salt": "pepper",
}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_what_is_declared_is_shown_and_null_takes_it_back(ann: Caller) -> None:
    made = await ann.experiment("declared", get_action=DRAW, **GIVEN)
    where = f"/exp/{made['id']}"
    found = (await ann.get(where)).body
    dates = {"starts": "2026-01-31T00:00:00.000Z", "ends": "2031-01-31T07:30:00.000Z"}
    assert {name: found[name] for name in GIVEN} == GIVEN | dates
    # What GET answered may be sent back.
    assert (await ann.put(where, found)).body["revision"] == found["revision"] + 1
    answer = await ann.put(where, dict.fromkeys(GIVEN))
    assert answer.status == 200, answer.body
    plain = (await ann.get(f"/exp/{(await ann.experiment('plain'))['id']}")).body
    assert (await ann.get(where)).body.keys() == plain.keys()


@pytest.mark.gen_test
async def test_units_get_a_salt_of_their_own_that_an_edit_keeps(ann: Caller) -> None:
    given = {"arm_field": "arm", "arms": ["a", "b"], "unit": "user", "sticky": True}
    ids = [(await ann.experiment(name, **given))["id"] for name in ("one", "two")]
    salts = [(await ann.get(f"/exp/{id}")).body["salt"] for id in ids]
    assert len(set(salts)) == 2
    await ann.put(f"/exp/{ids[0]}", {"traffic": {"floor": 0.1}})
    assert (await ann.get(f"/exp/{ids[0]}")).body["salt"] == salts[0]


ARMS: dict[str, Any] = {"arm_field": "arm", "arms": ["a", "b"]}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("state", {"state": "sleeping"}),
        ("starts", {"starts": "tomorrow"}),
        ("ends", {"starts": "2026-02-01", "ends": "2026-01-31"}),
        ("max_decisions", {"max_decisions": 0}),
        ("arms", {"arm_field": "arm", "arms": []}),
        ("arms", {"arm_field": "arm", "arms": ["1", 1.0]}),
        ("arms[1]", {"arm_field": "arm", "arms": ["1", [2]]}),
        ("arms[1]", {"arm_field": "arm", "arms": ["1", {"other": 2}]}),
        ("arm_field", {"arms": ["a", "b"]}),
        ("control", ARMS | {"control": "c"}),
        ("fallback", ARMS | {"fallback": "c"}),
        ("unit", {"unit": 3}),
        ("unit", ARMS | {"control": "a", "traffic": {"holdout": 0.1}}),
        ("unit", ARMS | {"sticky": True}),
        ("control", ARMS | {"unit": "user", "traffic": {"holdout": 0.1}}),
        ("fallback", ARMS | {"unit": "user", "traffic": {"ramp": 0.5}}),
        ("arms", {"traffic": {"floor": 0.1}}),
        ("arms", {"traffic": {"burn_in": 1}}),
        ("traffic.floor", ARMS | {"traffic": {"floor": 0.51}}),
        ("traffic.floor", ARMS | {"traffic": {"floor": -0.1}}),
        ("traffic.floor", ARMS | {"traffic": {"floor": "much"}}),
        ("traffic.ramp", ARMS | {"traffic": {"ramp": 1.5}}),
        ("traffic.burn_in", ARMS | {"traffic": {"burn_in": -1}}),
        ("traffic", ARMS | {"traffic": {"flor": 0.1}}),
        ("traffic", ARMS | {"traffic": 3}),
        ("sticky.hours", ARMS | {"unit": "user", "sticky": {"hours": 0}}),
        ("salt", {"salt": ""}),
        ("reward_mode", {"advice_id": True, "reward_mode": "median"}),
        ("advice_id", {"reward_mode": "sum"}),
        ("reward_window_hours", {"advice_id": True, "reward_window_hours": -1}),
        ("rewards.low", {"rewards": {"low": 0}}),
        ("rewards.low", {"rewards": {"low": 1, "high": 1}}),
        ("rewards.low", {"rewards": {"low": 0.5, "high": 1, "family": "bernoulli"}}),
        ("rewards.family", {"rewards": {"family": "poisson"}}),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(ann: Caller, field: str, given: dict[str, Any]) -> None:
    answer = await ann.post("/exp", {"name": "wrong", **given})
    assert answer.status == 400, answer.body
    assert answer.body["error"]["field"] == field, answer.body
    assert field in answer.body["error"]["message"]


@pytest.mark.gen_test
async def test_a_paused_experiment_answers_409_by_get_and_by_post_and_goes_on_when_it_runs(
    ann: Caller,
) -> None:
    made = await ann.experiment("paused", get_action=DRAW, state="paused")
    where = f"/getaction/{made['id']}"
    for answer in (await ann.get(where, key=made["key"]), await ann.post(where, {"key": made["key"]})):
        assert answer.status == 409
        assert answer.body["error"]["message"] == "the experiment is paused, and has no fallback"
    answer = await ann.post(where, {"key": made["key"], "contexts": [{}, {}]})
    assert [one["error"]["code"] for one in answer.body["results"]] == ["conflict"] * 2
    await ann.put(f"/exp/{made['id']}", {"state": "running"})
    assert (await ann.get(where, key=made["key"])).status == 200


async def played(ann: Caller, name: str, repeats: int = 1, **declared: Any) -> dict[str, Any]:
    """An experiment with 600 users, of whom arm b earns 1 and arm a nothing."""
    given = ARMS | {"unit": "user", "salt": "s"} | declared
    made = await ann.experiment(name, get_action=DRAW, advice_id=True, delta_hours=48, **given)
    contexts = [{"user": user} for _ in range(repeats) for user in range(600)]
    answer = await ann.post(f"/getaction/{made['id']}", {"key": made["key"], "contexts": contexts[:900]})
    rewards = [
        {"advice_id": one["advice_id"], "reward": int(one["action"]["arm"] == "b")}
        for one in answer.body["results"]
    ]
    answer = await ann.post(f"/setreward/{made['id']}", {"key": made["key"], "rewards": rewards})
    assert not any("error" in one for one in answer.body["results"])
    return made


@pytest.mark.gen_test
async def test_estimates_leave_out_decisions_that_could_not_have_been_others(ann: Caller) -> None:
    traffic = {"holdout": 0.3, "ramp": 0.7}
    made = await played(ann, "held", control="a", fallback="a", traffic=traffic)
    logged = (await ann.get(f"/stats/{made['id']}/actionlog")).body
    aside = sum("decided_by" in row for row in logged)
    assert 150 < aside < 450
    found = (await ann.get(f"/stats/{made['id']}/inference?low=0&high=1")).body
    assert found["rows"]["decisions"] == 600 - aside
    assert found["warnings"][0].startswith(f"{aside} decisions that a fallback, the ramp or the holdout took")
    (difference,) = found["segments"][0]["differences"]
    assert 0.8 < difference["low"] <= difference["high"] <= 1.2
    # As if all had played b: 1 each. With the holdout's rows it would be under 0.8.
    candidate = {"code": {"get_action": "self.action['arm'] = 'b'\nself.propensity = 1.0"}}
    body = {"candidate": candidate, "estimators": ["ips"]}
    answer = await ann.post(f"/eval/{made['id']}/offpolicy", body)
    assert answer.status == 200, answer.body
    assert answer.body["log"]["rows"] == 600 - aside
    assert answer.body["estimates"][0]["value"] == pytest.approx(1, abs=0.2)
    checks = (await ann.get(f"/stats/{made['id']}/health")).body["checks"]
    ratio = next(one for one in checks if one["name"] == "sample_ratio")
    assert ratio["ok"], ratio


@pytest.mark.gen_test
async def test_inference_counts_the_draw_of_a_unit_once(ann: Caller) -> None:
    made = await played(ann, "sticky", repeats=2, sticky=True)
    found = (await ann.get(f"/stats/{made['id']}/inference?low=0&high=1")).body
    assert found["rows"]["decisions"] == 600
    assert found["warnings"][0].startswith("300 decisions in which a unit kept its action")


@pytest.mark.gen_test
async def test_inference_takes_what_is_declared_where_the_query_says_nothing(ann: Caller) -> None:
    made = await played(ann, "declared", control="b", rewards={"family": "bernoulli"})
    where = f"/stats/{made['id']}/inference"
    found = (await ann.get(where)).body
    assert (found["method"], found["bounds"], found["control"]) == ("betting", [0, 1], "b")
    assert found["segments"][0]["bayes"]["champion"] == "b"
    assert found == (await ann.get(f"{where}?control=b&rewards=bernoulli")).body
    other = (await ann.get(f"{where}?control=a&low=0&high=2")).body
    assert (other["bounds"], other["control"], other["segments"][0]["bayes"]) == ([0, 2], "a", None)
    # An arm that is declared and was never drawn is named, without a number.
    await ann.put(f"/exp/{made['id']}", {"arms": ["a", "b", "c"], "control": None})
    found = (await ann.get(where)).body
    assert found["control"] == "a"
    assert [one["arm"] for one in found["segments"][0]["arms"]] == ["a", "b", "c"]
    assert found["segments"][0]["arms"][2]["estimate"] is None
