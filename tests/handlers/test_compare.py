"""Comparisons: common random numbers, intervals, shares, paired differences, in every format."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.application import Caller
from tests.support import request_headers

WORLD = """
CHANCES = {'a': 0.7, 'b': 0.5, 'c': 0.2}
self.expected_rewards = CHANCES
self.reward['value'] = int(random.random() < CHANCES[self.action['arm']])
"""
UNIFORM = {"get_action": "self.action['arm'] = random.choice('abc')", "get_reward": WORLD}
ALWAYS_A = {"get_action": "self.action['arm'] = 'a'", "get_reward": "raise RuntimeError('not asked')"}
GREEDY = {
    "get_context": "self.context['weather'] = random.random()",
    "get_action": "arms = base.List(self.get_theta(key='arm'), base.Mean, list('abc'))\n"
    "self.action['arm'] = arms.max() if random.random() > 0.1 else random.choice('abc')",
    "get_reward": WORLD,
    "set_reward": "m = base.Mean(self.get_theta(key='arm', value=self.action['arm']))\n"
    "m.update(self.reward['value'])\nself.set_theta(m, key='arm', value=self.action['arm'])",
}


async def three(ann: Caller) -> dict[str, str]:
    policies = {"uniform": UNIFORM, "always a": ALWAYS_A, "greedy": GREEDY}
    return {name: (await ann.experiment(name, **code))["id"] for name, code in policies.items()}


def request(ids: dict[str, str], **fields: Any) -> dict[str, Any]:
    return {
        "experiments": list(ids.values()),
        "N": 500,
        "replications": 12,
        "seed": 4,
        "points": 40,
    } | fields


@pytest.mark.gen_test
async def test_policies_are_compared_in_one_environment(ann: Caller) -> None:
    ids = await three(ann)
    answer = await ann.post("/eval/compare", request(ids))
    assert answer.status == 200, answer.body
    body = answer.body
    points = body["points"]
    assert (len(points), points[0], points[-1]) == (40, 1, 500)
    assert list(body["policies"]) == ["uniform", "always a", "greedy"]
    for policy in body["policies"].values():
        for bands in (policy["reward"], policy["regret"]):
            assert {len(bands[name]) for name in ("mean", "low", "high")} == {40}
        for place in range(40):
            assert sum(share[place] for share in policy["arms"].values()) == pytest.approx(1)
    always, uniform = body["policies"]["always a"], body["policies"]["uniform"]
    # The best arm has no regret at all; a uniform choice 0.7 - 1.4/3 a draw, exactly in expectation.
    assert always["regret"]["mean"] == [0] * 40
    assert always["arms"] == {"a": [1.0] * 40}
    assert abs(always["reward"]["mean"][-1] - 350) < 4 * (500 * 0.21 / 12) ** 0.5
    assert uniform["regret"]["low"][-1] < 500 * (0.7 - 1.4 / 3) < uniform["regret"]["high"][-1]
    pairs = [(one["first"], one["second"]) for one in body["differences"]]
    assert pairs == [("uniform", "always a"), ("uniform", "greedy"), ("always a", "greedy")]
    first = body["differences"][0]["reward"]
    gap = uniform["reward"]["mean"][-1] - always["reward"]["mean"][-1]
    assert first["mean"][-1] == pytest.approx(gap)
    assert first["high"][-1] < 0
    alone = request({"only": ids["uniform"]}, N=250, replications=1, points=None)
    assert len((await ann.post("/eval/compare", alone)).body["points"]) == 200


@pytest.mark.gen_test
async def test_the_same_code_twice_differs_by_nothing(ann: Caller) -> None:
    ids = {name: (await ann.experiment(name, **GREEDY))["id"] for name in ("one", "two")}
    body = (await ann.post("/eval/compare", request(ids, points=5))).body
    reward = body["differences"][0]["reward"]
    assert reward["mean"] == reward["low"] == reward["high"] == [0] * 5
    assert body["policies"]["one"] == body["policies"]["two"]


@pytest.mark.gen_test
async def test_contexts_and_rewards_are_the_same_for_every_policy(ann: Caller) -> None:
    world = {"get_context": "self.context['x'] = random.random()", "get_reward": "self.reward['value'] = "
             "self.context['x'] + np.random.rand() + (self.action['arm'] == 'b')"}  # fmt: skip
    plain = await ann.experiment("plain", get_action="self.action['arm'] = 'a'", **world)
    # Uses many numbers of its own in between.
    thirsty = await ann.experiment(
        "thirsty",
        get_action="np.random.rand(7); random.random(); self.action['arm'] = 'b'",
        set_reward="np.random.rand(3)",
        **world,
    )
    body = (
        await ann.post(
            "/eval/compare",
            {"experiments": [thirsty["id"], plain["id"]], "environment": plain["id"], "N": 50,
             "replications": 3, "seed": 1, "points": 50},
        )
    ).body  # fmt: skip
    difference = body["differences"][0]["reward"]
    for place, draws in enumerate(body["points"]):
        for end in ("low", "mean", "high"):
            assert difference[end][place] == pytest.approx(draws)


@pytest.mark.gen_test
async def test_a_comparison_repeats_from_its_seed_and_touches_no_theta(ann: Caller) -> None:
    ids = await three(ann)
    few = request(ids, points=10, N=200, replications=6)
    answers = [(await ann.post("/eval/compare", few | {"seed": s})).body for s in (1, 1, 2)]
    assert answers[0] == answers[1]
    assert answers[0]["policies"] != answers[2]["policies"]
    for id in ids.values():
        assert (await ann.get(f"/stats/{id}/currenttheta")).body == {}


@pytest.mark.gen_test
async def test_formats_hold_the_same_numbers(ann: Caller) -> None:
    ids = await three(ann)
    small = request(ids, N=60, replications=3, points=7)
    body = (await ann.post("/eval/compare", small)).body
    text = await ann.request("POST", "/eval/compare", body=small, headers={"Accept": "text/csv"})
    assert text.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(text.body)))
    found = [
        (float(row["mean"]), float(row["low"]), float(row["high"]))
        for row in rows
        if (row["policy"], row["figure"]) == ("greedy", "cumulative reward")
    ]
    bands = body["policies"]["greedy"]["reward"]
    assert found == list(zip(bands["mean"], bands["low"], bands["high"], strict=True))
    shares = [float(r["mean"]) for r in rows if (r["policy"], r["figure"]) == ("uniform", "share of b")]
    assert shares == body["policies"]["uniform"]["arms"]["b"]
    pairs = [row["figure"] for row in rows if row["policy"] == "uniform minus greedy"]
    # With three policies there are several pairs: each difference has a second interval, for all together.
    assert pairs.count("difference in cumulative reward") == 7
    assert pairs.count("difference in cumulative reward, all pairs together") == 7

    svg = await ann.request("POST", "/eval/compare", body=small, headers={"Accept": "image/svg+xml"})
    assert svg.headers["content-type"] == "image/svg+xml"
    assert ET.fromstring(svg.body).tag == "{http://www.w3.org/2000/svg}svg"
    png = await AsyncHTTPClient().fetch(
        f"{ann.url}/eval/compare?format=png",
        method="POST",
        body=json.dumps(small),
        headers=request_headers(ann.cookies, None),
    )
    assert png.headers["Content-Type"] == "image/png"
    assert png.body.startswith(b"\x89PNG")
    assert (await ann.request("POST", "/eval/compare?format=pdf", body=small)).body["error"][
        "field"
    ] == "format"


@pytest.mark.gen_test
async def test_without_declared_expectations_there_is_no_regret(ann: Caller) -> None:
    code = {"get_action": "self.action['arm'] = 'a'", "get_reward": "self.reward['value'] = 1"}
    id = (await ann.experiment("plain", **code))["id"]
    body = (await ann.post("/eval/compare", {"experiments": [id], "N": 10})).body
    assert body["policies"]["plain"]["regret"] is None
    assert body["policies"]["plain"]["reward"]["mean"] == list(range(1, 11))
    assert body["policies"]["plain"]["reward"]["low"] == [None] * 10
    assert body["differences"] == []


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"evaluation.compare_draws": 1000}], indirect=True)
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"experiments": []}, "experiments"),
        ({"experiments": "x"}, "experiments"),
        ({"experiments": ["a", "a"]}, "experiments"),
        ({"environment": 4}, "environment"),
        ({"N": 501}, "N"),
        ({"N": 50, "replications": 11}, "N"),
    ],
)
async def test_bad_fields_are_named(ann: Caller, fields: dict[str, Any], field: str) -> None:
    ids = [(await ann.experiment(name, **UNIFORM))["id"] for name in ("one", "two")]
    answer = await ann.post("/eval/compare", {"experiments": ids, "N": 10, **fields})
    assert (answer.status, answer.body["error"]["field"]) == (400, field)


@pytest.mark.gen_test
async def test_an_environment_that_lacks_an_arm_says_so(ann: Caller) -> None:
    world = (await ann.experiment("world", **UNIFORM))["id"]
    id = (await ann.experiment("other", get_action="self.action['arm'] = 'z'"))["id"]
    answer = await ann.post("/eval/compare", {"experiments": [id], "environment": world, "N": 5})
    assert answer.status == 422
    assert answer.body["error"]["detail"]["piece"] == "get_reward"
