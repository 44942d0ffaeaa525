"""The forms of answers about arms of a running experiment, as the service's OpenAPI document has them."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from streamsim_client.values import Object


class OneLook(TypedDict):
    """An estimate with its interval for one look, at an end that was fixed before."""

    estimate: float
    low: float
    high: float


class ArmValue(TypedDict):
    """The mean reward had one arm always been played, or its difference to the control's.

    `low` to `high` holds at every look; `reason` says why there is none.
    """

    arm: str
    draws: int
    estimate: float | None
    low: float | None
    high: float | None
    constant: OneLook | None
    two_point: OneLook | None
    uniform: OneLook | None
    reason: str | None


class ArmPosterior(TypedDict):
    """The posterior of an arm: the probability that it is best, and what is expected to be lost by it."""

    arm: str
    mean: float
    best: float
    loss: float


class Posteriors(TypedDict):
    """`remaining`: with 95 %, no arm is better than the champion by a larger part; `enough`: under 1 %."""

    arms: list[ArmPosterior]
    champion: str | None
    remaining: float | None
    enough: bool
    reason: str | None


class InferenceSegment(TypedDict):
    """All decisions, or those with one value of a field of contexts. `sentence`: what to do."""

    value: str | None
    decisions: int
    arms: list[ArmValue]
    differences: list[ArmValue]
    bayes: Posteriors | None
    sentence: str


class EachAlpha(TypedDict):
    """What each interval may err."""

    arm: float
    difference: float


class ShadowInference(TypedDict):
    """Code in the shadow of a present system: how often both took the same arm, what that system earned, and
    what the code would have earned, or the `reason` why that is not told."""

    decisions: int
    agreement: float
    baseline: float | None
    value: OneLook | None
    difference: OneLook | None
    reason: str | None


class Inference(TypedDict):
    """Arms and their differences to the control. `rows`: what that rests on; `fixed_time`: of one look."""

    control: str | None
    alpha: float
    each_alpha: EachAlpha
    method: str
    bounds: list[float] | None
    horizon: int
    by: str | None
    rows: Object
    fixed_time: str
    other_segments: int
    segments: list[InferenceSegment]
    warnings: list[str]
    shadow: NotRequired[ShadowInference]
