"""The reward model against scikit-learn, and its influence against perturbed fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from streamsim.evaluation.reward_model import RewardModel, encode

Contexts = list[dict[str, Any]]


def logged(n: int, arms: int, seed: int) -> tuple[Contexts, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    contexts = [{"x": rng.normal(size=2).tolist(), "city": "abc"[rng.integers(3)]} for _ in range(n)]
    action = rng.integers(arms, size=n)
    reward = np.array([c["x"][0] for c in contexts]) * action + rng.normal(size=n)
    return contexts, action, reward


def test_contexts_become_standardised_numbers_and_categories() -> None:
    contexts: Contexts = [
        {"age": 20, "vip": True, "city": "A", "x": [1.0, 5], "deep": {"k": 1}, "same": 7, "none": None},
        {"age": 40, "vip": False, "city": "A", "x": [2.0, 5], "deep": {"k": 2}, "same": 7},
        {"age": None, "vip": True, "city": "B", "x": [3.0], "deep": {"k": 3}, "same": 7},
        {"vip": False, "city": "B", "x": [4.0], "deep": {"k": 4}, "same": 7},
        {"age": "old", "vip": True, "city": "C", "x": [5.0], "deep": {}, "same": 7},
    ]
    matrix, names = encode(contexts)
    table = dict(zip(names, matrix.T.tolist(), strict=True))
    assert set(table) == {
        "1", "age", "age missing", "vip", "city=A", "city=B", "x[0]", "x[1] missing", "deep.k"
    }  # fmt: skip
    assert table["1"] == [1.0] * 5
    assert table["age"] == pytest.approx([-1, 1, 0, 0, 0])
    assert table["age missing"] == [0, 0, 1, 1, 1]
    assert table["city=A"] == [1, 1, 0, 0, 0]
    assert table["x[0]"] == pytest.approx((np.arange(5) - 2) / np.sqrt(2))
    assert table["deep.k"] == pytest.approx([*((np.arange(4) - 1.5) / np.sqrt(1.25)), 0])


def test_no_context_leaves_the_constant_alone() -> None:
    matrix, names = encode([{}, {}])
    assert names == ["1"]
    assert matrix.tolist() == [[1.0], [1.0]]


def test_huge_and_tiny_numbers_are_standardised_without_overflow() -> None:
    matrix, names = encode([{"a": 1e308, "b": 2**63 - 1, "c": 1e-300}, {"a": -1e308, "b": 0, "c": 3e-300}])
    assert names == ["1", "a", "b", "c"]
    assert np.abs(matrix) == pytest.approx(np.ones((2, 4)))


def test_the_commonest_columns_are_kept_when_there_are_too_many() -> None:
    contexts = [{"user": f"u{i // 2}", "x": float(i)} for i in range(1000)] + [{"user": "u0"}] * 3
    matrix, names = encode(contexts, most=4)
    assert matrix.shape == (1003, 4)
    assert names == ["1", "x", "user=u0", "x missing"]


def test_each_fold_is_predicted_by_ridge_fits_to_the_others() -> None:
    contexts, action, reward = logged(120, 3, seed=1)
    model = RewardModel(contexts, action, reward, 3, folds=4, seed=2, penalty=1.5)
    x, _ = encode(contexts)
    folds = np.random.default_rng(2).permutation(np.arange(120) % 4)
    for fold in range(4):
        train, held = folds != fold, folds == fold
        common = Ridge(alpha=1.5).fit(x[train, 1:], reward[train])
        for arm in range(3):
            rows = train & (action == arm)
            # Shrinking towards a common fit is shrinking the residuals' fit, constant included, towards 0.
            own = Ridge(alpha=1.5, fit_intercept=False)
            own.fit(x[rows], reward[rows] - common.predict(x[rows, 1:]))
            expected = common.predict(x[held, 1:]) + own.predict(x[held])
            assert model.predictions[held, arm] == pytest.approx(expected)


def test_an_arm_without_rows_is_predicted_from_all_the_others() -> None:
    contexts, action, reward = logged(60, 2, seed=3)
    with_it = RewardModel(contexts, action, reward, 3, seed=1)
    assert np.isfinite(with_it.predictions).all()
    assert with_it.predictions[:, :2] == pytest.approx(
        RewardModel(contexts, action, reward, 2, seed=1).predictions
    )
    assert with_it.predictions[:, 2].mean() == pytest.approx(reward.mean(), abs=0.3)


def test_a_prediction_does_not_depend_on_its_own_reward() -> None:
    contexts, action, reward = logged(50, 2, seed=4)
    before = RewardModel(contexts, action, reward, 2, seed=1).predictions
    reward[7] += 100.0
    after = RewardModel(contexts, action, reward, 2, seed=1).predictions
    assert after[7] == pytest.approx(before[7])
    assert np.abs(after - before).max() > 1


def test_the_influence_of_a_row_is_what_a_change_of_its_reward_does() -> None:
    contexts, action, reward = logged(80, 3, seed=5)
    shares = np.random.default_rng(6).dirichlet(np.ones(4), 80)
    weights = np.random.default_rng(7).random(80)

    def averages(reward: np.ndarray) -> np.ndarray:
        q = RewardModel(contexts, action, reward, 4, seed=1).predictions
        return np.array([(shares * q).sum(axis=1).mean(), (weights * q[np.arange(80), action]).mean()])

    model = RewardModel(contexts, action, reward, 4, seed=1)
    base = averages(reward)
    for row in (0, 11, 42):
        changed = reward.copy()
        changed[row] += 1.0
        # Linear in the rewards; and no prediction for the row moves with its own reward.
        moved = RewardModel(contexts, action, changed, 4, seed=1)
        for place, influences in enumerate(
            (
                (model.influence(shares), moved.influence(shares)),
                (model.influence_of_logged(weights), moved.influence_of_logged(weights)),
            )
        ):
            slope = (influences[1][row] - influences[0][row]) / 80
            assert (averages(changed) - base)[place] == pytest.approx(slope, abs=1e-12)


def test_the_fit_repeats_from_its_seed_and_needs_two_rows() -> None:
    contexts, action, reward = logged(30, 2, seed=8)
    one, two, other = (RewardModel(contexts, action, reward, 2, seed=s).predictions for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    with pytest.raises(ValueError, match="at least 2 rows"):
        RewardModel(contexts[:1], action[:1], reward[:1], 2)
