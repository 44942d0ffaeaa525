"""Linear models against the normal equations on the whole sample."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from streamsim import values
from streamsim.estimators import lm

RNG = np.random.default_rng(20)
X = RNG.normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5] + RNG.normal(0, 0.1, 60)


def stored(model: Any) -> Any:
    return json.loads(values.dump(values.plain(model.get_dict(), "theta")))


def fitted(**options: Any) -> lm.LM:
    model = lm.LM({}, **options)
    for row, y in zip(X, Y, strict=True):
        model = lm.LM(stored(model), add_intercept=options.get("add_intercept", False))
        model.update(y, row.tolist())
    return model


def test_coefficients_solve_the_ridge_normal_equations() -> None:
    model = fitted(p=3)
    expected = np.linalg.solve(np.eye(3) + X.T @ X, X.T @ Y)
    assert model.get_value() == pytest.approx(expected.tolist(), rel=1e-9)
    betas = model.get_coefs()
    assert betas.shape == (3,)
    assert float(betas[1]) == betas[1, 0] == pytest.approx(expected[1])
    first, *others = betas
    assert (first, len(others)) == (betas[0, 0], 2)
    assert np.dot(betas, [1.0, 2.0, 3.0]) == pytest.approx(expected @ [1, 2, 3])
    with pytest.raises(IndexError, match="one column"):
        betas[1, 1]
    assert model.predict([1, 2, 3]) == pytest.approx(expected @ [1, 2, 3])
    assert stored(model)["n"] == 60
    assert np.shape(stored(model)["b"]) == (1, 3)


def test_an_added_intercept_is_the_first_coefficient() -> None:
    design = np.column_stack([np.ones(60), X])
    expected = np.linalg.solve(np.eye(4) + design.T @ design, design.T @ Y)
    model = fitted(p=4, add_intercept=True)
    assert model.get_value() == pytest.approx(expected.tolist(), rel=1e-9)
    assert model.predict([1, 2, 3]) == pytest.approx(expected @ [1, 1, 2, 3])


def test_a_fresh_model_takes_its_size_from_the_first_observation() -> None:
    model = lm.LM({})
    assert model.get_value() == [0, 0]
    model.update(2.0, [1, 1, 1, 1])
    assert model.get_value() == pytest.approx([0.4] * 4)


def test_discount_is_the_weight_of_an_observation() -> None:
    weights = RNG.random(60)
    model = lm.LM({}, p=3)
    for row, y, w in zip(X, Y, weights, strict=True):
        model.update(y, row, discount=w)
    expected = np.linalg.solve(np.eye(3) + X.T @ np.diag(weights) @ X, X.T @ (weights * Y))
    assert model.get_value() == pytest.approx(expected.tolist(), rel=1e-9)


def test_lists_stored_as_text_are_lists() -> None:
    model = fitted(p=3)
    text = {name: str(value) for name, value in stored(model).items()}
    assert lm.LM(text).get_value() == pytest.approx(model.get_value())
    assert lm.LM(default={"b": [0, 0], "A": [[1, 0], [0, 1]], "n": 0}).get_value() == [0, 0]


def test_an_observation_of_another_length_is_refused_and_changes_nothing() -> None:
    model = fitted(p=3)
    before = stored(model)
    with pytest.raises(ValueError, match="3 coefficients, but x gives 2"):
        model.update(1.0, [1, 2])
    assert stored(model) == before
    with pytest.raises(ValueError, match="LM needs 'A'"):
        lm.LM({"b": [1], "n": 1})


class TestRLS:
    def fitted(self, ridge: float) -> lm.RLS:
        model = lm.RLS({}, p=3, ridge=ridge)
        for row, y in zip(X, Y, strict=True):
            model = lm.RLS(stored(model), p=3)
            model.update(y, row.tolist())
        return model

    @pytest.mark.parametrize("ridge", [0.1, 1.0, 10.0])
    def test_estimate_and_its_variance_equal_those_of_the_whole_sample(self, ridge: float) -> None:
        model = self.fitted(ridge)
        inverse = np.linalg.inv(ridge * np.eye(3) + X.T @ X)
        x = np.array([0.3, -1.0, 2.0])
        mean, variance = model.estimate(x)
        assert mean == pytest.approx(x @ inverse @ X.T @ Y, rel=1e-9)
        assert variance == pytest.approx(x @ inverse @ x, rel=1e-9)
        assert model.get_value() == pytest.approx((inverse @ X.T @ Y).tolist(), rel=1e-9)
        assert model.predict(x) == mean
        assert model.n == 60

    def test_a_long_run_of_rank_one_updates_stays_exact(self) -> None:
        rng = np.random.default_rng(21)
        rows = rng.random((3000, 10))
        model = lm.RLS({}, p=10)
        for row in rows:
            model.update(row[0], row)
        inverse = np.linalg.inv(np.eye(10) + rows.T @ rows)
        x = rng.random(10)
        assert model.estimate(x)[1] == pytest.approx(x @ inverse @ x, rel=1e-8)

    def test_unfit_states_are_refused(self) -> None:
        with pytest.raises(ValueError, match="needs p"):
            lm.RLS({})
        with pytest.raises(ValueError, match="3 coefficients in its stored dict, not 4"):
            lm.RLS(stored(self.fitted(1.0)), p=4)
        with pytest.raises(ValueError, match="2 coefficients has 1 values"):
            lm.RLS({"n": 0, "b": [0, 0], "inverse": [1.0]})

    def test_features_of_very_different_sizes_cost_no_accuracy(self) -> None:
        rng = np.random.default_rng(5)
        scale = np.array([1.0, 1e6, 1e-2, 1e4])
        rows = rng.normal(size=(400, 4)) * scale
        rows[:, 1] += 1.7e9  # a time in seconds
        y = rows @ np.array([2.0, 1e-6, 30.0, -1e-4]) + rng.normal(size=400)
        model = lm.RLS({}, p=4)
        for row, one in zip(rows, y, strict=True):
            model = lm.RLS(stored(model))
            model.update(one, row)
        # The ridge penalty as rows of its own: least squares on them needs no normal equations.
        exact = np.linalg.lstsq(np.vstack((np.eye(4), rows)), np.append(np.zeros(4), y), rcond=None)[0]
        assert model.get_value() == pytest.approx(exact.tolist(), rel=1e-6)

    def test_a_state_with_the_inverse_as_stored_before_is_gone_on_from(self) -> None:
        inverse = np.linalg.inv(np.eye(3) + X[:30].T @ X[:30])
        old = {"n": 30, "b": (X[:30].T @ Y[:30]).tolist(), "inverse": inverse[np.triu_indices(3)].tolist()}
        model = lm.RLS(old, p=3)
        for row, y in zip(X[30:], Y[30:], strict=True):
            model.update(y, row)
            model = lm.RLS({**old, **stored(model)}, p=3)  # as set_theta merges
        assert model.get_value() == pytest.approx(self.fitted(1.0).get_value(), rel=1e-9)
        assert model.n == 60

    def test_a_state_of_another_size_starts_anew_if_told_so(self) -> None:
        model = lm.RLS(stored(self.fitted(1.0)), p=4, anew=True)
        assert (model.n, model.get_value()) == (0, [0.0] * 4)
        assert lm.RLS(stored(self.fitted(1.0)), p=3, anew=True).n == 60


def test_a_penalty_that_large_regressors_drown_leaves_the_coefficients_finite() -> None:
    model = lm.LM({}, p=3)
    model.update(1.0, [1e60, 1e60, 1e60])
    model.update(0.5, [0.1, 0.2, 0.3])
    assert np.isfinite(model.get_value()).all()


def test_stored_sums_are_matrices_as_code_for_streamingbandit_takes_them() -> None:
    model = lm.LM({}, p=2)
    rng = np.random.default_rng(3)
    for _ in range(50):
        x = rng.normal(size=2)
        model.update(3 * x[0] - 2 * x[1], x)
    for again in (model, lm.LM(model.get_dict())):
        a, b = again.value["A"], again.value["b"]
        assert (a.shape, b.shape) == ((2, 2), (1, 2))
        expected = np.linalg.solve(np.asarray(a), np.asarray(b)[0])
        for solved in (np.linalg.inv(a) * b.T, a.I * b.T, (b * np.linalg.inv(a)).T, np.dot(a.I, b.T)):
            assert solved.shape == (2, 1)
            assert np.asarray(solved)[:, 0] == pytest.approx(expected)
        assert (2 * b).tolist() == (b * 2).tolist() == (np.asarray(b) * 2).tolist()
        assert again.get_value() == pytest.approx(expected.tolist())
