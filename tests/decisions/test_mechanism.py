"""What is around a policy: who reaches it, the least share of each arm, and the propensity that is logged."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec
import pytest
from scipy.stats import chi2

from streamsim.decisions import mechanism
from streamsim.decisions.calls import Decision
from streamsim.decisions.gathering import FIRST
from streamsim.decisions.mechanism import Mechanism
from streamsim.decisions.routing import Around
from streamsim.decisions.wire import Outcome
from streamsim.storage.contract.decisions import Experiment
from tests.decisions.conftest import Bench
from tests.effort import LONG

ARMS = ["a", "b", "c"]
FLOOR = 0.05
FIXED = {"a": 0.9, "b": 0.1, "c": 0.0}


EXPERIMENT = Experiment(
    id="e", key="k", tenant="ann", name="e", code={}, properties={}, created_ms=0, modified_ms=0
)


def around(**declared: Any) -> Mechanism:
    properties = {"arm_field": "arm", "salt": "pepper", "unit": "user", **declared}
    found = mechanism.of(msgspec.structs.replace(EXPERIMENT, properties=properties))
    assert found is not None
    return found


def outcomes(bench: Bench, one: Mechanism, users: list[int], policy: Any) -> list[tuple[Outcome, str | None]]:
    calls = [Decision({"user": user}) for user in users]
    routing = Around(EXPERIMENT, one, FIRST)
    routed = bench.run(routing.route(bench.store.decisions, calls, bench.now_ms))
    found: list[tuple[Outcome, str | None]] = []
    for call in routed.calls:
        served = routed.served.get(call)
        if served is None:
            found.append((one.mixed(policy()), None))
        else:
            told = Outcome(None, served.action, None, served.propensity, served.probabilities)
            found.append((told, served.by))
    return found


def thrown() -> Outcome:
    """A policy that draws from FIXED and says so."""
    arm = random.choices(ARMS, list(FIXED.values()))[0]
    return Outcome(None, {"arm": arm, "propensity": FIXED[arm]}, None, FIXED[arm], FIXED)


def test_shares_are_as_logged_and_no_propensity_is_below_the_floor(bench: Bench) -> None:
    random.seed(17)
    traffic = {"floor": FLOOR, "ramp": 0.8, "holdout": 0.1}
    one = around(arms=ARMS, control="c", fallback={"arm": "b"}, traffic=traffic)
    n = 1_000_000 if LONG else 50_000
    expected, seen, by = Counter[str](), Counter[str](), Counter[str | None]()
    for start in range(0, n, 1_000):
        for outcome, why in outcomes(bench, one, list(range(start, start + 1_000)), thrown):
            assert outcome.propensity is not None
            assert outcome.probabilities is not None
            arm = outcome.action["arm"]
            assert outcome.propensity == outcome.probabilities[arm] >= FLOOR
            by[why] += 1
            if why is None:
                assert sum(outcome.probabilities.values()) == pytest.approx(1, abs=1e-12)
                assert outcome.action.get("propensity", outcome.propensity) == outcome.propensity
                seen[arm] += 1
                expected.update(outcome.probabilities)
            else:
                assert (why, arm) in {("ramp", "b"), ("holdout", "c")}
    statistic = sum((seen[arm] - expected[arm]) ** 2 / expected[arm] for arm in ARMS)
    assert chi2.sf(statistic, len(ARMS) - 1) > 1e-4
    # The mixture, by hand: 0.05 + (1 - 3 * 0.05) p.
    assert {arm: expected[arm] / by[None] for arm in ARMS} == pytest.approx(
        {"a": 0.815, "b": 0.135, "c": 0.05}
    )
    shares = {"ramp": 0.2, "holdout": 0.8 * 0.1, None: 0.8 * 0.9}
    places = sum((by[why] - share * n) ** 2 / (share * n) for why, share in shares.items())
    assert chi2.sf(places, len(shares) - 1) > 1e-4


def test_units_of_the_holdout_never_leave_it_and_a_wider_ramp_keeps_those_that_are_in(
    bench: Bench,
) -> None:
    users = list(range(2_000))

    def places(**traffic: float) -> dict[int, str | None]:
        one = around(arms=ARMS, control="a", fallback="b", traffic=traffic)
        found = outcomes(bench, one, users, thrown)
        return dict(zip(users, (why for _, why in found), strict=True))

    first = places(holdout=0.1, ramp=0.5)
    assert first == places(holdout=0.1, ramp=0.5, floor=0.2)
    wider = places(holdout=0.2, ramp=0.9)
    for user, why in first.items():
        if why == "holdout":
            assert wider[user] == "holdout"
        elif why is None:
            assert wider[user] in (None, "holdout")
    other = around(arms=ARMS, control="a", fallback="b", salt="salt", traffic={"holdout": 0.1, "ramp": 0.5})
    assert [why for _, why in outcomes(bench, other, users, thrown)] != list(first.values())


def silent() -> Outcome:
    return Outcome(None, {"arm": random.choice(ARMS)})


def test_where_a_policy_does_not_tell_all_probabilities_none_is_logged() -> None:
    random.seed(3)
    one = around(arms=ARMS, traffic={"floor": FLOOR})
    for given in (
        Outcome(None, {"arm": "a", "propensity": 0.5}, None, 0.5),
        Outcome(None, {"arm": "a"}, None, 0.5, {"a": 0.5, "b": 0.2}),
        Outcome(None, {"arm": "a"}, None, None, {"b": 0.5, "c": 0.5}),
        Outcome(None, {"other": "a", "more": 1}, None, 0.5),
        Outcome(None, "text", None, 0.5),
        silent(),
    ):
        for _ in range(50):
            mixed = one.mixed(given)
            assert (mixed.propensity, mixed.probabilities) == (None, None)
            assert "propensity" not in mixed.action


def test_of_two_arms_one_propensity_tells_the_other() -> None:
    random.seed(3)
    one = around(arms=["a", "b"], traffic={"floor": 0.1})
    seen = Counter[str]()
    for _ in range(20_000):
        mixed = one.mixed(Outcome(None, {"arm": "a", "price": 3}, None, 0.75))
        assert mixed.probabilities == pytest.approx({"a": 0.1 + 0.8 * 0.75, "b": 0.1 + 0.8 * 0.25})
        seen[mixed.action["arm"]] += 1
        # The policy's own action stays whole; the other arm's is the declared one.
        assert mixed.action == ({"arm": "a", "price": 3} if mixed.action["arm"] == "a" else {"arm": "b"})
    assert seen["b"] / 20_000 == pytest.approx(0.1, abs=0.01)


def test_the_control_is_served_in_place_of_an_arm_that_is_off() -> None:
    random.seed(4)
    one = around(arms=ARMS, control="c", off=["a"], traffic={"floor": 0.1})
    seen = Counter[str]()
    for _ in range(20_000):
        mixed = one.mixed(thrown())
        # Of a 0.9, b 0.1, c 0: c 0.9, b 0.1; then 0.1 + 0.8 p for the two that are left.
        assert mixed.probabilities is not None
        assert mixed.probabilities == pytest.approx({"b": 0.18, "c": 0.82})
        assert mixed.propensity == mixed.probabilities[mixed.action["arm"]]
        seen[mixed.action["arm"]] += 1
    assert seen["c"] / 20_000 == pytest.approx(0.82, abs=0.01)
    assert set(seen) == {"b", "c"}
    alone = around(arms=["a", "b"], control="b", off=["a"])
    mixed = alone.mixed(Outcome(None, {"arm": "a", "propensity": 0.75, "price": 3}, None, 0.75))
    assert (mixed.action, mixed.propensity) == ({"arm": "b"}, 1.0)
