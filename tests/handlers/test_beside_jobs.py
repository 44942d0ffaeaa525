"""What someone waits for is answered while long jobs run, and a time-out advises what can be changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.application import Caller

ARMS = 'self.action["arm"] = random.choice("ab")'
REWARD = 'self.reward["value"] = 1.0'
LOG = 'action,reward,propensity\n"a",1,0.5\n"b",0,0.5\n' + '"a",1,0.5\n' * 8
SLOW = "for _ in range(20000): pass\n" + ARMS


@pytest.mark.gen_test
async def test_requests_are_answered_while_jobs_take_all_processes_of_jobs(ann: Caller) -> None:
    experiment = await ann.experiment("long", get_action=ARMS, get_reward=REWARD)
    path = f"/eval/{experiment['id']}"
    jobs = [
        (await ann.post(f"{path}/simulations", {"N": 4_000_000, "replications": 4, "seed": 1})).body
        for _ in range(2)
    ]
    estimates = await ann.post(
        f"{path}/offpolicy", {"candidate": {"code": {"get_action": ARMS}}, "log": LOG, "format": "csv"}
    )
    assert estimates.status == 200, estimates.body
    assert estimates.body["log"]["rows"] == 10
    compared = await ann.post("/eval/compare", {"experiments": [experiment["id"]], "N": 10})
    assert compared.status == 200, compared.body
    simulated = await ann.get(f"{path}/simulate", N=10)
    assert simulated.status == 200
    # Not because the jobs were over.
    for job in jobs:
        shown = (await ann.get(f"{path}/simulations/{job['id']}")).body
        assert shown["state"] in ("running", "waiting"), shown
        assert (await ann.request("DELETE", f"{path}/simulations/{job['id']}")).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"evaluation.request_s": 1.0}], indirect=True)
@pytest.mark.parametrize("own", [False, True])
async def test_an_evaluation_that_takes_too_long_is_told_which_of_its_fields_to_lower(
    ann: Caller, own: bool
) -> None:
    experiment = await ann.experiment("slow", get_action=SLOW)
    for _ in range(10 if own else 0):
        await ann.get(
            f"/setreward/{experiment['id']}", key=experiment["key"], action='{"arm": "a"}', reward=1
        )
    body: dict[str, Any] = {"candidate": {"code": {"get_action": SLOW}}, "runs": 100_000}
    if not own:
        body |= {"log": LOG, "format": "csv"}
    answer = await ann.post(f"/eval/{experiment['id']}/offpolicy", body)
    assert answer.status == 400
    error = answer.body["error"]
    assert error["field"] == ("rows" if own else "log")
    assert "fewer runs of the candidate (runs)" in error["message"]
    assert "(N)" not in error["message"]
