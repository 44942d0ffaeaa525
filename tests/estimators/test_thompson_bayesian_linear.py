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
