"""`python -m bench.coverage`: how often intervals of off-policy estimates hold the truth, as a table.

For each kind of log, simulated with known truth, and each estimator: of the intervals given the share that
hold the truth, the mean error of the estimate, and the share of logs in which the estimate had a warning or
no interval. The exit status is 1 if an estimator covers less than 92 % and warns in less than 95 % of logs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from streamsim.dates import HOUR_MS
from streamsim.estimators import best
from streamsim.evaluation import missing, units
from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.offpolicy import Estimate, evaluate
from streamsim.evaluation.own_log import Window, from_logs
from streamsim.evaluation.sample import prepare
from streamsim.evaluation.testbed import bernoulli, contextual_logistic, softmax, uniform
from streamsim.evaluation.value_estimators import ESTIMATORS

NAMES: Final = tuple(ESTIMATORS)
NOW: Final = 1000 * HOUR_MS


class Drawn(NamedTuple):
    """A log, the candidate's probabilities in its decisions, and what it would earn."""

    data: DecisionLog
    target: Any
    truth: float
    unit: str | None = None


def iid(seed: int) -> Drawn:
    """Contexts of 4 segments, three arms, uniform logging: 1,000 decisions."""
    world = contextual_logistic(1, arms=3, contexts=4)
    policy = softmax(world, 0.2)
    place, data = world.log(uniform(world), 1000, seed)
    contexts = [{"segment": row["segment"]} for row in data.contexts]
    told = [dict.fromkeys(world.arms, 1 / 3)] * 1000
    log = DecisionLog(contexts, data.actions, data.rewards, data.propensities, told=told)
    return Drawn(log, policy[place], world.value(policy))


def rare(seed: int) -> Drawn:
    """25 arms, uniform logging, rewards in 0.4 % of 5,000 decisions; the candidate plays one arm."""
    world = bernoulli([0.004] * 25)
    place, data = world.log(uniform(world), 5000, seed)
    return Drawn(data, np.broadcast_to(np.eye(25)[0], (len(place), 25)), 0.004)


def thompson(floor: float) -> Callable[[int], Drawn]:
    """1,000 decisions of Thompson sampling of two coins; the candidate plays the worse one."""

    def draw(seed: int) -> Drawn:
        rng = np.random.default_rng(seed)
        chances, wins, plays = np.array([0.3, 0.5]), np.zeros(2), np.zeros(2)
        actions, rewards, propensities = [], [], []
        for _ in range(1000):
            p = floor + (1 - 2 * floor) * best.of_betas(wins + 1, plays - wins + 1)
            arm = int(rng.random() >= p[0])
            reward = float(rng.random() < chances[arm])
            wins[arm] += reward
            plays[arm] += 1
            actions.append("ab"[arm])
            rewards.append(reward)
            propensities.append(p[arm])
        data = DecisionLog([{}] * 1000, actions, np.array(rewards), np.array(propensities))
        return Drawn(data, np.tile([1.0, 0.0], (1000, 1)), 0.3)

    return draw


def clustered(unit: str | None, *, keep: bool = True) -> Callable[[int], Drawn]:
    """60 participants who differ, 20 decisions each, who keep their arm or whose arm is drawn each time."""

    def draw(seed: int) -> Drawn:
        rng = np.random.default_rng(seed)
        arm, own = rng.integers(2, size=60).repeat(20), rng.normal(size=60).repeat(20) * 0.5
        if not keep:
            arm = rng.integers(2, size=1200)
        reward = 0.3 + 0.3 * arm + own + 0.1 * rng.normal(size=1200)
        contexts = [{"user": f"u{place // 20}"} for place in range(1200)]
        data = DecisionLog(contexts, ["ab"[k] for k in arm], reward, np.full(1200, 0.5))
        return Drawn(data, np.tile([0.0, 1.0], (1200, 1)), 0.6, unit)

    return draw


def own(window: Window | None, delay_hours: float) -> Callable[[int], Drawn]:
    """An own log of which only conversions are posted, 2,000 decisions of a fair coin in 1,000 hours."""

    def draw(seed: int) -> Drawn:
        rng = np.random.default_rng(seed)
        decisions: list[dict[str, Any]] = []
        rewards: list[dict[str, Any]] = []
        for number in range(2000):
            date = NOW - (2000 - number) * HOUR_MS // 2
            row = {"advice_id": f"i{number}", "action": {"arm": "ab"[rng.integers(2)]}, "propensity": 0.5}
            decisions.append({**row, "date_ms": date})
            came = date + int(rng.exponential(delay_hours) * HOUR_MS)
            if (
                rng.random() < 0.2
                and came <= NOW
                and (window is None or came < date + window.hours * HOUR_MS)
            ):
                rewards.append({**row, "reward": {"value": 1}, "date_ms": came})
        data = from_logs(decisions, rewards, window=window)
        share = 1.0 if window is None else 1 - float(np.exp(-window.hours / delay_hours))
        return Drawn(data, np.tile([0.2, 0.8], (len(data), 1)), 0.2 * share)

    return draw


def misspecified(seed: int) -> Drawn:
    """Rewards are a parabola in a number, arms were logged by its sign; the reward model is linear in it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=1000)
    first = np.where(x > 0.5, 0.9, 0.1)
    arm = (rng.random(1000) >= first).astype(int)
    reward = np.where(arm == 0, 2 * x**2, 0.0) + 0.3 * rng.normal(size=1000)
    p = np.where(arm == 0, first, 1 - first)
    data = DecisionLog([{"x": float(v)} for v in x], ["ab"[k] for k in arm], reward, p)
    return Drawn(data, np.tile([1.0, 0.0], (1000, 1)), 2.0)


KINDS: Final[dict[str, Callable[[int], Drawn]]] = {
    "independent": iid,
    "rare rewards": rare,
    "adaptive": thompson(0.0),
    "adaptive, floor 0.05": thompson(0.05),
    "clustered, no unit": clustered(None),
    "clustered, unit": clustered("user"),
    "arm drawn anew, no unit": clustered(None, keep=False),
    "arm drawn anew, unit": clustered("user", keep=False),
    "missing": own(None, 1.0),
    "delayed, default reward": own(Window(24, {"value": 0}, NOW), 6.0),
    "wrong reward model": misspecified,
}


def estimates(drawn: Drawn, seed: int) -> list[Estimate]:
    """As the service gives them."""
    data, known = drawn.data, drawn.data.rewarded
    rewarded = data if known.all() else data.take(np.flatnonzero(known))
    arms = sorted(set(data.actions)) if len(set(data.actions)) == drawn.target.shape[1] else None
    labels = arms or [str(place) for place in range(drawn.target.shape[1])]
    sample = prepare(rewarded, labels, drawn.target[known], seed=seed, unit_field=drawn.unit)
    found = evaluate(sample, NAMES, resamples=2, seed=seed)
    if not known.all():
        found = missing.bounded(found, data, labels, drawn.target, seed=seed)
    told = drawn.unit is None and units.doubt(rewarded) is not None
    return [_warned(one) if told else one for one in found.estimates]


def _warned(one: Estimate) -> Estimate:
    return msgspec.structs.replace(one, warnings=("by unit", *one.warnings))


class Cell(NamedTuple):
    """Of one estimator on one kind of log."""

    covered: float
    bias: float
    warned: float
    given: float

    @property
    def fine(self) -> bool:
        """Whether it holds or says that it may not."""
        return not self.given or self.covered >= 0.92 or self.warned >= 0.95

    def __str__(self) -> str:
        if not self.given:
            return "none"
        covered = f"{self.covered:.0%}".replace("%", " %")
        return f"{covered}, {self.bias:+.3f}, {self.warned:.0%}".replace("%", " %").replace("  %", " %")


def cells(kind: str, repetitions: int) -> Iterator[Cell]:
    """Of all estimators in their order."""
    found = [(estimates(drawn := KINDS[kind](seed), seed), drawn.truth) for seed in range(repetitions)]
    for place in range(len(NAMES)):
        each = [(one[place], truth) for one, truth in found]
        held = [e.interval.low <= truth <= e.interval.high for e, truth in each if e.interval is not None]
        errors = [e.value - truth for e, truth in each if e.value is not None]
        warned = [bool(e.warnings) or e.interval is None for e, _ in each]
        yield Cell(
            float(np.mean(held)) if held else np.nan,
            float(np.mean(errors)) if errors else np.nan,
            float(np.mean(warned)),
            len(held) / len(each),
        )


def main() -> int:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.coverage", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=300, help="of each kind of log")
    parser.add_argument("--only", action="append", choices=KINDS, help="this kind; may be repeated")
    options = parser.parse_args()
    print("| log | " + " | ".join(f"`{name}`" for name in NAMES) + " |")
    print("|---" * (1 + len(NAMES)) + "|")
    wrong = 0
    for kind in options.only or KINDS:
        row = list(cells(kind, options.repetitions))
        wrong += sum(not cell.fine for cell in row)
        print(f"| {kind} | " + " | ".join(map(str, row)) + " |", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
