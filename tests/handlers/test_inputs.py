"""What catalogue policies refuse, as callers see it: the status, the field, and the form that it takes."""

from __future__ import annotations

from typing import Any

import pytest

from streamsim.experiments import catalogue
from tests.application import Caller

ENTRIES = {entry.slug: entry for entry in catalogue.entries()}
WITH_ARMS = [
    slug
    for slug, entry in ENTRIES.items()
    if "context.arms" in {field.path for field in entry.description.inputs} and not entry.description.needs
]


async def live(ann: Caller, slug: str) -> dict[str, Any]:
    return await ann.experiment(slug, **ENTRIES[slug].code)


def refused(answer: Any, field: str) -> None:
    assert answer.status == 422, answer.body
    assert answer.body["error"]["field"] == field
    assert field in answer.body["error"]["message"]


@pytest.mark.gen_test
@pytest.mark.parametrize("slug", WITH_ARMS)
async def test_arms_that_are_none_are_refused_by_the_field(ann: Caller, slug: str) -> None:
    experiment = await live(ann, slug)
    usual = {"features": [0.1, 0.2, 0.3, 0.4]} if slug in ("linucb", "lints") else {}
    path, key = f"/getaction/{experiment['id']}", experiment["key"]
    for given, field in (
        (None, "context.arms"),
        ([], "context.arms"),
        ("abc", "context.arms"),
        ([{}], "context.arms[0]"),
        (["a", None], "context.arms[1]"),
        (["x" * 513], "context.arms[0]"),
    ):
        refused(await ann.post(path, {"key": key, "context": {**usual, "arms": given}}), field)
    # Of a name that is given twice and numbers, each arm counts once; and nothing was lost.
    answer = await ann.post(path, {"key": key, "context": {**usual, "arms": ["a", "a", 1, 1.0]}})
    assert answer.status == 200
    assert set(answer.body["action"].values()) & {"a", "1"}


@pytest.mark.gen_test
@pytest.mark.parametrize("slug", ["linucb", "lints"])
async def test_features_that_are_none_are_refused_by_the_field(ann: Caller, slug: str) -> None:
    experiment = await live(ann, slug)
    path, key = f"/getaction/{experiment['id']}", experiment["key"]
    for context, field in (
        ({}, "context.features"),
        ({"features": "abc"}, "context.features"),
        ({"features": [1, "2"]}, "context.features[1]"),
        ({"features": [1, None]}, "context.features[1]"),
        ({"features": [1e16]}, "context.features[0]"),
    ):
        refused(await ann.post(path, {"key": key, "context": context}), field)


@pytest.mark.gen_test
@pytest.mark.parametrize("slug", WITH_ARMS)
async def test_a_reward_that_is_no_number_is_refused_by_the_field(ann: Caller, slug: str) -> None:
    experiment = await live(ann, slug)
    field = ENTRIES[slug].description.reward.field
    context = {"arms": ["a", "b"], "features": [0.1, 0.2, 0.3, 0.4]}
    decision = await ann.post(
        f"/getaction/{experiment['id']}", {"key": experiment["key"], "context": context}
    )
    call = {"key": experiment["key"], "context": context, "action": decision.body["action"]}
    path = f"/setreward/{experiment['id']}"
    for reward in ({field: "1"}, {field: None}, {}, {field: 1e300}):
        refused(await ann.post(path, call | {"reward": reward}), f"reward.{field}")
    assert (await ann.post(path, call | {"reward": {field: 1}})).status == 200
    assert (await ann.post(path, call | {"reward": 1})).status == 200
