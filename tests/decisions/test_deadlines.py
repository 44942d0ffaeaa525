"""A call has one deadline and a bounded number of attempts, and nothing keeps the service from closing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamsim.decisions import lane
from streamsim.decisions.calls import Decision, Reward
from streamsim.errors import PolicyCrashed, Unavailable
from tests.decisions.conftest import Bench

# Claims to have read a version that the row never had: every commit of it is refused.
LIES = """
import gc
theta = next(o for o in gc.get_objects() if type(o).__name__ == "ThetaCache")
theta.reads = {(self.exp_id, "_theta", "nobody", VALUE): 7}
"""
ONE_LIE = LIES.replace("VALUE", "'b'")
EVER_OTHER_LIES = LIES.replace("VALUE", "str(random.random())")
SLOW = "import time\nend = time.monotonic() + 0.2\nwhile time.monotonic() < end: pass"


def test_code_that_goes_on_claiming_what_it_was_told_is_not_so_is_given_up_at_once(bench: Bench) -> None:
    bench.experiment(get_action=ONE_LIE)
    with pytest.raises(PolicyCrashed, match="read what is not there"):
        bench.decide()
    assert bench.refused == 2
    assert bench.log("action") == []
    # Other experiments go on.
    bench.experiment(id="e2", get_action="self.action['a'] = 1")
    assert bench.decide(id="e2") == {"action": {"a": 1}}


def test_code_whose_reads_are_never_current_is_given_up_after_so_many_attempts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "ATTEMPTS", 20)
    bench.experiment(get_action=EVER_OTHER_LIES)
    with pytest.raises(Unavailable, match="faster than the call can be committed"):
        bench.decide()
    assert bench.refused == 20
    assert bench.log("action") == []


def test_a_call_among_others_is_the_only_one_that_a_lie_costs(bench: Bench) -> None:
    lie = ONE_LIE.strip().replace("\n", "\n    ")
    bench.experiment(get_action=f"self.action['a'] = 1\nif self.context['n'] == 3:\n    {lie}")

    async def many() -> list[Any]:
        calls = [bench.decisions.get_action("e1", "k", {"n": n}) for n in range(6)]
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = bench.run(many())
    assert [isinstance(outcome, PolicyCrashed) for outcome in outcomes] == [n == 3 for n in range(6)]
    assert sorted(row["context"]["n"] for row in bench.log("action")) == [0, 1, 2, 4, 5]


def test_a_call_that_waits_longer_than_its_time_is_refused_and_not_carried_out(bench: Bench) -> None:
    bench.experiment(get_action=SLOW)
    decisions = bench.more(batch=1, call_s=0.5)

    async def many() -> list[Any]:
        await decisions.find("e1")  # known from here on, so that calls arrive in order
        calls = [decisions.get_action("e1", "k", {"n": n}) for n in range(10)]
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = bench.run(many())
    refused = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
    assert outcomes.index(refused[0]) == len(outcomes) - len(refused) > 0  # the first ones were answered
    assert all("lane.call_s" in str(error) for error in refused)
    assert len(bench.log("action")) == len(outcomes) - len(refused)


def test_what_nobody_waits_for_is_not_decided_and_a_reward_counts_all_the_same(bench: Bench) -> None:
    bench.experiment(
        get_action=SLOW,
        set_reward="self.set_theta({'n': 1}, key='n')",
    )

    async def leave() -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.ensure_future(bench.decisions.get_action("e1", "k", {"n": 0}))
        await asyncio.sleep(0.05)  # it runs
        calls = [Decision({"n": 1}), Reward(1)]
        for call in calls:
            call.answer = answer = loop.create_future()
            bench.decisions._submit("e1", call)
            answer.cancel()
        await first
        await bench.decisions._lanes["e1"].idle()

    bench.run(leave())
    assert [row["context"] for row in bench.log("action")] == [{"n": 0}]
    assert len(bench.log("reward")) == 1


def test_closing_ends_calls_that_would_go_on_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "ATTEMPTS", 10**9)
    bench.experiment(get_action=EVER_OTHER_LIES)
    decisions = bench.more(call_s=3600)

    async def scenario() -> Any:
        call = asyncio.ensure_future(decisions.get_action("e1", "k", {}))
        while bench.refused < 5:  # noqa: ASYNC110 -- a count sets no event
            await asyncio.sleep(0)
        await decisions.close()
        return await asyncio.gather(call, return_exceptions=True)

    (outcome,) = bench.run(scenario())
    assert isinstance(outcome, Unavailable)
    assert "stopping" in str(outcome)
