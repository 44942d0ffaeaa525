"""Inference about a running experiment, from rows of its own logs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from streamsim import values
from streamsim.dates import HOUR_MS
from streamsim.decisions.arms import label
from streamsim.decisions.declared import Family
from streamsim.errors import BadRequest
from streamsim.evaluation import drift, units
from streamsim.evaluation.inference.asked import Asked
from streamsim.evaluation.inference.beside import Beside, choice_of
from streamsim.evaluation.inference.effects import Decisions, of_arms
from streamsim.evaluation.inference.moments import Moments
from streamsim.evaluation.inference.posterior import ENOUGH, LEAST, Beta, Posterior, Student, judge
from streamsim.evaluation.inference.report import (
    ArmPosterior,
    Bayes,
    Fixed,
    Inference,
    Levels,
    Segment,
    Shadowed,
    Value,
    sentence,
)
from streamsim.evaluation.intervals import Floats
from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.own_log import Window, from_logs, with_rewards

MAX_ARMS: Final = 100
_TOLERANCE: Final = 1e-3
NO_END: Final = "none: they hold at one end alone, which is fixed before the first look; name it as until"
_NO_UNIT: Final = " Name the field as unit."

Row = Mapping[str, Any]


def examine(decisions: Sequence[Row], rewards: Sequence[Row], asked: Asked) -> Inference:
    """The whole answer.

    :param decisions: rows of the action log, oldest first, each with its `date_ms`; so for rewards.
    :raises BadRequest: naming the parameter: there is no such arm, reward or field, or too many arms.
    """
    if asked.metric is not None:
        rewards = of_metric(rewards, asked.metric)
    here = with_rewards([dict(row) for row in decisions], rewards, asked.most)
    complete = len(decisions) < asked.most and len(rewards) < asked.most
    default = asked.default_reward if asked.metric is None else None
    window = Window(asked.window_hours, default, asked.now_ms)
    log = from_logs(
        here, rewards, action_field=asked.arm_field, reward_field=asked.reward_field, window=window
    )
    until = math.inf if asked.until_ms is None else asked.until_ms
    log, kept, unrewarded = drawn(log, here, until)
    shadow = _shadow(log, here, asked)
    arms = arms_of(log, asked.arms)
    control = control_of(asked.control, asked.usual_control, arms)
    check(log.rewards, asked)
    chance = chances(log, arms)
    lacking: NDArray[np.bool_] = np.isnan(chance.sum(axis=1))
    first = int(lacking.argmin()) if len(lacking) and not lacking.all() else len(lacking)
    why = why_none(int(lacking.sum()), first, len(log))
    log = log.take(np.arange(first, len(log)))
    data = Decisions(log.index(arms), log.rewards, chance[first:], arms)
    parts = _parts(log, asked)
    levels = levels_of(asked, arms)
    said, fixed = _fixed(asked, log.waiting)
    found = answer_of(
        asked,
        control,
        levels,
        rows={
            "decisions": len(log),
            "without_probabilities": int(lacking.sum()),
            "unrewarded": unrewarded,
            "waiting": log.waiting,
            "defaulted": log.defaulted,
            "unusable": log.unusable,
            "read": len(decisions) + len(rewards),
            "complete": complete,
        },
        fixed_time=said,
        warnings=warnings_of(log, asked, unrewarded, kept, complete=complete),
    )
    if fixed:
        found.warnings += _drifting(log, here)
    found.other_segments = max(0, len(parts) - asked.segments)
    found.shadow = shadow
    if why is not None:
        found.warnings.insert(0, why)
        return found
    if control is not None:
        for value, rows in list(parts.items())[: asked.segments if asked.by else 1]:
            part = _segment(value, data.take(rows), control, levels, asked, fixed=fixed, complete=complete)
            found.segments.append(part)
    return found


def drawn(log: DecisionLog, here: Sequence[Row], until: float = math.inf) -> tuple[DecisionLog, int, int]:
    """The decisions that were drawn and have a reward, in order; how many were kept by units, and how many
    have no reward. :param here: the rows of all decisions. :param until: those before that date alone."""
    known = [n for n, place in enumerate(log.places) if place >= 0 and here[place]["date_ms"] < until]
    # In order of decision, not of reward: only so a probability rests on what came before it alone.
    known.sort(key=lambda n: log.places[n])
    kept = len(known)
    known = [n for n in known if here[log.places[n]].get("decided_by") is None]
    kept -= len(known)
    unrewarded = sum(math.isnan(log.rewards[n]) for n in known)
    return log.take([n for n in known if not math.isnan(log.rewards[n])]), kept, unrewarded


def arms_of(log: DecisionLog, more: Iterable[str]) -> list[str]:
    """All arms that are drawn, told of, or more, in order of their labels. :raises BadRequest: too many."""
    arms = sorted(set(log.actions).union(more, *[told for told in log.told if told]))
    if len(arms) > MAX_ARMS:
        raise BadRequest(
            f"there are {len(arms)} different actions, at most {MAX_ARMS} are compared: name the field of "
            "the action that is the arm in the experiment's arm_field",
            field="arm_field",
        )
    return arms


def levels_of(asked: Asked, arms: Sequence[str]) -> Levels:
    """What each interval may err."""
    share = asked.alpha / (1 if asked.by is None else asked.segments)
    return Levels(share, share / max(len(arms) - 1, 1))


def answer_of(
    asked: Asked,
    control: str | None,
    levels: Levels,
    *,
    rows: dict[str, int | bool],
    fixed_time: str,
    warnings: list[str],
) -> Inference:
    """An answer without segments."""
    return Inference(
        control=control,
        alpha=asked.alpha,
        each_alpha=levels,
        method="asymptotic" if asked.bounds is None else "betting",
        bounds=asked.bounds,
        horizon=asked.horizon,
        by=asked.by,
        rows=rows,
        fixed_time=fixed_time,
        other_segments=0,
        segments=[],
        warnings=warnings,
    )


def _shadow(log: DecisionLog, here: Sequence[Row], asked: Asked) -> Shadowed | UnsetType:
    """What is told of decisions with one of the code in their shadow, if there are."""
    found = Beside()
    for n, place in enumerate(log.places):
        if (shadow := here[place].get("shadow")) is not None:
            try:
                choice = choice_of(log.given[n][0], float(log.propensities[n]), shadow, asked.arm_field)
            except values.InvalidValue:
                continue
            found.add(*choice, float(log.rewards[n]))
    if not found.n:
        return UNSET
    why, share = found.why_not(asked.alpha), found.same / found.n
    told = Shadowed(found.n, share, found.baseline, reason=why)
    if why is None:
        value, gain = found.value(asked.alpha), found.difference(asked.alpha)
        assert value is not None
        assert gain is not None
        told.value, told.difference = (Fixed(one.estimate, one.low, one.high) for one in (value, gain))
    return told


def of_metric(rewards: Sequence[Row], metric: str) -> list[Row]:
    """The rewards that came with a metric, which stands in for the reward. :raises BadRequest: none did."""
    found = with_metric(rewards, metric)
    if rewards and not found:
        raise no_metric(metric)
    return found


def with_metric(rewards: Iterable[Row], metric: str) -> list[Row]:
    """The rewards that came with a metric, which stands in for the reward."""
    return [
        {**row, "reward": row["metrics"][metric]} for row in rewards if metric in (row.get("metrics") or {})
    ]


def no_metric(metric: str) -> BadRequest:
    """That no reward came with it."""
    return BadRequest(f"no reward came with the metric {metric!r}", field="metric")


def _segment(
    value: str | None,
    data: Decisions,
    control: str,
    levels: Levels,
    asked: Asked,
    *,
    fixed: bool,
    complete: bool,
) -> Segment:
    place = data.arms.index(control)
    means, differences = of_arms(data, place, levels, asked.bounds, asked.horizon, fixed=fixed)
    moments = [Moments() for _ in data.arms]
    for number, one in enumerate(moments):
        one.add(data.reward[data.action == number])
    return segment_of(value, len(data), means, differences, moments, control, asked, complete=complete)


def segment_of(
    value: str | None,
    n: int,
    means: list[Value],
    differences: list[Value],
    moments: Sequence[Moments],
    control: str,
    asked: Asked,
    *,
    complete: bool,
) -> Segment:
    """What is told of n decisions. :param moments: of the rewards of each arm."""
    arms = [one.arm for one in means]
    bayes = None if asked.rewards is None else bayes_of(arms, moments, asked.rewards)
    sure = f"with {1 - asked.alpha:.4g} at {'every' if complete else 'this'} look"
    return Segment(value, n, means, differences, bayes, sentence(differences, control, sure, bayes))


def control_of(asked: str | None, usual: str | None, arms: Sequence[str]) -> str | None:
    """The arm that others are compared with: by default the declared one, or the first by name."""
    if asked is not None and asked not in arms:
        shown = ", ".join(arms[:10])
        raise BadRequest(f"control must be an arm of the log ({shown or 'it has none yet'})", field="control")
    if asked is None and usual in arms:
        return usual
    return asked if asked is not None else arms[0] if arms else None


def check(reward: Floats, asked: Asked) -> None:
    if asked.rewards == "bernoulli" and not np.isin(reward, (0.0, 1.0)).all():
        raise BadRequest("rewards are not all 0 or 1, as bernoulli says", field="rewards")
    if asked.bounds is not None and len(reward):
        least, most = float(reward.min()), float(reward.max())
        if least < asked.bounds[0] or most > asked.bounds[1]:
            raise BadRequest(
                f"there are rewards from {least:g} to {most:g}: outside of low and high", field="low"
            )


def chances(log: DecisionLog, arms: Sequence[str]) -> Floats:
    """n x K probabilities of the arms, NaN in rows where they are not known or no distribution; with two
    arms, one tells the other."""
    result = np.full((len(log), len(arms)), math.nan)
    places = {arm: place for place, arm in enumerate(arms)}
    told = log.told or [None] * len(log)
    for n, (row, action, propensity) in enumerate(zip(told, log.actions, log.propensities, strict=True)):
        if row is None:
            if len(arms) == 2:
                result[n] = 1 - propensity
                result[n, places[action]] = propensity
            continue
        figures = np.zeros(len(arms))
        for arm, chance in row.items():
            figures[places[arm]] = chance
        taken = figures[places[action]]
        right = abs(figures.sum() - 1) <= _TOLERANCE and (figures >= 0).all() and taken > 0
        if right and not abs(taken - propensity) > _TOLERANCE:
            result[n] = figures
    return result


def why_none(lacking: int, first: int, n: int) -> str | None:
    """Why there are no figures. Decisions from before probabilities were logged are left out; later ones may
    lack them because of what was drawn."""
    if lacking == n:
        return (
            "No rewarded decision has the probabilities of all arms: nothing is told rather than something "
            "wrong. Let get_action set self.action_probabilities, or set log_propensity in the experiment."
            if n
            else "There are no decisions with a reward yet."
        )
    if lacking > first:
        return (
            f"{lacking - first:,} of {n - first:,} decisions lack the probabilities of all arms, or have "
            "some that do not sum to 1 or are not that of the arm that was taken: nothing is told rather "
            "than something wrong."
        )
    return None


def _parts(log: DecisionLog, asked: Asked) -> dict[str | None, Any]:
    """The rows of each segment, in order of first appearance, which later decisions do not change."""
    if asked.by is None:
        return {None: np.arange(len(log))}
    found: dict[str | None, list[int]] = {}
    for n, context in enumerate(log.contexts):
        if asked.by in context:
            found.setdefault(label(context[asked.by]), []).append(n)
    if len(log) and not found:
        raise BadRequest(f"no context has the field {asked.by!r}", field="by")
    return {value: np.array(rows) for value, rows in found.items()}


def _drifting(log: DecisionLog, here: Sequence[Row]) -> list[str]:
    """A warning if rewards of an arm changed: adaptive weights are then those of no mean in particular.

    :param here: the rows of all decisions.
    """
    series: dict[str, tuple[Floats, list[int]]] = {}
    for arm in log.arms:
        rows = [n for n, action in enumerate(log.actions) if action == arm]
        series[f"arm {arm[:50]}"] = log.rewards[rows], [here[log.places[n]]["date_ms"] for n in rows]
    seen = drift.of_series("reward_drift", "rewards of an arm", series)
    if seen.ok:
        return []
    return [
        f"{seen.sentence} With constant and two_point, times at which an arm was likely weigh more, and "
        "their differences compare different times: read uniform, which is of the mean over all the time."
    ]


def _fixed(asked: Asked, waiting: int) -> tuple[str, bool]:
    if asked.until_ms is None:
        return NO_END, False
    if asked.until_ms > asked.now_ms:
        return "none: until has not come yet", False
    if waiting and asked.until_ms + asked.window_hours * HOUR_MS > asked.now_ms:
        return "none: rewards may still come for some of the decisions", False
    return "given: right only if until was fixed before anyone looked", True


def warnings_of(log: DecisionLog, asked: Asked, unrewarded: int, kept: int, *, complete: bool) -> list[str]:
    said = []
    if log.aside:
        said.append(
            f"{log.aside:,} decisions that a fallback, the ramp or the holdout took are left out: no other "
            "arm could have been drawn."
        )
    if kept:
        said.append(
            f"{kept:,} decisions in which a unit kept its action are left out: its first one alone was drawn."
        )
    if not complete:
        said.append(
            f"These are the newest {asked.most:,} rows of a longer log (evaluation.log_rows): they begin "
            "elsewhere at each look, so that the intervals hold for this look alone."
        )
    if unrewarded:
        said.append(
            f"{unrewarded:,} decisions without a reward are left out: if rewards are missing because of what "
            "they would be, all figures are wrong. Post 0 as well, or give the experiment a default_reward."
        )
    if log.matched:
        said.append(
            f"{log.matched:,} rewards without advice id were given to the oldest decision with their context "
            "and action."
        )
    if log.runs and any(log.runs):
        said.append(
            f"Probabilities were estimated from {min(run for run in log.runs if run):,} runs or more and are "
            "taken as exact: small ones are not."
        )
    if (doubt := units.doubt(log)) is not None:
        said.append(doubt.removesuffix(_NO_UNIT))
    return said


def bayes_of(arms: Sequence[str], moments: Sequence[Moments], family: Family) -> Bayes:
    """What posteriors say. :param moments: of the rewards of each arm."""
    found: list[Posterior] = []
    for arm, one in zip(arms, moments, strict=True):
        if family == "bernoulli":
            found.append(Beta(one.total, one.n - one.total))
            continue
        if one.n < LEAST or one.deviations <= 0:
            return Bayes(reason=f"{arm} has {one.n} rewards; a normal mean needs {LEAST}, not all alike.")
        found.append(Student(one.n, one.mean, one.deviations))
    told = judge(found)
    figures = zip(arms, told.means, told.best, told.loss, strict=True)
    enough = told.remaining is not None and told.remaining < ENOUGH
    return Bayes([ArmPosterior(*one) for one in figures], arms[told.champion], told.remaining, enough)
