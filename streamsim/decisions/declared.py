"""What an experiment may declare beside its code: its life cycle, its arms, and how traffic reaches them.

One schema: `Declared` checks what clients send, and API description, documents and forms are made from it.
An experiment that declares nothing has none of these fields.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from streamsim import dates, values
from streamsim.decisions.arms import arm_of, label
from streamsim.decisions.gathering import Mode
from streamsim.errors import BadRequest
from streamsim.webhooks.destinations import MAX_URL
from streamsim.webhooks.events import EVENTS, MAX_WEBHOOKS, Event

MAX_ARMS: Final = 1_000
MAX_TEXT: Final = 200
MAX_GUARDRAILS: Final = 20
MIN_SECRET: Final = 16
MAX_HOURS: Final = 99_999
STICKY_HOURS: Final = 720
Family = Literal["bernoulli", "gaussian"]
State = Literal["draft", "running", "paused", "stopped", "archived"]
Share = Annotated[float, Meta(ge=0, le=1)]
_Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL)]
Arm = str | int | float | dict[str, Any]
_Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]


class Traffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How decisions are shared out around the policy."""

    floor: Annotated[Share, Meta(description="The least probability of each arm.")] = 0.0
    burn_in: Annotated[
        int, Meta(ge=0, le=values.MAX_INT, description="Arms are drawn evenly until so many decisions.")
    ] = 0
    holdout: Annotated[Share, Meta(description="The share of units that always get the control.")] = 0.0
    ramp: Annotated[
        Share, Meta(description="The share of units that are in the experiment; others get the fallback.")
    ] = 1.0


class Sticky(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a unit keeps its action."""

    hours: Annotated[int, Meta(ge=1, le=MAX_HOURS, description="From its first decision on.")] = STICKY_HOURS


class Shadow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The caller's present system decides, and the code in its shadow."""

    auto_promote: Annotated[
        bool, Meta(description="Whether the code decides once it is surely better than the present system.")
    ] = False


class Rewards(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is known of rewards before they come."""

    field: Annotated[_Text | None, Meta(description="The field of the reward that is the number.")] = None
    low: Annotated[float | None, Meta(description="All of them are at least this; with high.")] = None
    high: Annotated[float | None, Meta(description="All of them are at most this.")] = None
    family: Annotated[Family | None, Meta(description="Their distribution; bernoulli: 0 or 1.")] = None


class Guardrail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an arm must not do, and what happens when it surely does."""

    metric: Annotated[_Text, Meta(description="One of the rewards' metrics.")]
    harm: Annotated[
        Literal["increase", "decrease"], Meta(description="What does harm, in comparison with the control.")
    ]
    bound: Annotated[float, Meta(ge=0, description="How large a difference to the control is no harm.")] = 0.0
    then: Annotated[
        Literal["arm", "fallback"],
        Meta(description="The arm is switched off; or the experiment is paused and serves its fallback."),
    ] = "arm"


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where what happens is told."""

    url: Annotated[_Url, Meta(description="An http or https URL that webhooks.allow permits.")]
    secret: Annotated[
        Annotated[str, Meta(min_length=MIN_SECRET, max_length=MAX_TEXT)] | None,
        Meta(
            description="What messages are signed with. It is never answered; null keeps the one of this URL."
        ),
    ] = None
    events: Annotated[
        Annotated[list[Event], Meta(min_length=1)], Meta(description="What is told; all of it by default.")
    ] = msgspec.field(default_factory=lambda: list(EVENTS))


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it. Null, as no field at all, declares nothing."""

    state: Annotated[
        State | UnsetType | None, Meta(description="Decisions are made while it is running, or null.")
    ] = UNSET
    starts: Annotated[
        str | UnsetType | None, Meta(description="The date before which no decisions are made.")
    ] = UNSET
    ends: Annotated[
        str | UnsetType | None, Meta(description="The date from which on no decisions are made.")
    ] = UNSET
    max_decisions: Annotated[
        Annotated[int, Meta(ge=1, le=values.MAX_INT)] | UnsetType | None,
        Meta(description="The number of rows of the action log from which on no decisions are made."),
    ] = UNSET
    arms: Annotated[
        Annotated[list[Arm], Meta(min_length=1, max_length=MAX_ARMS)] | UnsetType | None,
        Meta(description="Values of arm_field, or whole actions that have it."),
    ] = UNSET
    control: Annotated[
        str | int | float | UnsetType | None, Meta(description="The arm that others are compared with.")
    ] = UNSET
    fallback: Annotated[
        Arm | UnsetType | None,
        Meta(description="What is served in place of a decision: an arm, or a whole action."),
    ] = UNSET
    unit: Annotated[
        _Text | UnsetType | None, Meta(description="The field of contexts that says whose decision it is.")
    ] = UNSET
    traffic: Annotated[Traffic | UnsetType | None, Meta(description="How units reach the arms.")] = UNSET
    sticky: Annotated[
        bool | Sticky | UnsetType | None,
        Meta(description=f"Whether a unit keeps its action; true: for {STICKY_HOURS} hours."),
    ] = UNSET
    shadow: Annotated[
        bool | Shadow | UnsetType | None,
        Meta(
            description="Whether the action that the caller sends is served, and the code learns beside it."
        ),
    ] = UNSET
    rewards: Annotated[
        Rewards | UnsetType | None, Meta(description="What inference takes of rewards, unless it is told.")
    ] = UNSET
    reward_mode: Annotated[
        Mode | UnsetType | None, Meta(description="What the rewards of one advice id come to.")
    ] = UNSET
    reward_window_hours: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_HOURS)] | UnsetType | None,
        Meta(description="Hours within which the rewards of an advice id count; delta_hours otherwise."),
    ] = UNSET
    guardrails: Annotated[
        Annotated[list[Guardrail], Meta(min_length=1, max_length=MAX_GUARDRAILS)] | UnsetType | None,
        Meta(description="What arms must not do."),
    ] = UNSET
    off: Annotated[
        Annotated[list[str], Meta(min_length=1, max_length=MAX_ARMS)] | UnsetType | None,
        Meta(description="Labels of arms that are switched off: the control is served in their place."),
    ] = UNSET
    webhooks: Annotated[
        Annotated[list[Webhook], Meta(min_length=1, max_length=MAX_WEBHOOKS)] | UnsetType | None,
        Meta(description="URLs that are told of states, guardrails, drift and winners."),
    ] = UNSET
    salt: Annotated[
        _Text | UnsetType | None,
        Meta(description="What the places of units are made from; made at random where it is needed."),
    ] = UNSET


NAMES: Final = Declared.__struct_fields__
DECLARED: Final = frozenset(NAMES)
HIDDEN: Final = DECLARED - {"arms"}
"""What the code of an experiment does not see."""


def checked(name: str, value: object) -> Any:
    """A declared field as it is stored; None if nothing is declared. :raises BadRequest: naming the part."""
    if value is None or (name in ("sticky", "shadow") and value is False):
        return None
    try:
        found = getattr(msgspec.convert({name: value}, Declared), name)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        field = where.removesuffix("`") or name
        if " contains unknown field " in what:
            what = what.replace("Object contains", "It has an")
        raise BadRequest(f"{field}: {what[:1].lower()}{what[1:]}"[:500], field=field[:200]) from None
    try:
        values.check(value, name)
    except values.InvalidValue as error:
        raise BadRequest(str(error), field=error.where) from None
    if name == "rewards":
        _fit_rewards(found)
    if name in ("starts", "ends"):
        return _date(found, name)
    return msgspec.to_builtins(found)


def complete(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties without what declares nothing, with a salt where one is needed.

    :raises BadRequest: what is declared does not fit together.
    """
    result = {name: value for name, value in properties.items() if name not in HIDDEN or value is not None}
    if result.get("arms", UNSET) is None:
        del result["arms"]
    if not result.keys() & NAMES:
        return result
    arms = result.get("arms") or []
    labels = _labels(arms, result.get("arm_field"))
    _fit(result, labels)
    traffic: dict[str, Any] = result.get("traffic") or {}
    hashed = traffic.get("holdout", 0) > 0 or traffic.get("ramp", 1) < 1 or result.get("sticky")
    if hashed and "unit" not in result:
        raise _wrong("unit", "name the field of contexts that says whose decision it is")
    if hashed and "salt" not in result:
        result["salt"] = secrets.token_hex(16)
    return result


def _fit(declared: Mapping[str, Any], labels: list[str]) -> None:
    traffic: dict[str, Any] = declared.get("traffic") or {}
    for name in ("floor", "burn_in"):
        if traffic.get(name) and not labels:
            raise _wrong("arms", f"name the arms that traffic.{name} is for")
    if traffic.get("floor", 0) * len(labels) > 1 + 1e-9:
        raise _wrong("traffic.floor", f"{len(labels)} arms cannot have {traffic['floor']:g} each")
    control, fallback = declared.get("control"), declared.get("fallback")
    if control is not None and label(control) not in labels:
        raise _wrong("control", "must be one of arms")
    if traffic.get("holdout") and control is None:
        raise _wrong("control", "name the arm that units of traffic.holdout get")
    for name in ("off", "guardrails"):
        if declared.get(name) and control is None:
            raise _wrong("control", f"name the arm that {name} need")
    for arm in declared.get("off") or ():
        if arm not in labels or arm == label(control):
            raise _wrong("off", "must name arms, other than the control, by their labels as text")
    shadow = declared.get("shadow")
    if isinstance(shadow, dict) and shadow["auto_promote"] and not declared.get("advice_id"):
        raise _wrong("advice_id", "shadow.auto_promote rests on rewards of advice ids: set it to true")
    if declared.get("guardrails") and not declared.get("advice_id"):
        raise _wrong("advice_id", "guardrails are of the rewards of advice ids: set it to true")
    if fallback is None and any(one["then"] == "fallback" for one in declared.get("guardrails") or ()):
        raise _wrong("fallback", "say what is served once a guardrail with this end trips")
    if fallback is not None and not isinstance(fallback, dict) and label(fallback) not in labels:
        raise _wrong("fallback", "must be one of arms, or a whole action as an object")
    if traffic.get("ramp", 1) < 1 and fallback is None:
        raise _wrong("fallback", "say what units outside of traffic.ramp get")
    for name in ("reward_mode", "reward_window_hours"):
        if name in declared and not declared.get("advice_id"):
            raise _wrong("advice_id", f"{name} is of the rewards of advice ids: set it to true")
    if "starts" in declared and "ends" in declared and not declared["starts"] < declared["ends"]:
        raise _wrong("ends", "must be later than starts")


def _fit_rewards(rewards: Rewards) -> None:
    if rewards.family == "bernoulli" and (rewards.low not in (None, 0) or rewards.high not in (None, 1)):
        raise _wrong("rewards.low", "bernoulli rewards are 0 or 1: leave out low and high")
    if (rewards.low is None) != (rewards.high is None):
        raise _wrong("rewards.low", "low and high bound rewards together: give both")
    if rewards.low is not None and rewards.high is not None and not rewards.low < rewards.high:
        raise _wrong("rewards.low", "must be a smaller number than high")


def bounds_of(rewards: Rewards) -> tuple[float, float] | None:
    """Between which all rewards are, if that is declared."""
    if rewards.family == "bernoulli":
        return 0.0, 1.0
    return None if rewards.low is None or rewards.high is None else (rewards.low, rewards.high)


def labels_of(properties: Mapping[str, Any]) -> list[str]:
    """The labels of the arms that an experiment declares."""
    return _labels(properties.get("arms") or [], properties.get("arm_field"))


def _labels(arms: list[Any], field: str | None) -> list[str]:
    """The labels of declared arms. :raises BadRequest:"""
    if not arms:
        return []
    if field is None:
        raise _wrong("arm_field", "name the field of actions that holds one of arms")
    labels = []
    for place, arm in enumerate(arms):
        try:
            labels.append(arm_of(action_of(arm, field), field))
        except values.InvalidValue as error:
            raise _wrong(f"arms[{place}]", f"the action {error.why}") from None
    if len(set(labels)) < len(labels):
        raise _wrong("arms", 'names an arm twice: 1, 1.0 and "1" are one arm')
    return labels


def action_of(arm: Any, field: str) -> dict[str, Any]:
    """The action of a declared arm."""
    return arm if isinstance(arm, dict) else {field: arm}


def _date(text: str, field: str) -> str:
    try:
        return dates.iso(dates.parse_iso(text))
    except (ValueError, OverflowError):
        raise _wrong(field, "must be a date as ISO 8601, such as 2026-01-31T09:30:00Z") from None


def _wrong(field: str, why: str) -> BadRequest:
    return BadRequest(f"{field}: {why}", field=field)
