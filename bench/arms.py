"""`python -m bench.arms`: what a decision with many arms costs, for every policy of the catalogue with arms.

Each arm has a state of its own, with a history of its own; decisions tell their propensities. Printed is the
median over several decisions, in milliseconds, of get_action in the policy runtime with its theta in memory.
The exit status is 1 if a policy needs more than 20 ms for 1,000 arms or 300 ms for 10,000.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamsim import values
from streamsim.estimators import base, lm, thompson_bayesian_linear
from streamsim.experiments.catalogue import CatalogueEntry
from tests.policies.play import ENTRIES, Player, Rows, seed

BOUNDS_MS: Final = {1000: 20.0, 10_000: 300.0}
FEATURES: Final = 4
HISTORY: Final = 300


_OF_MEANS: Final = ("ucb1", "softmax", "e-first", "e-greedy")
_OF_PROPORTIONS: Final = (
    "ab-test",
    "bernoulli-thompson",
    "kl-ucb",
    "parallel-evaluation",
    "top-two-thompson",
)


def states(slug: str, arms: list[str], rng: np.random.Generator) -> Rows:
    """Theta of a policy in which every arm has learned something else."""

    def row(key: str, arm: str, state: Any) -> tuple[tuple[str, str, str, str], bytes]:
        return (slug, "_theta", key, arm), values.dump(state)

    counts = rng.integers(100, 100 + HISTORY, size=len(arms))
    chances = rng.uniform(0.1, 0.3, size=len(arms))
    field = ENTRIES[slug].description.action.field
    if slug in ("linucb", "lints"):
        rows = []
        for arm in arms:
            model: Any = lm.RLS(p=FEATURES + 1)
            if slug == "lints":
                prior = {"J": [0.0] * (FEATURES + 1), "P": np.eye(FEATURES + 1).tolist(), "err": 0.1}
                model = thompson_bayesian_linear.ThompsonBayesianLinear(prior)
            for _ in range(6):
                model.update(float(rng.normal()), [1.0, *rng.normal(size=FEATURES)])
            rows.append(row("arm", arm, model.get_dict()))
        return dict(rows)
    if slug == "discounted-thompson":
        evidence = {
            arm: [float(n * p), float(n * (1 - p))] for arm, n, p in zip(arms, counts, chances, strict=True)
        }
        return dict([row("evidence", "all", evidence)])
    if slug not in _OF_MEANS + _OF_PROPORTIONS + ("exp3", "thompson-optimal-sampling"):
        return _learned(slug, arms, chances, rng)
    made = []
    for arm, n, p in zip(arms, counts.tolist(), chances.tolist(), strict=True):
        state: dict[str, Any] = {"n": n, "p": round(n * p) / n}
        if slug in _OF_MEANS:
            state = base.Mean({"n": n, "m": p}).get_dict()
        elif slug == "exp3":
            state = {"gain": n * p}
        elif slug == "thompson-optimal-sampling":
            state = {"n": n, "x_bar": p, "s": n * p, "v": p}
        made.append(row(field, arm, state))
    return dict(made)


def _learned(slug: str, arms: list[str], chances: NDArray[np.float64], rng: np.random.Generator) -> Rows:
    """By a policy whose theta is not known here: from a reward of each arm."""
    entry = ENTRIES[slug]
    player = Player(entry)
    for arm, chance in zip(arms, chances, strict=True):
        reward = {entry.description.reward.field: int(rng.random() < chance)}
        player.learn({"arms": arms}, {entry.description.action.field: arm}, reward)
    return player.rows


def with_arms() -> list[CatalogueEntry]:
    """The policies whose arms a context may name, and which keep a state for each."""
    return [
        entry
        for slug, entry in ENTRIES.items()
        if any(one.path == "context.arms" for one in entry.description.inputs)
    ]


def decision_ms(entry: CatalogueEntry, arms: int, *, fresh: bool = False, times: int = 5) -> float:
    """The median time of a decision over so many arms, in milliseconds.

    :param fresh: no arm has learned anything, so that all of them tie.
    """
    seed(1)
    names = [f"arm-{place}" for place in range(arms)]
    told = [one.name for one in entry.description.parameters]
    parameters = {"LOG_PROPENSITY": True} if "LOG_PROPENSITY" in told else {}
    rows = {} if fresh else states(entry.slug, names, np.random.default_rng(1))
    player = Player(entry, parameters, rows=rows, cached=arms + 10)
    context = {"arms": names, "features": [0.5] * FEATURES}
    took = []
    for _ in range(times + 1):
        began = time.perf_counter()
        player.decide(context, plain=True)
        took.append(1000 * (time.perf_counter() - began))
    # The first one reads theta.
    return statistics.median(took[1:])


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.arms", description=__doc__)
    parser.add_argument("--only", action="append", help="this policy alone; may be repeated")
    options = parser.parse_args()
    print(f"{'policy':28}" + "".join(f"{arms:>10,}" for arms in BOUNDS_MS) + "  ms for so many arms")
    late = 0
    for entry in with_arms():
        if options.only and entry.slug not in options.only:
            continue
        took = {
            arms: max(decision_ms(entry, arms), decision_ms(entry, arms, fresh=True)) for arms in BOUNDS_MS
        }
        late += any(took[arms] > bound for arms, bound in BOUNDS_MS.items())
        print(f"{entry.slug:28}" + "".join(f"{ms:>10.1f}" for ms in took.values()), flush=True)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
