"""The life cycle of an experiment, and units that keep their action, through the lane on every backend."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from streamsim import dates
from streamsim.decisions.decisions import Decisions
from streamsim.errors import BadRequest, Conflict, StreamsimError
from tests.decisions.conftest import Bench
from tests.decisions.helpers import COUNT, count

pytestmark = pytest.mark.every_backend

DRAW = """
p = {'a': 0.5, 'b': 0.5}
self.action['arm'] = random.choice('ab')
self.action_probabilities = p
"""
ARMS: dict[str, Any] = {"arm_field": "arm", "arms": ["a", "b"]}


def edited(bench: Bench, **properties: Any) -> None:
    """Change an experiment as another process would: those that run are not told."""
    store = bench.store.decisions
    found = bench.run(store.get_experiment("e1"))
    kept = {name: value for name, value in (found.properties | properties).items() if value is not None}
    assert bench.run(store.update_experiment(msgspec.structs.replace(found, properties=kept))) is not None


async def many(bench: Bench, processes: list[Decisions], n: int, **context: Any) -> list[Any]:
    """So many concurrent decisions: answers and errors."""
    calls = [processes[i % len(processes)].get_action("e1", "k", {"user": i} | context) for i in range(n)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    for one in found:
        assert isinstance(one, bytes | StreamsimError), one
    return [json.loads(one) if isinstance(one, bytes) else one for one in found]


@pytest.mark.parametrize("state", ["draft", "paused", "stopped"])
def test_an_experiment_that_does_not_run_serves_its_fallback_or_says_so(bench: Bench, state: str) -> None:
    bench.experiment(DRAW, COUNT, state=state, advice_id=True, delta_hours=1, **ARMS)
    with pytest.raises(Conflict, match="has no fallback"):
        bench.decide()
    edited(bench, fallback={"arm": "b", "price": 3})
    found = bench.decide()
    assert found["action"] == {"arm": "b", "price": 3}
    (row,) = bench.log("action")
    assert row | {"advice_id": ""} == {
        "context": {},
        "action": {"arm": "b", "price": 3},
        "propensity": 1.0,
        "probabilities": {"b": 1.0},
        "decided_by": "fallback",
        "revision": 2,
        "advice_id": "",
    }
    # Its reward is taken and learnt from.
    bench.reward(1, advice_id=found["advice_id"])
    assert count(bench) == 1
    edited(bench, state="running")
    bench.decide()
    assert "decided_by" not in bench.log("action")[-1]


def test_an_archived_experiment_takes_neither_decisions_nor_rewards(bench: Bench) -> None:
    bench.experiment(DRAW, COUNT, state="archived", fallback="a", **ARMS)
    with pytest.raises(Conflict, match="the experiment is archived"):
        bench.decide()
    with pytest.raises(Conflict, match="takes no rewards"):
        bench.reward()
    assert count(bench) == 0


def test_dates_act_by_themselves_in_every_process(bench: Bench) -> None:
    starts, ends = bench.now_ms + 1_000, bench.now_ms + 2_000
    bench.experiment(DRAW, "", starts=dates.iso(starts), ends=dates.iso(ends), fallback="a", **ARMS)
    other = bench.more()

    def by() -> set[str | None]:
        n = len(bench.log("action"))
        bench.run(many(bench, [bench.decisions, other], 4))
        return {row.get("decided_by") for row in bench.log("action")[n:]}

    assert by() == {"fallback"}
    bench.now_ms = starts
    assert by() == {None}
    bench.now_ms = ends - 1
    assert by() == {None}
    bench.now_ms = ends
    assert by() == {"fallback"}


@pytest.mark.parametrize("fallback", ["a", None])
def test_the_largest_number_of_decisions_is_kept_exactly_by_two_processes(
    bench: Bench, fallback: str | None
) -> None:
    given = {"fallback": fallback} if fallback else {}
    bench.experiment(DRAW, "", max_decisions=50, **ARMS, **given)
    found = bench.run(many(bench, [bench.decisions, bench.more()], 80))
    by = Counter(row.get("decided_by") for row in bench.log("action"))
    assert by[None] == 50
    refused = [one for one in found if isinstance(one, StreamsimError)]
    if fallback:
        assert (by["fallback"], refused) == (30, [])
    else:
        assert len(refused) == 30
        assert {type(one) for one in refused} == {Conflict}
        assert "50 decisions" in refused[0].message


def test_arms_are_drawn_evenly_until_the_burn_in_is_over(bench: Bench) -> None:
    bench.experiment("self.action['arm'] = 'a'", "", traffic={"burn_in": 40}, **ARMS)
    for _ in range(6):
        bench.run(many(bench, [bench.decisions], 15))
    rows = bench.log("action")
    drawn = [row for row in rows if row.get("probabilities") == {"a": 0.5, "b": 0.5}]
    assert len(drawn) == 40
    assert rows[:40] == drawn
    assert {row["action"]["arm"] for row in drawn} == {"a", "b"}
    assert {row["propensity"] for row in drawn} == {0.5}
    assert {row["action"]["arm"] for row in rows[40:]} == {"a"}


def test_a_unit_keeps_its_action_in_all_processes_and_after_a_restart_until_its_time_is_up(
    bench: Bench,
) -> None:
    code = "self.action['n'] = random.random()\nself.action_probabilities = None"
    bench.experiment(code, "", sticky={"hours": 2}, unit="user", salt="pepper")
    processes = [bench.decisions, bench.more()]
    # The same five users from everywhere at once, more than once in a batch.
    calls = [bench.run(many(bench, processes, 40, user=user)) for user in range(5)]
    first = [{one["action"]["n"] for one in found} for found in calls]
    assert [len(actions) for actions in first] == [1] * 5
    assert len(set.union(*first)) == 5
    by = Counter(row.get("decided_by") for row in bench.log("action"))
    assert by == {None: 5, "sticky": 195}

    restarted = [bench.more()]
    bench.now_ms += 2 * dates.HOUR_MS - 1
    assert {one["action"]["n"] for one in bench.run(many(bench, restarted, 3, user=2))} == first[2]
    bench.now_ms += 1
    (again,) = {one["action"]["n"] for one in bench.run(many(bench, [*processes, *restarted], 9, user=2))}
    assert {again} != first[2]


def test_a_unit_that_keeps_its_action_keeps_the_probability_of_its_draw(bench: Bench) -> None:
    traffic = {"floor": 0.1, "burn_in": 2}
    bench.experiment(
        "self.action['arm'] = 'a'\nself.propensity = 1.0",
        "",
        sticky=True,
        unit="user",
        salt="s",
        traffic=traffic,
        **ARMS,
    )
    for _ in range(2):
        for user in range(8):
            bench.decide({"user": user})
    rows = bench.log("action")
    for one, kept in zip(rows[:8], rows[8:], strict=True):
        assert kept == one | {"decided_by": "sticky"}
    assert [row["probabilities"] for row in rows[:8]] == [{"a": 0.5, "b": 0.5}] * 2 + [
        {"a": pytest.approx(0.9), "b": 0.1}
    ] * 6


@pytest.mark.parametrize("context", [{}, {"user": None}, [1], "text"])
def test_a_context_without_the_unit_is_refused_by_name(bench: Bench, context: Any) -> None:
    bench.experiment(DRAW, "", unit="user", control="a", salt="s", traffic={"holdout": 0.5}, **ARMS)
    with pytest.raises(BadRequest) as caught:
        bench.run(bench.decisions.get_action("e1", "k", context))
    assert caught.value.field == "context.user"


def test_a_batch_of_decisions_with_and_without_code_keeps_answers_and_logs_apart(bench: Bench) -> None:
    code = """
if self.context['user'] % 5 == 0: raise ValueError(self.context['user'])
self.action['arm'] = 'b'
self.action['user'] = self.context['user']
self.log_data({'user': self.context['user']})
"""
    bench.experiment(code, "", unit="user", control="a", salt="s", traffic={"holdout": 0.5}, **ARMS)
    found = bench.run(many(bench, [bench.decisions], 60))
    held = [user for user, one in enumerate(found) if isinstance(one, dict) and one["action"]["arm"] == "a"]
    assert 15 < len(held) < 45
    ran = [user for user in range(60) if user not in held]
    for user in ran:
        if user % 5:
            assert found[user]["action"] == {"arm": "b", "user": user}
        else:
            assert f"ValueError: {user}" in found[user].message
    assert sorted(row["user"] for row in bench.log("manual")) == [user for user in ran if user % 5]
    rows = bench.log("action")
    assert sorted(row["context"]["user"] for row in rows if row.get("decided_by") == "holdout") == held
    # Theta that code writes and what needs no code alternate.
    bench.experiment(
        f"{COUNT}self.action['arm'] = 'b'",
        "",
        id="e2",
        unit="user",
        control="a",
        salt="s",
        traffic={"holdout": 0.5},
        **ARMS,
    )
    for user in range(30):
        bench.decide({"user": user}, id="e2")
    assert count(bench, "e2") == sum("decided_by" not in row for row in bench.log("action", "e2")) > 5


def test_code_sees_its_arms_and_nothing_of_what_is_around_it(bench: Bench) -> None:
    bench.experiment(
        "self.action = {'arm': 'a', 'seen': sorted(self.properties)}",
        "",
        unit="user",
        control="a",
        salt="s",
        state="running",
        traffic={"floor": 0.01, "burn_in": 0},
        **ARMS,
    )
    seen = bench.decide()["action"].get("seen", ["arm_field", "arms", "key", "name"])
    assert seen == ["arm_field", "arms", "key", "name"]


def test_estimated_probabilities_of_all_arms_make_the_floor_exact_given_them(bench: Bench) -> None:
    code = "self.action['arm'] = random.choices(['a', 'b', 'c'], [0.6, 0.3, 0.1])[0]"
    bench.experiment(
        code, "", log_propensity=True, arm_field="arm", arms=["a", "b", "c"], traffic={"floor": 0.1}
    )
    for _ in range(20):
        arm = bench.decide()["action"]["arm"]
        row = bench.log("action")[-1]
        assert row["propensity"] == row["probabilities"][arm] >= 0.1
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["propensity_runs"] > 1
