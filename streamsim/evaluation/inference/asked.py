"""What is asked of inference: checked parameters with their defaults and bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec

from streamsim.decisions import declared
from streamsim.decisions.arms import label
from streamsim.decisions.declared import Family
from streamsim.errors import BadRequest
from streamsim.evaluation import requests

PARAMETERS: Final = (
    "reward_field",
    "metric",
    "control",
    "alpha",
    "by",
    "segments",
    "low",
    "high",
    "rewards",
    "horizon",
)
"""All but `until`, which is a date, and `format`."""
ALPHA: Final = 0.05
SMALLEST_ALPHA: Final = 1e-6
LARGEST_ALPHA: Final = 0.5
SEGMENTS: Final = 10
MAX_SEGMENTS: Final = 50
HORIZON: Final = 10_000
MAX_HORIZON: Final = 1_000_000_000
_NUMBER: Final = re.compile(r"[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})([eE][+-]?\d{1,3})?")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which inference, on rewards as the experiment's properties define them.

    `metric`: one of the rewards' metrics in place of the reward. `alpha`: the chance of error that is
    allowed, for both sides of an interval. `by`: a field of contexts, for whose values the same is told, of
    at most `segments`. `until_ms`: decisions before that date alone.
    `bounds`: between which all rewards are, if that was declared; `rewards`: their declared distribution.
    `horizon`: the number of decisions where sequences are tightest.
    `arm_field`, `window_hours`, `default_reward`, `arms`: the experiment's. `usual_control`: the control
    where none is asked for, if it is an arm of the log. `most`: rows read of each log. `now_ms`.
    """

    reward_field: str | None = None
    metric: str | None = None
    control: str | None = None
    alpha: float = ALPHA
    by: str | None = None
    segments: int = SEGMENTS
    until_ms: int | None = None
    bounds: tuple[float, float] | None = None
    rewards: Family | None = None
    horizon: int = HORIZON
    arm_field: str | None = None
    window_hours: int = 0
    default_reward: dict[str, Any] | None = None
    arms: tuple[str, ...] = ()
    usual_control: str | None = None
    most: int = 0
    now_ms: int = 0


def parse(given: Mapping[str, str | None], until_ms: int | None) -> Asked:
    """The parameters of a query. :param given: their texts. :raises BadRequest: naming the parameter."""
    rewards = given.get("rewards")
    if rewards is not None and rewards not in get_args(Family):
        raise BadRequest(f"rewards must be one of {', '.join(get_args(Family))}", field="rewards")
    alpha = _number(given.get("alpha"), "alpha")
    if alpha is not None and not SMALLEST_ALPHA <= alpha <= LARGEST_ALPHA:
        raise BadRequest(
            f"alpha must be a number from {SMALLEST_ALPHA:g} to {LARGEST_ALPHA:g}, such as 0.05",
            field="alpha",
        )
    return Asked(
        reward_field=requests.text(given.get("reward_field"), "reward_field"),
        metric=requests.text(given.get("metric"), "metric"),
        control=requests.text(given.get("control"), "control"),
        alpha=ALPHA if alpha is None else alpha,
        by=requests.text(given.get("by"), "by"),
        segments=requests.integer(given.get("segments"), "segments", SEGMENTS, 1, MAX_SEGMENTS),
        until_ms=until_ms,
        bounds=_bounds(given, rewards),
        rewards="bernoulli" if rewards == "bernoulli" else "gaussian" if rewards else None,
        horizon=requests.integer(given.get("horizon"), "horizon", HORIZON, 1, MAX_HORIZON),
    )


def with_declared(asked: Asked, properties: Mapping[str, Any]) -> Asked:
    """What is asked, and where it says nothing what the experiment declares."""
    stored = properties.get("rewards") if asked.metric is None else None
    known = msgspec.convert(stored or {}, declared.Rewards)
    more: dict[str, Any] = {"arms": tuple(declared.labels_of(properties))}
    if asked.reward_field is None:
        more["reward_field"] = known.field
    if asked.bounds is None and asked.rewards is None and asked.reward_field in (None, known.field):
        more |= {"rewards": known.family, "bounds": declared.bounds_of(known)}
    if properties.get("control") is not None:
        more["usual_control"] = label(properties["control"])
    return msgspec.structs.replace(asked, **more)


def _bounds(given: Mapping[str, str | None], rewards: str | None) -> tuple[float, float] | None:
    low, high = (_number(given.get(name), name) for name in ("low", "high"))
    if rewards == "bernoulli":
        if low not in (None, 0) or high not in (None, 1):
            raise BadRequest("bernoulli rewards are 0 or 1: leave out low and high", field="low")
        return 0.0, 1.0
    if (low is None) != (high is None):
        raise BadRequest("low and high bound rewards together: give both", field="low")
    if low is None or high is None:
        return None
    if not low < high or not math.isfinite(high - low):
        raise BadRequest("low must be a smaller number than high", field="low")
    return low, high


def _number(text: str | None, field: str) -> float | None:
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or not math.isfinite(number := float(text)):
        raise BadRequest(f"{field} must be a finite number", field=field)
    return number
