"""Inference over HTTP: which arm is better, by how much, and what is said where that cannot be told."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from streamsim.dates import HOUR_MS
from tests.application import Caller, Clock
from tests.support import ROOT

FAIR = """
p = {'a': 0.5, 'b': 0.5}
random.seed(self.context['n'])
self.action['arm'] = random.choices('ab', p.values())[0]
self.action_probabilities = p
"""
SILENT = "self.action['arm'] = 'ab'[self.context['n'] % 2]"
N = 400


async def play(
    ann: Caller, name: str, code: str = FAIR, means: tuple[float, float] = (0.2, 0.8), **fields: Any
) -> dict[str, Any]:
    """An experiment with 400 decisions; of ten rewards of an arm, as many are 1 as its mean says."""
    experiment = await ann.experiment(name, get_action=code, advice_id=True, delta_hours=48, **fields)
    key, seen = experiment["key"], {"a": 0, "b": 0}
    for start in range(0, N, 100):
        contexts = [{"n": n, "site": "xy"[n % 2]} for n in range(start, start + 100)]
        answer = await ann.post(f"/getaction/{experiment['id']}", {"key": key, "contexts": contexts})
        rewards = []
        for one in answer.body["results"]:
            arm = one["action"]["arm"]
            mean = means["ab".index(arm)]
            rewards.append({"advice_id": one["advice_id"], "reward": int(seen[arm] % 10 < 10 * mean)})
            seen[arm] += 1
        # The last reward comes first: what counts is the order of decisions.
        body = {"key": key, "rewards": rewards[::-1]}
        answer = await ann.post(f"/setreward/{experiment['id']}", body)
        assert answer.status == 200
        assert not any("error" in one for one in answer.body["results"]), answer.body
    return experiment


async def ask(ann: Caller, experiment: dict[str, Any], query: str = "") -> dict[str, Any]:
    answer = await ann.get(f"/stats/{experiment['id']}/inference?{query}")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.body
    return found


@pytest.mark.gen_test
async def test_the_better_arm_is_named_with_an_interval_around_what_it_gains(ann: Caller) -> None:
    experiment = await play(ann, "better")
    for query, method in (("rewards=bernoulli", "betting"), ("", "asymptotic")):
        found = await ask(ann, experiment, query)
        assert (found["method"], found["control"], found["fixed_time"][:4]) == (method, "a", "none")
        assert found["rows"]["decisions"] == N
        (part,) = found["segments"]
        assert [one["arm"] for one in part["arms"]] == ["a", "b"]
        for one, mean in zip(part["arms"], (0.2, 0.8), strict=True):
            assert one["low"] < mean < one["high"], one
        (difference,) = part["differences"]
        assert 0 < difference["low"] < 0.6 < difference["high"] < 1.2
        assert part["sentence"].startswith("Play b rather than a")
        assert "at every look" in part["sentence"]
        assert (part["bayes"] is None) == (method == "asymptotic")
    bayes = (await ask(ann, experiment, "rewards=bernoulli"))["segments"][0]["bayes"]
    assert (bayes["champion"], bayes["enough"], bayes["remaining"]) == ("b", True, 0)


@pytest.mark.gen_test
async def test_nothing_is_told_where_probabilities_were_not_logged(ann: Caller) -> None:
    found = await ask(ann, await play(ann, "silent", SILENT))
    assert found["segments"] == []
    assert "No rewarded decision has the probabilities" in found["warnings"][0]


@pytest.mark.gen_test
async def test_an_arm_that_had_no_chance_has_a_reason_in_place_of_a_number(ann: Caller) -> None:
    chances = "1.0 if self.context['n'] < 9 else 0.5, 'b': 0.5 * (self.context['n'] > 8)"
    code = FAIR.replace("0.5, 'b': 0.5", chances)
    (part,) = (await ask(ann, await play(ann, "closed", code)))["segments"]
    b = part["arms"][1]
    assert (b["estimate"], b["low"], b["high"]) == (None, None, None)
    assert "had the probability 0 in 9 of 400 decisions" in b["reason"]
    assert part["differences"][0]["estimate"] is None
    assert "No difference to a can be told" in part["sentence"]


@pytest.mark.gen_test
async def test_segments_share_what_may_be_wrong_and_come_in_order_of_their_first_decision(
    ann: Caller,
) -> None:
    experiment = await play(ann, "sites")
    found = await ask(ann, experiment, "by=site&segments=4&low=0&high=1")
    assert [(part["value"], part["decisions"]) for part in found["segments"]] == [("x", 200), ("y", 200)]
    assert found["each_alpha"] == {"arm": 0.0125, "difference": 0.0125}
    (whole,) = (await ask(ann, experiment, "low=0&high=1"))["segments"]
    reach = [one["arms"][0]["high"] - one["arms"][0]["low"] for one in (found["segments"][0], whole)]
    assert reach[0] > reach[1]
    found = await ask(ann, experiment, "by=site&segments=1")
    assert (len(found["segments"]), found["other_segments"]) == (1, 1)


@pytest.mark.gen_test
async def test_intervals_for_one_look_come_at_the_end_that_was_named_and_not_before(
    ann: Caller, clock: Clock
) -> None:
    experiment = await play(ann, "ended")
    rows = (await ann.get(f"/stats/{experiment['id']}/actionlog?limit=1")).body
    end = f"{int(rows[0]['date'][:4]) + 1}-01-01"
    found = await ask(ann, experiment, f"until={end}")
    assert found["fixed_time"] == "none: until has not come yet"
    clock.ahead_ms += 370 * 24 * HOUR_MS
    await ann.log_in("ann")
    found = await ask(ann, experiment, f"until={end}&low=0&high=1")
    assert found["fixed_time"].startswith("given")
    (difference,) = found["segments"][0]["differences"]
    for name in ("constant", "two_point", "uniform"):
        one = difference[name]
        assert difference["low"] < one["low"] < one["estimate"] < one["high"] < difference["high"]
    assert (await ask(ann, experiment, "until=2001-01-01"))["rows"]["decisions"] == 0


@pytest.mark.gen_test
async def test_the_table_has_a_line_for_each_mean_and_difference(ann: Caller) -> None:
    experiment = await play(ann, "table")
    answer = await ann.get(f"/stats/{experiment['id']}/inference?format=csv&rewards=bernoulli&control=b")
    assert answer.status == 200
    lines = list(csv.DictReader(io.StringIO(answer.body)))
    assert [(one["figure"], one["arm"], one["control"]) for one in lines] == [
        ("mean", "a", ""),
        ("mean", "b", ""),
        ("difference", "a", "b"),
    ]
    assert float(lines[2]["high"]) < 0
    assert float(lines[1]["best"]) > 0.99


WRONG = [
    ("alpha=0", "alpha"),
    ("alpha=x", "alpha"),
    ("control=c", "control"),
    ("by=nothing", "by"),
    ("segments=0", "segments"),
    ("low=0", "low"),
    ("low=1&high=0", "low"),
    ("low=0.5&high=1", "low"),
    ("rewards=poisson", "rewards"),
    ("rewards=bernoulli&high=2", "low"),
    ("until=soon", "until"),
    ("horizon=0", "horizon"),
    ("format=xml", "format"),
]


@pytest.mark.gen_test
async def test_a_picture_names_the_arms_and_what_is_compared(ann: Caller) -> None:
    experiment = await play(ann, "pictured", arm_field="arm")
    there = f"/stats/{experiment['id']}/inference"
    drawn = await ann.get(there, format="svg", by="site", rewards="bernoulli")
    assert drawn.headers["content-type"] == "image/svg+xml"
    # Texts are comments beside their outlines.
    for text in (
        "Mean reward of each arm",
        "Difference to a",
        "decisions, site y",
        "with 0.95 at every look",
    ):
        assert text in drawn.body
    picture = await ann.request("GET", there, headers={"Accept": "image/png"})
    assert picture.headers["content-type"] == "image/png"
    silent = await ann.experiment("silent", get_action=SILENT)
    empty = await ann.get(f"/stats/{silent['id']}/inference", format="svg")
    assert "There are no decisions with a reward yet." in empty.body


@pytest.mark.gen_test
async def test_a_parameter_that_is_no_good_is_named(ann: Caller) -> None:
    experiment = await play(ann, "wrong")
    for query, field in WRONG:
        answer = await ann.get(f"/stats/{experiment['id']}/inference?{query}")
        assert (answer.status, answer.body["error"]["field"]) == (400, field), query


@pytest.mark.gen_test
async def test_an_experiment_without_decisions_says_so(ann: Caller) -> None:
    found = await ask(ann, await ann.experiment("new", get_action=FAIR))
    assert found["warnings"] == ["There are no decisions with a reward yet."]
    assert (found["segments"], found["control"]) == ([], None)


@pytest.mark.gen_test
async def test_a_thompson_sampler_of_the_catalogue_tells_all_that_is_needed(ann: Caller) -> None:
    folder = ROOT / "policies" / "bernoulli-thompson"
    code = {piece: (folder / f"{piece}.py").read_text() for piece in ("get_action", "set_reward")}
    experiment = await ann.experiment("sampler", **code, log_propensity=True, advice_id=True, delta_hours=48)
    for _ in range(6):
        call = {"key": experiment["key"], "contexts": [{}] * 50}
        decided = (await ann.post(f"/getaction/{experiment['id']}", call)).body["results"]
        rewards = [
            {"advice_id": one["advice_id"], "reward": {"value": int(n % 10 < 3)}}
            for n, one in enumerate(decided)
        ]
        body = {"key": experiment["key"], "rewards": rewards}
        answer = await ann.post(f"/setreward/{experiment['id']}", body)
        assert not any("error" in one for one in answer.body["results"]), answer.body
    # The sampler draws as it likes: one of ten thousand runs may miss.
    found = await ask(ann, experiment, "rewards=bernoulli&alpha=0.0001")
    assert (found["rows"]["decisions"], found["rows"]["without_probabilities"]) == (300, 0)
    told = [one for one in found["segments"][0]["arms"] if one["reason"] is None]
    assert told
    assert all(one["low"] < 0.3 < one["high"] for one in told)
