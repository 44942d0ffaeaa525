"""Models of many arms that are read together give what each gives alone; equal counts tie."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from streamsim.estimators import base
from streamsim.estimators.lm import RLS
from streamsim.estimators.thompson_bayesian_linear import ThompsonBayesianLinear

X = [1.0, 0.5, -2.0]
PRIOR = {"J": [0.0] * 3, "P": np.eye(3).tolist(), "err": 0.1}


def learned(model: Any, seed: int, p: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    for _ in range(seed + 1):
        model.update(float(rng.normal()), [1.0, *rng.normal(size=p - 1)])
    state: dict[str, Any] = json.loads(json.dumps(model.get_dict()))
    return state


def test_regressions_are_estimated_together_as_each_alone() -> None:
    states: dict[str, Any] = {str(k): learned(RLS(p=3), k) for k in range(6)}
    states["wide"] = learned(RLS(p=4), 2, p=4)
    states["text"] = states["1"] | {"z": json.dumps(states["1"]["z"]), "R": json.dumps(states["1"]["R"])}
    states["old"] = {"n": 4, "b": [1.0, 2.0, 0.5], "inverse": [0.5, 0.1, 0.0, 0.4, 0.0, 0.9]}
    names = [*states, "new"]
    n, mean, variance = RLS.estimates(states, names, X, ridge=2.0)
    for place, name in enumerate(names):
        alone = RLS(states.get(name), p=3, ridge=2.0, anew=True)
        assert n[place] == alone.n
        assert (mean[place], variance[place]) == pytest.approx(alone.estimate(X), rel=1e-9, abs=1e-12)


def test_posteriors_predict_together_as_each_alone() -> None:
    states: dict[str, Any] = {str(k): learned(ThompsonBayesianLinear(PRIOR), k) for k in range(6)}
    states["wide"] = {"J": [0.0] * 4, "P": np.eye(4).tolist(), "err": 1.0}
    # A precision that somebody set by hand counts, not the root of the one before.
    states["edited"] = states["3"] | {"P": (2 * np.eye(3)).tolist()}
    names = [*states, "new"]
    mean, sd = ThompsonBayesianLinear.predictions(states, names, X, PRIOR)
    for place, name in enumerate(names):
        value = ThompsonBayesianLinear(states.get(name), PRIOR).value
        covariance = np.linalg.inv(value["P"])
        expected = X @ covariance @ np.ravel(value["J"]), np.sqrt(X @ covariance @ X)
        assert (mean[place], sd[place]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    # All of one odd size: each is read alone.
    assert ThompsonBayesianLinear.predictions({"a": states["wide"]}, ["a"], X, PRIOR)[1][0] > 0


@pytest.mark.parametrize(
    ("means", "precision"),
    [
        ([0.0, 0.0, 0.0], np.eye(3)),
        ([1.5, -2.0, 0.25], np.diag([0.5, 3.0, 1e-3])),
        ([1.5, -2.0, 0.25], np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.1], [0.0, 0.1, 3.0]])),
        ([[1.5, -2.0, 0.25]], 2 * np.eye(3)),
        ("[1, -2, 0]", 2 * np.eye(3)),
        ([0.5] * 20, 4 * np.eye(20)),
    ],
)
def test_what_learned_nothing_predicts_as_its_prior(means: Any, precision: Any) -> None:
    size = len(precision)
    x = np.linspace(-1.0, 2.0, size)
    prior = {"J": means, "P": precision.tolist(), "err": 0.1}
    j = np.ravel(json.loads(means) if isinstance(means, str) else means)
    covariance = np.linalg.inv(precision)
    for given in (x.tolist(), x):
        mean, sd = ThompsonBayesianLinear.predictions({}, ["a", "b"], given, prior)
        assert mean == pytest.approx([x @ covariance @ j] * 2)
        assert sd == pytest.approx([np.sqrt(x @ covariance @ x)] * 2)
    for wrong in (np.nan, -1e101):
        with pytest.raises(ValueError, match="regressors from -1e100 to 1e100"):
            ThompsonBayesianLinear.predictions({}, ["a"], [wrong] * size, prior)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"err": 0.0}, "err is a variance"),
        ({"J": [0.0] * 2}, "needs a 2 x 2 matrix"),
        ({"P": [[1.0, 0.0], [0.0, 1.0]]}, "needs a 3 x 3 matrix"),
    ],
)
def test_a_prior_that_is_none_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThompsonBayesianLinear.predictions({}, ["a"], X, PRIOR | change)


@pytest.mark.parametrize(("kind", "field"), [(base.Proportion, "p"), (base.Mean, "m")])
def test_equal_counts_give_equal_figures_in_whatever_order_they_came(kind: Any, field: str) -> None:
    rng = np.random.default_rng(1)
    for n, successes in ((100, 30), (1000, 777), (97, 13)):
        rewards = np.repeat([1.0, 0.0], [successes, n - successes])
        figures = set()
        for order in (rewards, rewards[::-1], rng.permutation(rewards), rng.permutation(rewards)):
            model = kind({})
            for reward in order:
                model = kind(json.loads(json.dumps(model.get_dict())))
                model.update(float(reward))
            figures.add(model.get_value())
        assert figures == {successes / n}


def test_figures_that_differ_by_rounding_tie() -> None:
    assert base.greatest({"a": 0.1 + 0.2, "b": 0.3, "c": 0.3 - 1e-9}) == ["a", "b"]
    assert base.greatest({"a": float("inf"), "b": 1.0, "c": float("inf")}) == ["a", "c"]
    assert base.greatest({"a": -1.0, "b": -1.0 - 1e-15, "c": -2.0}) == ["a", "b"]
    listed = base.List({"a": {"n": 3, "m": 0.1 + 0.2}, "b": {"n": 3, "m": 0.3}}, base.Mean, ["a", "b"])
    assert listed.argmax() == ["a", "b"]


def test_small_rewards_are_not_lost_in_a_large_sum() -> None:
    mean = base.Mean({"n": 1_000_000, "m": 1000.0})
    for _ in range(1000):
        mean.update(1000.0003)
    assert mean.get_value() == pytest.approx(1000 + 0.3 / 1_001_000, abs=2e-10)
