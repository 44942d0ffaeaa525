"""Priors of Thompson policies, and exact or Rao-Blackwellised propensities of those that are no Beta samplers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy import stats

from streamsim.estimators import best
from streamsim.decisions.arms import label
from tests.policies.play import ENTRIES, Player, seed


def observed(samples: dict[str, list[float]]) -> dict[Any, Any]:
    player = Player(ENTRIES["thompson-optimal-sampling"])
    for arm, values in samples.items():
        for value in values:
            player.learn({}, {"arm": arm}, {"value": value})
    return player.rows


def test_thompson_optimal_sampling_tells_in_which_shares_it_plays() -> None:
    rng = np.random.default_rng(3)
    rows = observed({"control": rng.normal(0, 1, 6).tolist(), "treatment": rng.normal(0, 1.3, 9).tolist()})
    player = Player(ENTRIES["thompson-optimal-sampling"], {"LOG_PROPENSITY": True}, rows=rows)
    seed(5)
    told = player.decide({})[1]
    assert sum(told.values()) == pytest.approx(1)
    counts = Counter(player.decide({})[0]["arm"] for _ in range(3000))
    assert 0.05 < told["control"] < 0.95
    assert stats.binomtest(counts["control"], 3000, told["control"]).pvalue > 1e-4


def test_the_chance_of_the_greatest_inverse_chi_square_is_that_of_the_f_distribution() -> None:
    # s / X > t / Y where (Y / m) / (X / k) > t k / (s m): an F variable.
    for s, k, t, m in ((1.0, 2.0, 3.0, 2.0), (0.3, 5.0, 0.2, 40.0), (2.0, 1.0, 1.0, 1.0), (1.0, 999.0, 1.1, 999.0)):
        first = best.of_inverse_chi_squares(np.array([s, t]), np.array([k, m]))[0]
        assert first == pytest.approx(stats.f.sf(t * k / (s * m), m, k), abs=1e-8)


def test_a_prior_of_variances_counts_as_so_many_observations() -> None:
    rows = observed({"control": [0.0, 1.0], "treatment": [0.0, 1.1]})
    shares = {}
    for prior in ([0, 0], [50, 50]):
        player = Player(ENTRIES["thompson-optimal-sampling"], {"PRIOR": prior, "LOG_PROPENSITY": True}, rows=rows)
        seed(1)
        shares[prior[0]] = player.decide({})[1]["treatment"]
    # (0.605 + s) / F: with 50 degrees known beforehand the samples hardly tell the arms apart.
    expected = stats.f.sf(50.5 / 50.605, 51, 51)
    assert shares[50] == pytest.approx(expected, abs=1e-8)
    assert shares[0] == pytest.approx(stats.f.sf(0.5 / 0.605, 1, 1), abs=1e-8)


def test_lints_starts_from_its_prior_means() -> None:
    context = {"arms": ["a", "b"], "features": [2.0, 0.5, 0.0, 0.0]}
    parameters = {"PRIOR": [3.0, 4.0], "PRECISION": 1e6, "NOISE": 1.0}
    player = Player(ENTRIES["lints"], parameters)
    seed(2)
    player.learn(context, {"arm": "a"}, {"value": 3.0 + 4.0 * 2.5})
    state = next(iter(player.theta("arm").values()))
    means = np.linalg.solve(state["P"], np.ravel(state["J"]))
    # The observation is what the prior expects: nothing moves.
    assert means == pytest.approx([3.0, 4.0, 4.0, 4.0, 4.0], abs=1e-6)


def test_a_parabola_is_drawn_around_its_prior_means() -> None:
    # Its top is at 30 / (2 * 5) = 3.
    player = Player(ENTRIES["thompson-bayesian-linear"], {"PRIOR": [0.0, 30.0, -5.0], "PRECISION": 1e6})
    seed(4)
    assert np.mean([player.decide({})[0]["x"] for _ in range(50)]) == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("learnt", [0, 30])
def test_bootstrapped_thompson_tells_the_share_of_its_replicates(learnt: int) -> None:
    slug = "bootstrapped-thompson"
    seed(7)
    learner = Player(ENTRIES[slug])
    context = {"customer": "new"}
    for _ in range(learnt):
        action, _ = learner.decide(context)
        learner.learn(context, action, {"revenue": max(0.0, 4 - abs(action["price"] - 3))})
    player = Player(ENTRIES[slug], {"LOG_PROPENSITY": True}, rows=learner.rows)
    silent = Player(ENTRIES[slug], rows=learner.rows)
    counts = Counter(silent.decide(context)[0]["price"] for _ in range(1500))
    action, told = player.decide(context)
    assert sum(told.values()) == pytest.approx(1)
    assert action["propensity"] == told[label(action["price"])]
    top = max(told, key=lambda price: told[price])
    share = counts[float(top)] / 1500
    # Exact once replicates are stored; before that from a thousand draws.
    error = (share * (1 - share) * (1 / 1500 + (0 if learnt else 1 / 1000))) ** 0.5
    assert abs(told[top] - share) < 4.5 * error
