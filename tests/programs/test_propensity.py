"""Probabilities of a Thompson policy, from repeated runs and from its own integral, against quadrature."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from streamsim.evaluation.wire import Propensities
from streamsim.experiments import catalogue
from streamsim.programs.propensity import Program
from tests.estimators.test_thompson import CASES, by_quadrature
from tests.programs.test_simulate import Channel

RUNS = 2000
THOMPSON = next(entry for entry in catalogue.entries() if entry.slug == "bernoulli-thompson")


def told(name: str, parameters: dict[str, Any], contexts: int = 2) -> Propensities:
    """What the program answers for the catalogue's policy on the theta of a case."""
    arms = CASES[name]
    theta = [
        ("e", "_theta", "arm", arm, json.dumps({"n": n, "p": s / n}).encode())
        for arm, (s, n) in arms.items()
        if n
    ]
    code = THOMPSON.edited({"ARMS": list(arms), **parameters})
    load: Any = ("e", code, {}, 5, theta, RUNS, "arm")
    answer = Program(load, Channel()).handle((0, [({"customer": i}, {}, None) for i in range(contexts)]))  # type: ignore[arg-type]
    assert answer.failure is None
    return answer


@pytest.mark.parametrize("name", CASES)
def test_repeated_runs_give_thompsons_probabilities_to_three_standard_errors(name: str) -> None:
    answer = told(name, {})
    assert answer.exact == [False, False]
    for row in answer.rows:
        assert sum(row.values()) == pytest.approx(1)
        for arm, p in by_quadrature(CASES[name]).items():
            assert abs(row.get(arm, 0.0) - p) <= 3 * np.sqrt(p * (1 - p) / RUNS)
    assert answer.rows[0] != answer.rows[1]  # each context has seeds of its own


def test_repeated_runs_repeat_from_their_seed() -> None:
    assert told("mixed", {}).rows == told("mixed", {}).rows


@pytest.mark.parametrize("name", CASES)
def test_the_policys_own_integral_is_quadrature_to_a_thousandth(name: str) -> None:
    answer = told(name, {"LOG_PROPENSITY": True}, contexts=1)
    assert answer.exact == [True]
    assert answer.rows[0] == pytest.approx(by_quadrature(CASES[name]), abs=1e-3)
