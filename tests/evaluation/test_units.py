"""Decisions of one unit depend on each other: intervals by unit hold, and units without a name are said."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.coverage import estimates, misspecified
from streamsim import values
from streamsim.errors import BadRequest
from streamsim.evaluation import units
from streamsim.evaluation.estimation import Estimation
from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.wire import EstimatesLoad
from tests.effort import LONG

UNITS, EACH = 60, 33
LOGS = 300 if LONG else 40
MEANS = {"a": 0.3, "b": 0.6}


def log(seed: int, *, sticky: bool = True) -> bytes:
    """Participants who keep the arm that a fair coin gave them, and who differ."""
    rng = np.random.default_rng(seed)
    lines = []
    for user in range(UNITS):
        arm, own = "ab"[rng.integers(2)], rng.normal() * 0.5
        for _ in range(EACH):
            arm = arm if sticky else "ab"[rng.integers(2)]
            reward = MEANS[arm] + own + rng.normal() * 0.1
            row = {"context": {"user": f"u{user}", "hour": int(rng.integers(24))}, "action": arm}
            lines.append(values.dump({**row, "reward": reward, "propensity": 0.5}))
    return b"\n".join(lines)


def answer(seed: int, unit: str | None, *, sticky: bool = True) -> list[dict[str, Any]]:
    estimation = Estimation(EstimatesLoad("jsonl", None, None, 10_000, ["snips", "ips", "dr"], 0, unit=unit))
    estimation.add_text(log(seed, sticky=sticky))
    n = estimation.read()
    estimation.add_probabilities([{"a": 0.0, "b": 1.0}] * n, n)
    found: list[dict[str, Any]] = estimation.answer(2)["estimates"]
    return found


@cache
def repeated(unit: str | None) -> list[list[dict[str, Any]]]:
    return [answer(seed, unit) for seed in range(LOGS)]


def covered(unit: str | None, place: int, kind: str) -> int:
    ends = [one[place][kind] for one in repeated(unit)]
    return sum(one["low"] <= MEANS["b"] <= one["high"] for one in ends)


@pytest.mark.parametrize("kind", ["interval", "bootstrap"])
def test_intervals_by_unit_hold(kind: str) -> None:
    for place in range(2):
        assert covered("user", place, kind) >= stats.binom.ppf(0.001, LOGS, 0.92)
    assert "independent" not in str([one["warnings"] for one in repeated("user")[0]])


def test_without_the_unit_they_do_not_and_the_field_is_told() -> None:
    assert covered(None, 0, "interval") < 0.6 * LOGS
    for one in repeated(None):
        assert "the same context.user all have the same arm" in one[0]["warnings"][0]


def test_of_units_whose_arm_is_drawn_anew_is_said_how_much_wider_an_interval_for_others_is() -> None:
    (estimate, *_), (by_unit, *_) = answer(1, None, sticky=False), answer(1, "user", sticky=False)
    (warning,) = estimate["warnings"]
    assert "independent" not in warning
    assert "Rewards of the same context.user are alike" in warning
    said = float(re.findall(r"by up to (\S+) times", warning)[0])
    narrow, wide = (one["interval"]["high"] - one["interval"]["low"] for one in (estimate, by_unit))
    assert said / 2 < wide / narrow < said


def own_rewards(seed: int, spread: float, each: int) -> DecisionLog:
    """Units whose rewards differ by so much, and a page that does not matter; the arm is drawn each time."""
    rng = np.random.default_rng(seed)
    n = 200 * each
    rewards = rng.normal(size=200).repeat(each) * spread + rng.exponential(size=n)
    contexts = [{"id": place // each, "page": int(rng.integers(100))} for place in range(n)]
    return DecisionLog(contexts, ["ab"[rng.integers(2)] for _ in range(n)], rewards, np.full(n, 0.5))


def test_the_ratio_of_widths_is_that_of_the_theory() -> None:
    """1 + (n - 1) r, where r is the share of variance between units (Kish 1965)."""
    for seed in range(5):
        found = units.alike(own_rewards(seed, 1.0, 8))
        assert found is not None
        assert found[0] == "id"
        assert found[1] == pytest.approx(np.sqrt(1 + 7 * 0.5), rel=0.1)


def test_independent_decisions_are_never_told_to_be_alike() -> None:
    assert [units.alike(own_rewards(seed, 0.0, 1 + seed % 9)) for seed in range(200)] == [None] * 200


def test_a_context_without_the_unit_is_named() -> None:
    with pytest.raises(BadRequest, match="decision 1 has no field 'who'") as caught:
        answer(1, "who")
    assert caught.value.field == "unit"


def test_segments_of_a_deterministic_policy_are_no_units() -> None:
    n = 200
    segments = [f"s{place % 20}" for place in range(n)]
    data = DecisionLog(
        [{"segment": one} for one in segments], [one[-1] for one in segments], np.zeros(n), np.ones(n)
    )
    assert units.repeated(data) is None


def test_a_biased_estimate_has_an_interval_that_spans_the_doubly_robust_one() -> None:
    covered = 0
    for seed in range(40):
        found = {one.estimator: one for one in estimates(misspecified(seed), seed)}
        dm = found["dm"]
        assert dm.interval is not None
        assert dm.asymptotic is not None
        assert dm.method == "doubly robust"
        covered += dm.interval.low <= 2.0 <= dm.interval.high
    assert covered >= stats.binom.ppf(0.001, 40, 0.92)
