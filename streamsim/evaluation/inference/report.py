"""The answer about an experiment's arms: its figures, its sentences, and its form as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from streamsim.evaluation.compare import cell
from streamsim.evaluation.inference.posterior import ENOUGH

Method = Literal["betting", "asymptotic"]


class Fixed(msgspec.Struct, frozen=True):
    """An estimate with its interval for one look, at an end that was fixed before."""

    estimate: float
    low: float
    high: float


class Value(msgspec.Struct):
    """The mean reward had one arm always been played, or its difference to the control's.

    `draws`: of the arm. `estimate`, `low`, `high`: with the interval that holds at every look. `constant`,
    `two_point` and `uniform`: for one look, with those weights. All None where `reason` says why nothing is
    told.
    """

    arm: str
    draws: int
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    constant: Fixed | None = None
    two_point: Fixed | None = None
    uniform: Fixed | None = None
    reason: str | None = None


class ArmPosterior(msgspec.Struct, frozen=True):
    """`best`: the probability that no arm has a larger mean; `loss`: what is expected to be lost with it."""

    arm: str
    mean: float
    best: float
    loss: float


class Bayes(msgspec.Struct):
    """What the posteriors say. `remaining`: with 95 %, no arm is better than the champion by a larger part of
    its mean; `enough`: whether that is under 1 %. `reason`: why there are no figures."""

    arms: list[ArmPosterior] = []
    champion: str | None = None
    remaining: float | None = None
    enough: bool = False
    reason: str | None = None


class Segment(msgspec.Struct):
    """All decisions, or those with one value of a field of contexts."""

    value: str | None
    decisions: int
    arms: list[Value]
    differences: list[Value]
    bayes: Bayes | None
    sentence: str


class Levels(msgspec.Struct, frozen=True):
    """What each interval may err: of an arm, and of a difference."""

    arm: float
    difference: float


class Shadowed(msgspec.Struct):
    """Decisions with one of the code in their shadow. `agreement`: the share in which both took the same arm;
    `baseline`: the mean reward of what was served; `value`: what the code would have earned for a decision,
    and `difference` that less the baseline, by sequences that hold at every look; or the `reason` for none.
    """

    decisions: int
    agreement: float
    baseline: float | None
    value: Fixed | None = None
    difference: Fixed | None = None
    reason: str | None = None


class Inference(msgspec.Struct):
    """The whole answer. `rows`: what it rests on. `method`: which sequences are in force; `fixed_time`:
    whether there are intervals for one look, or why not. `other_segments`: values that are not shown.
    `shadow`: if there are decisions with one."""

    control: str | None
    alpha: float
    each_alpha: Levels
    method: Method
    bounds: tuple[float, float] | None
    horizon: int
    by: str | None
    rows: dict[str, int | bool]
    fixed_time: str
    other_segments: int
    segments: list[Segment]
    warnings: list[str]
    shadow: Shadowed | UnsetType = UNSET


def sentence(differences: Sequence[Value], control: str, sure: str, bayes: Bayes | None) -> str:
    """What to do. :param sure: how sure it is."""
    said = [_by_intervals(differences, control, sure)]
    if bayes is not None and bayes.reason is None:
        said.append(_by_posteriors(bayes))
    return " ".join(said)


def _by_intervals(differences: Sequence[Value], control: str, sure: str) -> str:
    told = [one for one in differences if one.low is not None and one.high is not None]
    if not told:
        reason = next((one.reason for one in differences if one.reason), "There is one arm alone.")
        return f"No difference to {control} can be told. {reason}"
    better = [one for one in told if one.low is not None and one.low > 0]
    worse = [one for one in told if one.high is not None and one.high < 0]
    rest = [one.arm for one in differences if one not in better and one not in worse]
    if better:
        best = max(better, key=lambda one: one.low or 0.0)
        text = f"Play {best.arm} rather than {control}: it earns {_range(best)} more, {sure}."
        if len(better) > 1:
            others = _listed([one.arm for one in better if one is not best])
            text += f" More than {control} earn {others}, too; which of them is best is open."
    elif worse and not rest:
        return f"Keep {control} and stop: {_listed([one.arm for one in worse])} earn less, {sure}."
    else:
        text = f"Go on: no arm earns surely more than {control} ({sure})."
    if worse:
        text += f" Give up {_listed([one.arm for one in worse])}: less than {control}, {sure}."
    if rest:
        widest = [one for one in told if one.arm in rest]
        span = f" (the difference of {widest[0].arm} is {_range(widest[0])})" if widest else ""
        text += f" Open: {_listed(rest)}{span}."
    return text


def _by_posteriors(bayes: Bayes) -> str:
    best = next(one.best for one in bayes.arms if one.arm == bayes.champion)
    text = f"As declared, {bayes.champion} is the best arm with probability {best:.3g}"
    if bayes.remaining is None:
        return f"{text}; its mean may be 0, so that no part of it remains to be told."
    do = "stopping costs little" if bayes.enough else "going on may pay"
    under = "under" if bayes.enough else "not under"
    return (
        f"{text}, and with 95 % no arm earns over {bayes.remaining:.2%} more: {under} {ENOUGH:.0%}, so {do}."
    )


def _range(one: Value) -> str:
    return f"{one.estimate:.4g} ({one.low:.4g} to {one.high:.4g})"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} others" if len(names) > 5 else shown


HEADER = (
    *("segment", "figure", "arm", "control", "draws", "estimate", "low", "high"),
    *("constant_estimate", "constant_low", "constant_high"),
    *("two_point_estimate", "two_point_low", "two_point_high"),
    *("uniform_estimate", "uniform_low", "uniform_high", "best", "loss", "reason"),
)


def to_csv(found: Inference) -> str:
    """One line for each segment's arms and differences; the columns are `HEADER`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for part in found.segments:
        posteriors = {one.arm: (one.best, one.loss) for one in part.bayes.arms} if part.bayes else {}
        for figure, some in (("mean", part.arms), ("difference", part.differences)):
            for one in some:
                of_arm = figure == "mean"
                row = (
                    cell(part.value or ""),
                    figure,
                    cell(one.arm),
                    "" if of_arm else cell(found.control or ""),
                    one.draws,
                    *(one.estimate, one.low, one.high),
                    *_flat(one.constant),
                    *_flat(one.two_point),
                    *_flat(one.uniform),
                    *(posteriors.get(one.arm, (None, None)) if of_arm else (None, None)),
                    cell(one.reason or ""),
                )
                writer.writerow(["" if item is None else item for item in row])
    return text.getvalue()


def _flat(one: Fixed | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if one is None else (one.estimate, one.low, one.high)
