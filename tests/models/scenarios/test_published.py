"""The session that the introduction to BptkServer publishes, call by call, to the last digit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.application import Caller
from tests.models.conftest import MANAGER, session, setting

PUBLISHED = json.loads((Path(__file__).parent / "published.json").read_text())


def interactive(time: str, customers: float, word_of_mouth_success: float) -> dict[str, object]:
    values = {"customers": {time: customers}, "word_of_mouth_success": {time: word_of_mouth_success}}
    return {MANAGER: {"interactive_scenario": values}}


@pytest.mark.gen_test
async def test_scenarios_and_equations_of_the_customer_model(customers: Caller) -> None:
    names = ["base", "low_word_of_mouth", "high_word_of_mouth", "interactive_scenario"]
    assert (await customers.get("/scenarios")).body == {MANAGER: names}
    body = {"scenarioManager": MANAGER, "scenario": "interactive_scenario"}
    answer = (await customers.post("/equations", body)).body
    assert list(answer) == ["constants", "converters", "flows", "points", "stocks"]
    assert {kind: sorted(equations) for kind, equations in answer.items()} == {
        "constants": [
            "advertising_budget",
            "advertising_success",
            "consumers_reached_per_euro",
            "contact_rate",
            "initial_customers",
            "target_market",
            "word_of_mouth_success",
        ],
        "converters": [
            "acquisition_through_advertising",
            "acquisition_through_word_of_mouth",
            "consumers_reached_through_advertising",
            "consumers_reached_through_word_of_mouth",
            "market_saturation",
        ],
        "flows": ["customer_acquisition"],
        "points": [],
        "stocks": ["customers", "potential_customers"],
    }


@pytest.mark.gen_test
async def test_a_run_gives_the_published_market_saturation_at_all_60_times(customers: Caller) -> None:
    body = {
        "scenario_managers": [MANAGER],
        "scenarios": ["base", "low_word_of_mouth", "high_word_of_mouth", "interactive_scenario"],
        "equations": ["customers", "customer_acquisition", "market_saturation"],
        **setting(0.5),
    }
    answer = await customers.post("/run", body)
    assert answer.status == 200
    result = answer.body[MANAGER]
    assert list(result) == body["scenarios"]
    assert list(result["base"]["equations"]) == body["equations"]
    saturation = result["base"]["equations"]["market_saturation"]
    assert len(saturation) == 60
    assert saturation == PUBLISHED["market_saturation of base"]
    assert result["base"]["equations"]["customers"]["3.0"] == 2081.6666666666665


@pytest.mark.gen_test
async def test_the_published_steps_of_two_instances(customers: Caller) -> None:
    first = await session(customers)
    for _ in range(2):
        await customers.post(f"/{first}/run-step", None)
    answer = await customers.post(f"/{first}/run-step", None)
    assert answer.body == interactive("3.0", 2081.6666666666665, 0.01)
    answer = await customers.post(f"/{first}/run-step", setting(0.7))
    assert answer.body == interactive("4.0", 3247.916662037037, 0.7)
    second = await session(customers)
    answer = await customers.post(f"/{second}/run-step", setting(0.1))
    assert answer.body == interactive("1.0", 0.0, 0.1)
    answer = await customers.post(f"/{first}/run-step", setting(0.07))
    assert answer.body == interactive("5.0", 25698.489043516267, 0.07)
