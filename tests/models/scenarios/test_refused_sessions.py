"""A beginning that the model refuses leaves the session that there is, with its random numbers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.application import Caller
from tests.models.conftest import error, example, push, session

MARKET: dict[str, Any] = {
    "scenario_managers": ["agent_market"],
    "scenarios": ["base"],
    "equations": [],
    "agents": ["consumer"],
    "agent_states": ["unaware", "customer"],
    "seed": 5,
}


async def steps(client: Caller, instance: str, count: int) -> Any:
    answer = await client.post(f"/{instance}/run-steps", {"numberSteps": count, "settings": {}})
    assert answer.status == 200, answer
    return answer.body


@pytest.mark.gen_test
async def test_a_refused_beginning_leaves_the_session_as_it_was(customers: Caller) -> None:
    await push(customers, "market", example("agent_market.py"))
    undisturbed = await session(customers, **MARKET)
    expected = await steps(customers, undisturbed, 12)
    disturbed = await session(customers, **MARKET)
    found = await steps(customers, disturbed, 6)
    refused = MARKET | {"settings": {"agent_market": {"base": {"constants": {"nope": 1}}}}}
    other_model: dict[str, Any] = {
        "scenario_managers": ["sddsl_customer_acquisition"],
        "scenarios": ["base"],
        "equations": [],
    }
    other_model |= {"settings": {"sddsl_customer_acquisition": {"base": {"runspecs": {"dt": -1}}}}}
    for body, named in ((refused, "nope"), (other_model, "runspecs")):
        status, text = error(await customers.post(f"/{disturbed}/begin-session", body))
        assert (status, named in text) == (400, True), text
        found += await steps(customers, disturbed, 3)
    assert found == expected
