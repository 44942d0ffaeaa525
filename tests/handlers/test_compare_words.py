"""What a comparison says when it cannot be made, and what the catalogue's environments let it show."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from streamsim.experiments.catalogue import entries
from tests.application import Caller

ENVIRONMENT = {"get_action": "self.action['treatment'] = 'a'", "arm_field": "treatment"} | {
    "get_reward": "self.reward['value'] = {'a': 1}[self.action['treatment']]"
}
OTHER = {"get_action": "self.action['arm'] = 'a'", "arm_field": "arm"}


@pytest.mark.gen_test
async def test_a_failure_names_the_experiment_the_environment_and_the_fields_that_differ(ann: Caller) -> None:
    world = await ann.experiment("the world", **ENVIRONMENT)
    other = await ann.experiment("the other", **OTHER)
    body = {"experiments": [world["id"], other["id"]], "N": 5, "replications": 2}
    answer = await ann.post("/eval/compare", body)
    assert answer.status == 422
    error = answer.body["error"]
    assert error["message"].startswith("experiment the other in the environment of the world: ")
    assert "the field arm, the world in treatment" in error["message"]
    assert error["detail"]["experiment"] == "the other"
    assert error["detail"]["type"] == "KeyError"


@pytest.mark.gen_test
@pytest.mark.parametrize("form", ["svg", "png"])
async def test_a_server_without_matplotlib_says_which_formats_it_has(
    ann: Caller, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == "matplotlib" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    made = await ann.experiment("plain", **ENVIRONMENT)
    answer = await ann.post(f"/eval/compare?format={form}", {"experiments": [made["id"]], "N": 5})
    assert answer.status == 400
    assert answer.body["error"]["field"] == "format"
    assert "json or csv" in answer.body["error"]["message"]


@pytest.mark.gen_test
async def test_what_is_not_there_is_named(ann: Caller) -> None:
    assert "/no/such path" in (await ann.get("/no/such%20path")).body["error"]["message"].replace("%20", " ")
    assert "no job gone" in str((await ann.get("/jobs/gone")).body)


@pytest.mark.gen_test
async def test_the_regret_of_every_policy_with_named_arms_is_known(ann: Caller) -> None:
    some = [entry for entry in entries() if entry.description.arms and not entry.description.needs]
    assert len(some) >= 12
    for entry in some:
        made = await ann.experiment(entry.slug, **entry.code)
        body = {"experiments": [made["id"]], "N": 20, "action_field": entry.description.action.field}
        answer = await ann.post("/eval/compare", body)
        assert answer.status == 200, (entry.slug, answer.body)
        regret = answer.body["policies"][entry.slug]["regret"]["mean"]
        assert regret == sorted(regret), entry.slug
        assert regret[0] >= 0


@pytest.mark.gen_test
async def test_policies_of_the_catalogue_that_choose_among_arms_are_compared_as_they_are(ann: Caller) -> None:
    wanted = ("e-greedy", "ab-test", "e-first")
    codes = {entry.slug: entry.code for entry in entries() if entry.slug in wanted}
    uniform = {"get_action": "self.action['arm'] = random.choice(['control', 'treatment'])"}
    made = [await ann.experiment(name, **code) for name, code in {**codes, "uniform": uniform}.items()]
    body = {"experiments": [one["id"] for one in made], "N": 30, "replications": 2}
    answer = await ann.post("/eval/compare", body)
    assert answer.status == 200, answer.body
    assert all(one["regret"] is not None for one in answer.body["policies"].values())
    fields = {entry.slug: entry.description.action.field for entry in entries() if entry.description.arms}
    # A condition is a participant's, kept for all of its decisions.
    assert {slug for slug, field in fields.items() if field != "arm"} <= {"social-science-experiment"}
