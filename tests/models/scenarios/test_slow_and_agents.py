"""Models that take long run within the default limits; states of agents need not be known before."""

from __future__ import annotations

import pytest

from bench.engines import REGIONS
from tests.application import Caller
from tests.models.conftest import example, push
from tests.models.engines.vensim import model
from tests.models.runs.conftest import start, value


@pytest.mark.gen_test
async def test_ten_variables_of_42_elements_run_within_the_default_limits(ann: Caller) -> None:
    pytest.importorskip("pysd")
    await push(ann, "m", {"m.mdl": model(REGIONS, stop="90", step="1")})
    body = {"scenario_managers": ["m"], "scenarios": ["base"]}
    answer = await ann.post("/run", {**body, "equations": ["people", "wealth", "income", "moves"]})
    assert answer.status == 200, answer
    series = answer.body["m"]["base"]["equations"]
    assert len(series) == 4 * 42
    assert {len(one) for one in series.values()} == {91}


MARKET = "agent_market"
REACHED_LATER = """
    def act(self, time: float, round_no: int, step_no: int) -> None:
        if time >= 3:
            self.state = "retired"
"""


@pytest.mark.gen_test
async def test_states_that_agents_reach_later_can_be_asked_for(ann: Caller) -> None:
    text = example("agent_market.py")["agent_market.py"]
    before, act, after = text.partition("    def act(")
    text = before + REACHED_LATER + "\n\nclass Market(Model):" + after.partition("class Market(Model):")[2]
    assert act
    await push(ann, "market", {"market.py": text})
    asked = {
        "scenario_managers": [MARKET],
        "scenarios": ["base"],
        "agents": ["consumer"],
        "agent_states": ["unaware", "retired", "never"],
    }
    answer = await ann.post("/run", {**asked, "seed": 1})
    assert answer.status == 200, answer
    counts = answer.body[MARKET]["base"]["agents"]["consumer"]
    assert set(counts["never"].values()) == {0}
    assert (counts["retired"]["1"], counts["retired"]["20"]) == (0, 100)
    instance = (await ann.post("/start-instance", None)).body["instance_uuid"]
    assert (await ann.post(f"/{instance}/begin-session", {**asked, "seed": 1})).status == 200
    for number in range(1, 6):
        row = (await ann.post(f"/{instance}/run-step", None)).body[MARKET]["base"]["agents"]["consumer"]
        assert row["retired"] == {str(number): counts["retired"][str(number)]}
    run = await start(ann, "market")
    agents = await value(ann, run, "agents")
    assert agents["consumer"]["unaware"] + agents["consumer"].get("aware", 0) == 100
