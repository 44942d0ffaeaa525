"""Models kept in theta against scikit-learn used directly."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from streamsim import values
from streamsim.estimators import scikit

RNG = np.random.default_rng(60)
X = RNG.normal(size=(40, 2))
Y = X @ [1.0, -1.0]


def stored(model: scikit.SKLModel) -> Any:
    return json.loads(values.dump(values.plain(model.get_dict(), "theta")))


def test_a_regressor_learns_through_theta_as_it_does_in_memory() -> None:
    from sklearn.linear_model import SGDRegressor

    direct = SGDRegressor(random_state=1)
    model = scikit.SKLModel({}, random_state=1)
    for row, y in zip(X, Y, strict=True):
        direct.partial_fit([row], [y])
        model = scikit.SKLModel(value=stored(model))
        model.update([row], [y])
    assert model.predict(X).tolist() == direct.predict(X).tolist()
    assert model.get_value().coef_.tolist() == direct.coef_.tolist()


def test_class_and_arguments_are_the_callers() -> None:
    model = scikit.SKLModel({}, "naive_bayes", "GaussianNB")
    model.update(X, Y > 0, classes=[False, True])
    again = scikit.SKLModel(stored(model), "naive_bayes", "GaussianNB")
    assert (again.predict(X) == (Y > 0)).mean() > 0.9
