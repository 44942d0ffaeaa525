"""Curves of replications as means with intervals, shares of arms, regret, and paired differences."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from streamsim.errors import BadRequest
from streamsim.evaluation.intervals import Band, mean_interval, paired_difference
from streamsim.evaluation.logs import MAX_ARMS
from streamsim.evaluation.simulation import Curve, arrays

LEVEL = 0.95


class Bands(msgspec.Struct, frozen=True):
    """A mean and its 95 % interval (Student's t over replications) at each point; null where unknown."""

    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]


class Summary(msgspec.Struct, frozen=True):
    """One policy. `reward`: cumulative; `regret`: cumulative, None if the environment does not declare it.

    `arms`: for each arm its share of the decisions since the point before, averaged over replications.
    """

    reward: Bands
    regret: Bands | None
    arms: dict[str, list[float]]


class Difference(msgspec.Struct, frozen=True):
    """Cumulative reward of `first` less that of `second`, paired by replication.

    `simultaneous`: the intervals that hold for all pairs together with 95 % (Bonferroni), at each point.
    """

    first: str
    second: str
    reward: Bands
    simultaneous: Bands


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Policies in one environment. `points`: numbers of draws at which everything else is given."""

    points: list[int]
    replications: int
    seed: int
    policies: dict[str, Summary]
    differences: list[Difference]
    level: float = LEVEL


def compare(
    points: Sequence[int], curves: Mapping[str, Sequence[Curve]], *, replications: int, seed: int
) -> Comparison:
    """:param curves: of each policy, its replications in order of their number."""
    rewards = {name: arrays(some, "reward") for name, some in curves.items()}
    pairs = list(itertools.combinations(curves, 2))
    return Comparison(
        points=list(points),
        replications=replications,
        seed=seed,
        policies={name: summary(points, some) for name, some in curves.items()},
        differences=[
            Difference(
                first,
                second,
                *(
                    _bands(paired_difference(rewards[first], rewards[second], level))
                    for level in (LEVEL, 1 - (1 - LEVEL) / max(len(pairs), 1))
                ),
            )
            for first, second in pairs
        ],
    )


def summary(points: Sequence[int], curves: Sequence[Curve]) -> Summary:
    """One policy's replications as a summary."""
    regret = arrays(curves, "regret")
    return Summary(
        _bands(mean_interval(arrays(curves, "reward"), LEVEL)),
        None if np.isnan(regret).any() else _bands(mean_interval(regret, LEVEL)),
        _shares(points, curves),
    )


def _shares(points: Sequence[int], curves: Sequence[Curve]) -> dict[str, list[float]]:
    """:raises BadRequest: more arms than can be told apart, as where an action holds a random number."""
    counts: dict[str, list[int]] = {}
    for curve in curves:
        for place, some in enumerate(curve.arms):
            for arm, count in some.items():
                if arm not in counts:
                    if len(counts) >= MAX_ARMS:
                        raise BadRequest(
                            f"a policy takes more than {MAX_ARMS} different arms; name the field of its "
                            "action that is the arm",
                            field="action_field",
                        )
                    counts[arm] = [0] * len(points)
                counts[arm][place] += count
    gaps = (np.diff(points, prepend=0) * len(curves)).tolist()
    return {
        arm: [count / gap for count, gap in zip(counts[arm], gaps, strict=True)] for arm in sorted(counts)
    }


def _bands(band: Band) -> Bands:
    return Bands(*(_known(figures) for figures in band))


def _known(figures: Any) -> list[float | None]:
    return [float(figure) if math.isfinite(figure) else None for figure in figures]


def to_csv(comparison: Comparison) -> str:
    """One line for each policy, figure and point: policy, figure, draws, mean, low, high."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("policy", "figure", "draws", "mean", "low", "high"))

    def add(name: str, figure: str, bands: Bands) -> None:
        for row in zip(comparison.points, bands.mean, bands.low, bands.high, strict=True):
            writer.writerow((cell(name), cell(figure), *("" if item is None else item for item in row)))

    for name, policy in comparison.policies.items():
        add(name, "cumulative reward", policy.reward)
        if policy.regret is not None:
            add(name, "cumulative regret", policy.regret)
        for arm, shares in policy.arms.items():
            for point, share in zip(comparison.points, shares, strict=True):
                writer.writerow((cell(name), cell(f"share of {arm}"), point, share, "", ""))
    for one in comparison.differences:
        add(f"{one.first} minus {one.second}", "difference in cumulative reward", one.reward)
        if len(comparison.differences) > 1:
            add(
                f"{one.first} minus {one.second}",
                "difference in cumulative reward, all pairs together",
                one.simultaneous,
            )
    return text.getvalue()


def cell(text: str) -> str:
    """A text as a cell of CSV."""
    # A spreadsheet takes a text that begins so for a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
