"""Estimates on data with known truth: bias, coverage, overlap, and warnings where they are due."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from streamsim.errors import BadRequest, TooLarge
from streamsim.evaluation import sample as sample_module
from streamsim.evaluation import testbed
from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.offpolicy import Estimate, Evaluation, evaluate
from streamsim.evaluation.sample import Sample, overlap, prepare
from streamsim.evaluation.value_estimators import ESTIMATORS

WORLD = testbed.contextual_logistic(1, arms=3, contexts=4)
CANDIDATE = testbed.softmax(WORLD, 0.2)
LOGGING = {"softmax": testbed.softmax(WORLD, -1.0), "uniform": testbed.uniform(WORLD)}
TRUTH = WORLD.value(CANDIDATE)
# The other one is for adaptive logs, see test_adaptive.
NAMES = [name for name in ESTIMATORS if name != "aw-dr"]


def logged(logging: str, n: int, seed: int, **options: Any) -> Sample:
    """Decisions of a logging policy whose reward model has the right form: one mean for each segment."""
    context, data = WORLD.log(LOGGING[logging], n, seed)
    segments = [{"segment": row["segment"]} for row in data.contexts]
    return prepare(replace(data, contexts=segments), WORLD.arms, CANDIDATE[context], seed=seed, **options)


@cache
def repeated(logging: str) -> list[Evaluation]:
    """200 independent logs of 400 decisions; replay asks for uniform logging, the others must not need it."""
    names = ["replay"] if logging == "uniform" else [name for name in NAMES if name != "replay"]
    return [evaluate(logged(logging, 400, seed), names, resamples=300, seed=seed) for seed in range(200)]


def answers(name: str) -> list[Estimate]:
    evaluations = repeated("uniform" if name == "replay" else "softmax")
    return [next(e for e in evaluation.estimates if e.estimator == name) for evaluation in evaluations]


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_of_200_estimates_is_the_truth_within_its_interval(name: str) -> None:
    values = np.array([estimate.value for estimate in answers(name)], dtype=np.float64)
    interval = stats.ttest_1samp(values, TRUTH).confidence_interval(0.99)
    assert interval.low <= TRUTH <= interval.high


@pytest.mark.parametrize("kind", ["asymptotic", "bootstrap"])
@pytest.mark.parametrize("name", NAMES)
def test_95_percent_intervals_cover_the_truth_92_to_98_percent_of_the_time(name: str, kind: str) -> None:
    intervals = [getattr(estimate, kind) for estimate in answers(name)]
    covered = np.mean([interval.low <= TRUTH <= interval.high for interval in intervals])
    assert 0.92 <= covered <= 0.98


@pytest.mark.parametrize("name", NAMES)
def test_standard_errors_are_the_spread_of_the_estimates(name: str) -> None:
    estimates = answers(name)
    spread = np.std(np.array([estimate.value for estimate in estimates], float))
    assert np.mean([estimate.standard_error for estimate in estimates]) == pytest.approx(spread, rel=0.1)


def test_doubly_robust_estimates_are_right_with_a_useless_model() -> None:
    values = []
    for seed in range(200):
        s = logged("softmax", 400, seed)
        values.append(
            evaluate(replace(s, model=np.full(s.target.shape, 3.0)), ["dr", "sndr"], resamples=1).estimates
        )
    for place in range(2):
        interval = stats.ttest_1samp([each[place].value for each in values], TRUTH).confidence_interval(0.99)
        assert interval.low <= TRUTH <= interval.high


def test_estimates_repeat_from_their_seed() -> None:
    one, two = (evaluate(logged("softmax", 300, 1), seed=5) for _ in range(2))
    assert one == two
    other = evaluate(logged("softmax", 300, 1), seed=6)
    assert [e.asymptotic for e in one.estimates] == [e.asymptotic for e in other.estimates]
    assert [e.bootstrap for e in one.estimates] != [e.bootstrap for e in other.estimates]


def test_a_wider_level_gives_wider_intervals() -> None:
    s = logged("softmax", 300, 1)
    for narrow, wide in zip(evaluate(s, level=0.8).estimates, evaluate(s, level=0.99).estimates, strict=True):
        for kind in ("asymptotic", "bootstrap"):
            assert getattr(wide, kind).low < getattr(narrow, kind).low < getattr(narrow, kind).high
            assert getattr(narrow, kind).high < getattr(wide, kind).high


def test_an_easy_case_gives_no_reason_for_doubt() -> None:
    evaluation = evaluate(logged("uniform", 3000, 1))
    assert [estimate.warnings for estimate in evaluation.estimates] == [()] * len(NAMES)


def test_overlap_is_counted() -> None:
    action = np.array([0, 0, 1, 1])
    target = np.array([[1.0, 0, 0], [0, 1, 0], [0.5, 0, 0.5], [0, 0.25, 0.75]])
    s = Sample(action, np.zeros(4), np.array([0.5, 0.5, 0.5, 0.1]), target, arms=("x", "y", "z"), runs=9)
    seen = overlap(s)
    w = np.array([2.0, 0.0, 0.0, 2.5])
    assert seen.effective_sample_size == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert (seen.largest_weight, seen.mean_weight) == pytest.approx((2.5, 4.5 / 4))
    assert seen.largest_share == pytest.approx(2.5 / 4.5)
    assert seen.could_take == 0.5
    assert seen.never_logged == pytest.approx((0.5 + 0.75) / 4)
    assert seen.never_logged_arms == ("z",)
    assert seen.probability_error == pytest.approx((0.25 * 0.75 / 4 / 8) ** 0.5)


def warnings(s: Sample, name: str) -> str:
    return " ".join(evaluate(s, [name], resamples=50).estimates[0].warnings)


def build(n: int = 1000, **parts: Any) -> Sample:
    """A harmless sample of two arms, with some parts replaced."""
    rng = np.random.default_rng(1)
    action = rng.integers(2, size=n)
    given: dict[str, Any] = {
        "action": action,
        "reward": action + rng.normal(size=n),
        "propensity": np.full(n, 0.5),
        "target": np.full((n, 2), 0.5),
        "model": np.broadcast_to([0.0, 1.0], (n, 2)),
    }
    return Sample(**{**given, **parts})


@pytest.mark.parametrize("name", NAMES)
def test_a_harmless_sample_gives_no_warning(name: str) -> None:
    assert warnings(build(), name) == ""


def test_few_effective_decisions_and_a_dominant_one_are_said() -> None:
    propensity = np.full(1000, 0.5)
    propensity[3] = 0.001
    said = warnings(build(propensity=propensity), "ips")
    assert "the equivalent of 9 of the 1,000 decisions" in said
    assert "A single decision carries 33% of all weight" in said
    said = warnings(build(propensity=propensity), "dm")
    assert "logged the equivalent of 9 times in 1,000 decisions" in said


@pytest.mark.parametrize(
    ("name", "consequence"),
    [
        ("ips", "reward were 0"),
        ("snips", "about the others only"),
        ("dr", "only guesses"),
        ("dm", "only guesses"),
    ],
)
def test_choices_that_were_never_logged_are_said_with_their_consequence(name: str, consequence: str) -> None:
    target = np.broadcast_to([0.4, 0.4, 0.2], (1000, 3))
    s = build(target=target, model=np.zeros((1000, 3)), arms=("a", "b", "c"))
    said = warnings(s, name)
    assert "20% of the candidate's choices are arms that were never logged (c)" in said
    assert consequence in said


def test_wrong_propensities_are_said() -> None:
    for name in ("ips", "snips", "dr", "sndr", "switch-dr", "dros"):
        assert "mean of 2, not 1" in warnings(build(propensity=np.full(1000, 0.25)), name)


def test_replay_of_logs_that_are_not_uniform_is_said() -> None:
    s = logged("softmax", 600, 1)
    assert "uniformly at random, but propensities go from" in warnings(s, "replay")
    assert "not known here" in warnings(build(propensity=None), "replay")


def test_a_reward_model_that_misses_the_rewards_is_said() -> None:
    said = warnings(build(model=np.full((1000, 2), 3.0)), "dm")
    assert "The reward model is off" in said
    assert "by -2.5" in said


def test_bounded_weights_that_move_the_estimate_are_said() -> None:
    propensity = np.where(np.arange(1000) % 100 == 0, 0.01, 0.5)
    reward = np.random.default_rng(2).normal(size=1000)
    # With ten weights of 50, what these rows say of the bias is little against the variance they bring.
    reward[::100] = np.tile([1.2, -0.8], 5)
    s = build(propensity=propensity, reward=reward, model=np.zeros((1000, 2)))
    said = warnings(s, "switch-dr")
    assert "lower than the doubly robust one" in said


def test_a_candidate_outside_the_log_gets_no_self_normalised_value() -> None:
    s = build(action=np.zeros(1000, dtype=np.int64), target=np.broadcast_to([0.0, 1.0], (1000, 2)))
    for estimate in evaluate(s).estimates:
        assert (estimate.value, estimate.interval, estimate.bootstrap) == (None, None, None)
        assert "never takes a logged action" in estimate.warnings[0]


def test_a_resampling_without_any_match_leaves_the_bootstrap_out() -> None:
    target = np.broadcast_to([1.0, 0.0], (1000, 2))
    action = np.ones(1000, dtype=np.int64)
    action[:2] = 0
    estimate = evaluate(build(action=action, target=target), ["snips"]).estimates[0]
    assert estimate.value is not None
    assert estimate.interval is not None
    assert estimate.bootstrap is None
    assert "no bootstrap interval" in " ".join(estimate.warnings)


def test_estimators_say_what_they_lack() -> None:
    evaluation = evaluate(build(propensity=None, model=None))
    found = {estimate.estimator: estimate for estimate in evaluation.estimates}
    assert found["replay"].value is not None
    assert "no propensities" in found["ips"].warnings[0]
    assert "no reward model" in found["dm"].warnings[0]
    assert found["dr"].value is None
    assert evaluation.overlap.effective_sample_size is None


def test_a_single_decision_gives_a_value_and_no_interval() -> None:
    data = DecisionLog([{}], ["a"], np.array([2.0]), np.array([0.5]))
    evaluation = evaluate(prepare(data, ("a", "b"), np.array([[0.25, 0.75]])))
    found = {estimate.estimator: estimate for estimate in evaluation.estimates}
    assert (found["ips"].value, found["ips"].interval, found["ips"].asymptotic) == (1.0, None, None)
    assert "One decision alone" in " ".join(found["ips"].warnings)
    assert found["dm"].value is None


def test_rows_without_propensity_are_left_out_if_others_have_one() -> None:
    propensities = np.array([0.5, np.nan, 0.5, 0.5])
    data = DecisionLog([{}] * 4, ["a", "b", "a", "b"], np.arange(4.0), propensities)
    target = np.array([[1.0, 0], [0.5, 0.5], [0, 1], [0.5, 0.5]])
    s = prepare(data, ("a", "b"), target)
    assert s.reward.tolist() == [0.0, 2.0, 3.0]
    assert s.target.tolist() == target[[0, 2, 3]].tolist()
    assert "1 decisions were left out" in warnings(s, "ips")
    none_known = prepare(replace(data, propensities=np.full(4, np.nan)), ("a", "b"), target)
    assert (len(none_known), none_known.propensity, none_known.left_out) == (4, None, 0)


def test_rounded_probabilities_are_scaled_to_one() -> None:
    s = build(target=np.full((1000, 2), 0.4999))
    assert s.target.sum(axis=1) == pytest.approx(np.ones(1000), abs=1e-15)


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"target": np.full((1000, 2), 0.4)}, "target"),
        ({"target": np.broadcast_to([1.5, -0.5], (1000, 2))}, "target"),
        ({"target": np.full((1000, 2), np.nan)}, "target"),
        ({"target": np.full((999, 2), 0.5)}, "target"),
        ({"model": np.zeros((1000, 3))}, "model"),
        ({"propensity": np.full(1000, 1.1)}, "propensity"),
        ({"propensity": np.full(1000, np.nan)}, "propensity"),
        ({"action": np.empty(0, dtype=np.int64)}, "log"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(parts: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        build(**parts)
    assert caught.value.field == field


def test_an_unknown_estimator_is_named_with_the_known_ones() -> None:
    with pytest.raises(BadRequest, match="no estimator 'dr2'") as caught:
        evaluate(build(), ["dr", "dr2"])
    assert caught.value.field == "estimators"


def test_more_probabilities_than_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "MAX_CELLS", 7)
    data = DecisionLog([{}] * 4, ["a"] * 4, np.zeros(4), np.ones(4))
    with pytest.raises(TooLarge, match="4 decisions over 2 arms"):
        prepare(data, ("a", "b"), np.full((4, 2), 0.5))
