"""Every estimator against its formula written out in plain loops, and its influence against the jackknife."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamsim.evaluation import value_estimators as ve
from streamsim.evaluation.sample import Sample


def sample(n: int = 20, arms: int = 3, seed: int = 1) -> Sample:
    rng = np.random.default_rng(seed)
    target = rng.dirichlet(np.ones(arms), n)
    target[0] = np.eye(arms)[0]
    return Sample(
        rng.integers(arms, size=n),
        rng.normal(1, 1, n),
        rng.uniform(0.05, 1.0, n),
        target,
        rng.normal(1, 0.5, (n, arms)),
    )


class Row:
    """One decision as plain numbers."""

    def __init__(self, s: Sample, i: int) -> None:
        assert s.propensity is not None
        self.a, self.r, self.p = int(s.action[i]), float(s.reward[i]), float(s.propensity[i])
        self.pi, self.q = s.target[i].tolist(), s.predictions[i].tolist()
        self.w = self.pi[self.a] / self.p
        self.expected = sum(self.pi[k] * self.q[k] for k in range(len(self.pi)))


def mean(figures: list[float]) -> float:
    return sum(figures) / len(figures)


TAU, LAMBDA = 1.2, 0.8
FORMULAS: dict[str, Callable[[list[Row]], float]] = {
    "replay": lambda rows: sum(x.pi[x.a] * x.r for x in rows) / sum(x.pi[x.a] for x in rows),
    "dm": lambda rows: mean([x.expected for x in rows]),
    "ips": lambda rows: mean([x.w * x.r for x in rows]),
    "snips": lambda rows: sum(x.w * x.r for x in rows) / sum(x.w for x in rows),
    "dr": lambda rows: mean([x.expected + x.w * (x.r - x.q[x.a]) for x in rows]),
    "sndr": lambda rows: (
        mean([x.expected for x in rows]) + sum(x.w * (x.r - x.q[x.a]) for x in rows) / sum(x.w for x in rows)
    ),
    "switch-dr": lambda rows: mean(
        [x.expected + (x.w * (x.r - x.q[x.a]) if x.w <= TAU else 0.0) for x in rows]
    ),
    "dros": lambda rows: mean(
        [x.expected + LAMBDA * x.w / (x.w**2 + LAMBDA) * (x.r - x.q[x.a]) for x in rows]
    ),
}
FIXED: dict[str, Callable[[Sample], ve.Terms]] = {
    **{name: entry.terms for name, entry in ve.ESTIMATORS.items()},
    "switch-dr": lambda s: ve.switch_doubly_robust(s, TAU),
    "dros": lambda s: ve.shrunk_doubly_robust(s, LAMBDA),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_an_estimate_is_its_formula(name: str) -> None:
    s = sample()
    assert (s.weight > TAU).any()
    assert (s.weight <= TAU).any()
    rows = [Row(s, i) for i in range(len(s))]
    assert FIXED[name](s).value == pytest.approx(FORMULAS[name](rows), rel=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_influence_gives_the_variance_of_the_jackknife(name: str) -> None:
    s = sample(400)
    influence = FIXED[name](s).influence
    assert influence.mean() == pytest.approx(0, abs=1e-12)

    def without(i: int) -> float:
        columns: tuple[Any, ...] = (s.action, s.reward, s.propensity, s.target, s.model)
        parts: list[Any] = [np.delete(x, i, axis=0) for x in columns]
        return FIXED[name](Sample(*parts)).value

    left_out = np.array([without(i) for i in range(len(s))])
    jackknife = (len(s) - 1) / len(s) * ((left_out - left_out.mean()) ** 2).sum()
    assert (influence**2).sum() / len(s) ** 2 == pytest.approx(jackknife, rel=0.05)


def test_shrinkage_goes_from_the_direct_method_to_doubly_robust() -> None:
    s = sample(50)
    dm, dr = ve.direct_method(s).value, ve.doubly_robust(s).value
    assert dm != pytest.approx(dr)
    assert ve.shrunk_doubly_robust(s, 1e-12).value == pytest.approx(dm)
    assert ve.shrunk_doubly_robust(s, 1e12).value == pytest.approx(dr)
    assert ve.shrunk_doubly_robust(s, np.inf).value == dr
    assert ve.switch_doubly_robust(s, 0.0).value == pytest.approx(dm)
    assert ve.switch_doubly_robust(s, np.inf).value == dr


def squared_error(rows: list[Row], weights: list[float]) -> float:
    """Variance and squared bias of a corrected estimate, in plain loops."""
    parts = [x.expected + v * (x.r - x.q[x.a]) for x, v in zip(rows, weights, strict=True)]
    bias = mean([(x.w - v) * (x.r - x.q[x.a]) for x, v in zip(rows, weights, strict=True)])
    return mean([(part - mean(parts)) ** 2 for part in parts]) / len(rows) + bias**2


def test_the_bound_of_least_estimated_error_is_chosen() -> None:
    chosen: dict[str, set[float | None]] = {"switch-dr": set(), "dros": set()}
    for seed in range(6):
        s = sample(60, seed=seed)
        rows = [Row(s, i) for i in range(60)]
        low, high = np.quantile(s.weight[s.weight > 0], [0.05, 0.95])
        switch = {float(t): [x.w if x.w <= t else 0.0 for x in rows] for t in np.geomspace(low, high, 30)}
        shrunk = {
            float(t): [t * x.w / (x.w**2 + t) for x in rows]
            for t in np.geomspace(0.01 * low**2, 100 * high**2, 30)
        }
        for name, grid in (("switch-dr", switch), ("dros", shrunk)):
            errors = {t: squared_error(rows, weights) for t, weights in grid.items()}
            errors[np.inf] = squared_error(rows, [x.w for x in rows])
            found = ve.ESTIMATORS[name].terms(s).hyperparameter
            assert errors[np.inf if found is None else found] == pytest.approx(min(errors.values()))
            chosen[name].add(found)
    assert all(len(some) > 2 for some in chosen.values())


@pytest.mark.parametrize("estimator", [ve.switch_doubly_robust, ve.shrunk_doubly_robust])
def test_large_weights_are_bounded_when_the_model_is_good_and_kept_when_it_is_bad(
    estimator: Callable[[Sample], ve.Terms],
) -> None:
    rng = np.random.default_rng(3)
    n, truth = 4000, np.array([0.0, 1.0])
    chance = np.where(rng.random(n) < 0.5, 0.02, 0.5)
    action = (rng.random(n) < chance).astype(np.int64)
    reward = truth[action] + rng.normal(size=n)
    propensity = np.where(action == 1, chance, 1 - chance)
    target = np.broadcast_to([0.0, 1.0], (n, 2))
    good = Sample(action, reward, propensity, target, np.broadcast_to(truth, (n, 2)))
    bad = Sample(action, reward, propensity, target, np.broadcast_to(truth - 5.0, (n, 2)))
    bounded, plain = estimator(good), ve.doubly_robust(good)
    assert (bounded.influence**2).mean() < 0.8 * (plain.influence**2).mean()
    assert bounded.value == pytest.approx(1.0, abs=0.1)
    kept = ve.doubly_robust(bad)
    error = np.sqrt((kept.influence**2).mean() / n)
    assert estimator(bad).value == pytest.approx(kept.value, abs=0.5 * error)


def test_a_candidate_that_never_takes_a_logged_arm_has_no_self_normalised_value() -> None:
    n = 10
    target = np.broadcast_to([0.0, 1.0], (n, 2))
    s = Sample(np.zeros(n, dtype=np.int64), np.ones(n), np.full(n, 0.5), target, np.full((n, 2), 3.0))
    assert np.isnan(ve.snips(s).value)
    assert np.isnan(ve.replay(s).value)
    assert ve.ips(s).value == 0.0
    assert (
        ve.switch_doubly_robust(s).value
        == ve.shrunk_doubly_robust(s).value
        == ve.doubly_robust(s).value
        == 3.0
    )


def test_the_registry_says_what_each_estimator_is() -> None:
    assert list(ve.ESTIMATORS) == ["replay", "dm", "ips", "snips", "dr", "sndr", "switch-dr", "dros", "aw-dr"]
    for entry in ve.ESTIMATORS.values():
        assert entry.title
        assert entry.paper
        assert entry.formula.startswith("E[")
