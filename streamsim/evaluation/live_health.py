"""The health of a live experiment, from the newest rows of its logs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from streamsim import values
from streamsim.dates import HOUR_MS
from streamsim.decisions.arms import arm_of, reward_of
from streamsim.decisions.gathering import window_hours
from streamsim.evaluation import drift, health, units
from streamsim.evaluation.health import Check
from streamsim.evaluation.intervals import Floats, Ints, wilson
from streamsim.evaluation.logs import MAX_ARMS, DecisionLog

DEFAULT_ROWS: Final = 10_000
MAX_ROWS: Final = 100_000
_DOSES: Final = 20
STUCK: Final = 20
"""So many failed decisions in a row are no accident."""

Row = Mapping[str, Any]


def examine(
    decisions: Sequence[Row],
    rewards: Sequence[Row],
    errors: Sequence[Row],
    properties: Mapping[str, Any],
    now_ms: int,
    unit: str | None = None,
) -> dict[str, Any]:
    """All checks.

    :param decisions: rows of the action log, each with its `date_ms`; so for rewards and errors.
    :param unit: the field of contexts that names the unit; by default one that is found to keep its arm.
    """
    since = decisions[0]["date_ms"] if decisions else 0
    # What else decided drew no arm now.
    drawn = [row for row in decisions if row.get("decided_by") is None]
    rewards = [row for row in rewards if row["date_ms"] >= since]
    errors = [row for row in errors if row["date_ms"] >= since]
    checks = [
        *_of_arms(drawn, properties.get("arm_field"), unit),
        _of_rewards(decisions, rewards, properties, now_ms),
        health.error_rate(len(errors), len(decisions) + len(rewards) + len(errors)),
        _of_state(decisions, rewards, errors),
        *_of_drift(drawn, rewards, properties, unit),
    ]
    return {
        "ok": all(check.ok for check in checks),
        "decisions": len(decisions),
        "checks": [msgspec.to_builtins(check) for check in checks],
    }


def _of_state(decisions: Sequence[Row], rewards: Sequence[Row], errors: Sequence[Row]) -> Check:
    """Whether decisions go on: not ok once the newest `STUCK` all failed, and a reward came before them."""
    last = decisions[-1]["date_ms"] if decisions else 0
    failed = [row for row in errors if row.get("call") == "getaction" and row["date_ms"] >= last]
    detail = {"failed": len(failed)}
    if len(failed) < STUCK:
        return Check("stuck", float(len(failed)), None, True, "Decisions go on.", detail)
    learnt = any(row["date_ms"] <= failed[-STUCK]["date_ms"] for row in rewards)
    sentence = f"The newest {len(failed):,} decisions all failed: {failed[-1].get('message', '')}"
    if learnt:
        sentence += (
            ". Rewards came before them: theta may be one that get_action cannot live with; look at it, "
        )
        sentence += "and reset the part at fault."
    return Check("stuck", float(len(failed)), None, False, sentence, detail)


def _of_drift(
    decisions: Sequence[Row], rewards: Sequence[Row], properties: Mapping[str, Any], unit: str | None
) -> list[Check]:
    """Whether contexts, and rewards within arms, have changed, and whether all arms are still tried."""
    field = properties.get("arm_field")
    labels: dict[int, str] = {}
    for place, row in enumerate(decisions):
        try:
            labels[place] = arm_of(row["action"], field, row.get("probabilities"))
        except values.InvalidValue:
            continue
    places = list(labels) if unit is None else _firsts(decisions, list(labels), unit)
    rows = [decisions[place] for place in places]
    when = [row["date_ms"] for row in rows]
    came: dict[object, float] = {}
    for row in rewards:
        if "advice_id" in row and not (row.get("part") or row.get("late")):
            try:
                came.setdefault(row["advice_id"], reward_of(row.get("reward"), _reward_field(properties)))
            except values.InvalidValue:
                continue
    by_arm: dict[str, tuple[list[float], list[int]]] = {}
    for place, row in zip(places, rows, strict=True):
        if (reward := came.get(row.get("advice_id"))) is not None:
            figures, days = by_arm.setdefault(f"arm {labels[place][:50]}", ([], []))
            figures.append(reward)
            days.append(row["date_ms"])
    series = {arm: (np.array(figures), days) for arm, (figures, days) in by_arm.items()}
    told = [decisions[place].get("probabilities") or {} for place in labels]
    return [
        drift.of_series("reward_drift", "rewards of an arm", dict(list(series.items())[:MAX_ARMS])),
        drift.of_series(
            "context_drift", "contexts", drift.context_series([row.get("context") for row in rows], when)
        ),
        drift.collapse(list(labels.values()), told),
    ]


def _reward_field(properties: Mapping[str, Any]) -> str | None:
    field: str | None = (properties.get("rewards") or {}).get("field")
    return field


def _firsts(decisions: Sequence[Row], places: Sequence[int], unit: str) -> list[int]:
    """The first decision of each unit: those of one unit are not independent."""
    first: dict[bytes, int] = {}
    for place in places:
        context = decisions[place].get("context")
        if isinstance(context, dict) and unit in context:
            first.setdefault(values.dump_sorted(context[unit]), place)
    return list(first.values())


def _of_arms(decisions: Sequence[Row], arm_field: str | None, unit: str | None) -> list[Check]:
    labels: list[str] = []
    rows: list[Row] = []
    nameless, why = 0, ""
    for row in decisions:
        try:
            labels.append(arm_of(row["action"], arm_field, row.get("probabilities")))
            rows.append(row)
        except values.InvalidValue as error:
            # An action that names no arm has no share in these checks.
            nameless, why = nameless + 1, str(error)
    told = [row.get("probabilities") or {} for row in rows]
    arms = sorted(set(labels).union(*told))
    if (doses := _doses(labels, told)) is not None:
        return [_of_doses(doses)]
    propensity = np.array([_number(row) for row in rows])
    sums = np.array([math.fsum(p.values()) if p else math.nan for p in told])
    checks = [health.propensities(propensity, sums)]
    if nameless:
        sentence = f"Of {len(decisions):,} decisions {nameless:,} name no arm: {why}."
        checks.append(Check("arm_field", nameless / len(decisions), None, False, sentence))
    if not rows or len(arms) > MAX_ARMS:
        sentence = (
            f"Arms cannot be checked: there are {len(arms)} different actions."
            if rows
            else "Arms cannot be checked: no decision names one."
        )
        return [*checks, Check("sample_ratio", None, None, True, sentence)]
    places = {arm: place for place, arm in enumerate(arms)}
    action = np.array([places[label] for label in labels])
    probabilities: Floats = np.full((len(rows), len(arms)), math.nan)
    for number, p in enumerate(told):
        if p:
            probabilities[number] = 0.0
            for arm, probability in p.items():
                probabilities[number, places[arm]] = probability
    if np.isnan(probabilities).all() and not np.isnan(propensity).any():
        constant = health.constant_probabilities(action, propensity, len(arms))
        probabilities = probabilities if constant is None else constant
    counts = dict(zip(arms, np.bincount(action, minlength=len(arms)).tolist(), strict=True))
    return [
        *checks,
        _of_ratio(rows, labels, propensity, action, probabilities, arms, unit),
        health.arms_never_picked(counts, probabilities),
    ]


def _of_ratio(
    decisions: Sequence[Row],
    labels: list[str],
    propensity: Floats,
    action: Ints,
    probabilities: Floats,
    arms: Sequence[str],
    unit: str | None,
) -> Check:
    """Whether arms were picked as their probabilities say: by unit, the one found where none is named."""
    given = [row.get("context") for row in decisions]
    contexts: list[dict[str, Any]] = [one if isinstance(one, dict) else {} for one in given]
    log = DecisionLog(contexts, labels, np.zeros(len(labels)), propensity)
    field = units.repeated(log) if unit is None else unit
    if field is None:
        return health.sample_ratio_mismatch(action, probabilities, arms)
    first: dict[bytes, int] = {}
    for number, context in enumerate(contexts):
        if field in context:
            first.setdefault(values.dump_sorted(context[field]), number)
    rows = list(first.values())
    if not rows:
        sentence = f"Arm counts cannot be checked: no context has the field {field!r} that names the unit."
        return Check("sample_ratio", None, None, True, sentence, {"unit": field})
    check = health.sample_ratio_mismatch(action[rows], probabilities[rows], arms)
    kept = "" if unit else ", for it keeps its arm"
    sentence = f"{check.sentence} Each context.{field} counts once{kept}: {len(rows):,} in all."
    several = _several(labels, contexts, field)
    lacking = sum(field not in context for context in contexts)
    detail = check.detail | {"unit": field, "with_several_arms": several, "without_unit": lacking}
    return msgspec.structs.replace(check, sentence=sentence, detail=detail)


def _several(labels: Sequence[str], contexts: Sequence[dict[str, Any]], field: str) -> int:
    """How many units took more than one arm."""
    taken: dict[bytes, set[str]] = {}
    for label, context in zip(labels, contexts, strict=True):
        if field in context:
            taken.setdefault(values.dump_sorted(context[field]), set()).add(label)
    return sum(len(arms) > 1 for arms in taken.values())


def _doses(labels: Sequence[str], told: Sequence[Mapping[str, float]]) -> Floats | None:
    """The actions as numbers, if they are a dose and no arm: a few of them are the same, and most are no
    whole numbers; None otherwise."""
    different = set(labels)
    if any(told) or len(labels) < _DOSES or len(different) <= len(labels) / 2:
        return None
    try:
        figures = {label: float(label) for label in different}
    except ValueError:
        return None
    if not all(map(math.isfinite, figures.values())):
        return None
    whole = sum(figure.is_integer() for figure in figures.values())
    return np.array([figures[label] for label in labels]) if whole < len(different) / 2 else None


def _of_doses(doses: Floats) -> Check:
    quantiles = (0.0, 0.25, 0.5, 0.75, 1.0)
    figures = np.quantile(doses, quantiles).tolist()
    sentence = (
        f"The action is a number, from {figures[0]:g} to {figures[-1]:g} in {len(doses):,} decisions, and no "
        "arm: it has no counts to check, and no propensity, but a density."
    )
    detail = {f"p{round(100 * q)}": figure for q, figure in zip(quantiles, figures, strict=True)}
    return Check("dose", None, None, True, sentence, detail)


def _number(row: Row) -> float:
    propensity = row.get("propensity")
    known = isinstance(propensity, int | float) and not isinstance(propensity, bool)
    return float(propensity) if known else math.nan  # type: ignore[arg-type]


def _of_rewards(
    decisions: Sequence[Row], rewards: Sequence[Row], properties: Mapping[str, Any], now_ms: int
) -> Check:
    decided = {row["advice_id"]: row["date_ms"] for row in decisions if "advice_id" in row}
    if decisions and not decided:
        n, came_in = len(decisions), min(len(rewards), len(decisions))
        share = len(rewards) / n
        ok = wilson(came_in, n).high >= 1 - health.TOLERATED
        sentence = (
            f"There are {share:.0%} as many rewards as decisions; without advice ids it cannot be told which "
            "decisions have none."
        )
        if not ok:
            sentence += " If only some kinds of rewards are posted, estimates on this log mislead."
        return Check("rewards", share, None, ok, sentence)
    # A default reward is what stands in for one that did not come.
    came: dict[object, int] = {}
    for row in rewards:
        if "advice_id" in row and not row.get("timeout"):
            came.setdefault(row["advice_id"], row["date_ms"])
    hours = window_hours(properties)
    return health.rewards(
        np.array(list(decided.values()), dtype=np.float64),
        np.array([came.get(advice, math.nan) for advice in decided], dtype=np.float64),
        now_ms,
        due_ms=float(hours * HOUR_MS) if isinstance(hours, int) and hours > 0 else None,
    )
