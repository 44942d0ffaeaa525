"""Draws from the conjugate posterior against its closed form."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from streamsim import values
from streamsim.estimators.thompson_bayesian_linear import ThompsonBayesianLinear

RNG = np.random.default_rng(30)
X = RNG.normal(size=(25, 3))
Y = X @ [2.0, 0.0, -1.0] + RNG.normal(0, 0.5, 25)
PRIOR = {"J": [1, 1, 1], "P": [[2, 0, 0], [0, 2, 0.5], [0, 0.5, 2]], "err": 0.25}


def posterior() -> tuple[np.ndarray, np.ndarray]:
    precision = np.array(PRIOR["P"]) + X.T @ X / 0.25
    covariance = np.linalg.inv(precision)
    return covariance @ (np.array(PRIOR["J"]) + X.T @ Y / 0.25), covariance


def fitted() -> ThompsonBayesianLinear:
    model = ThompsonBayesianLinear(PRIOR)
    for row, y in zip(X, Y, strict=True):
        state = json.loads(values.dump(values.plain(model.get_dict(), "theta")))
        model = ThompsonBayesianLinear(state)
        model.update(y=y, x=row.tolist())
    return model


def test_posterior_mean_is_the_closed_form() -> None:
    assert fitted().get_value() == pytest.approx(posterior()[0].tolist(), rel=1e-9)


def test_draws_have_the_posterior_mean_and_covariance() -> None:
    np.random.seed(31)
    mean, covariance = posterior()
    model = fitted()
    draws = np.array([model.sample() for _ in range(4000)])
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), (draws - mean).T)
    for axis in whitened:
        assert stats.kstest(axis, stats.norm.cdf).pvalue > 0.001
    assert np.cov(whitened) == pytest.approx(np.eye(3), abs=0.1)


def test_discount_weighs_an_observation() -> None:
    half, one = ThompsonBayesianLinear(PRIOR), ThompsonBayesianLinear(PRIOR)
    half.update(3.0, [1, 0, 0], discount=0.5)
    half.update(3.0, [1, 0, 0], discount=0.5)
    one.update(3.0, [1, 0, 0])
    assert half.get_value() == pytest.approx(one.get_value())


def test_text_states_fresh_models_and_bad_ones() -> None:
    text = ThompsonBayesianLinear({name: str(value) for name, value in fitted().get_dict().items()})
    assert text.get_value() == pytest.approx(fitted().get_value())
    fresh = ThompsonBayesianLinear({})
    assert fresh.sample().shape == (2,)
    fresh.update(1.0, [1, 0, 0, 0])
    assert fresh.get_value() == pytest.approx([0.5, 0, 0, 0])
    with pytest.raises(ValueError, match="variance"):
        ThompsonBayesianLinear({**PRIOR, "err": 0})
    with pytest.raises(ValueError, match="3 coefficients, but x gives 2"):
        fitted().update(1.0, [1, 2])


def test_large_features_leave_the_posterior_definite_and_its_draws_right() -> None:
    x = np.array([1.0, 1.7e9, 1.7e9, 0.3, 0.3])
    model = ThompsonBayesianLinear({"J": [0.0] * 5, "P": np.eye(5).tolist(), "err": 0.1})
    for _ in range(50):
        model.update(2.0, x)
        model = ThompsonBayesianLinear(json.loads(values.dump(model.get_dict())))
    np.random.seed(3)
    draws = np.array([model.sample() for _ in range(2000)])
    # In the direction of x all is known, across it nothing: there the prior's variance is left.
    assert (draws @ x).mean() == pytest.approx(2.0, abs=0.05)
    across = np.array([0.0, 1.0, -1.0, 0.0, 0.0]) / 2**0.5
    assert (draws @ across).var() == pytest.approx(1.0, rel=0.15)


def test_a_precision_that_was_changed_by_hand_counts_and_not_its_old_root() -> None:
    state = ThompsonBayesianLinear({"J": [0.0, 0.0], "P": np.eye(2).tolist(), "err": 1.0}).get_dict()
    changed = ThompsonBayesianLinear({**state, "P": (1e6 * np.eye(2)).tolist()})
    np.random.seed(4)
    assert np.std([changed.sample() for _ in range(500)]) == pytest.approx(1e-3, rel=0.2)


def test_a_state_of_another_size_gives_way_to_the_prior() -> None:
    prior = {"J": [0.0] * 3, "P": np.eye(3).tolist(), "err": 1.0}
    assert ThompsonBayesianLinear({"J": [1.0], "P": [[1.0]], "err": 1.0}, prior).get_value() == [0.0] * 3
    assert ThompsonBayesianLinear({}, prior).sample().shape == (3,)
