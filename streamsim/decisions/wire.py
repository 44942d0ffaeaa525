"""What the lane and the policy program say to each other, as arrays of msgpack."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from streamsim.decisions.theta import Address
from streamsim.sandbox.wire import Failure

PIECES: Final = ("get_context", "get_action", "get_reward", "set_reward")
ACTION: Final = 0
REWARD: Final = 1


class Call(msgspec.Struct, array_like=True, gc=False):
    """One getaction (`kind` ACTION) or setreward (REWARD) of a batch."""

    kind: int
    context: dict[str, Any]
    action: dict[str, Any] | None = None
    reward: Any = None


class Request(msgspec.Struct, array_like=True, gc=False):
    """A batch. It first settles the batch before it.

    `committed`: new theta versions by experiment if the last batch was committed; None if it was not.
    `changed`: nested experiments whose code has to be opened anew.
    `fresh`: scopes that were stale: (scope, version, rows).
    """

    committed: dict[str, int] | None
    changed: list[str]
    fresh: list[tuple[Address, int, list[tuple[str, str, bytes, int]]]]
    calls: list[Call]


class Outcome(msgspec.Struct, array_like=True, gc=False):
    """How one call ended. `context` only if the code changed it; `probabilities` if the code gave them."""

    failure: Failure | None
    action: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    propensity: float | None = None
    probabilities: dict[str, float] | None = None


class Done(msgspec.Struct, array_like=True, gc=False):
    """A finished batch: one outcome per call, and the effects of those that succeeded.

    `used`: experiments whose code or theta was used. `reads`: (experiment, name, key, value, version).
    `writes`: (experiment, name, key, value, dict, or None for a delete). `logs`: (call, experiment, row).
    """

    outcomes: list[Outcome]
    used: list[str]
    reads: list[tuple[str, str, str | None, str | None, int]]
    writes: list[tuple[str, str, str, str, dict[str, Any] | None]]
    logs: list[tuple[int, str, dict[str, Any]]]


class Opened(msgspec.Struct, array_like=True, gc=False):
    """The answer to opening another experiment; `error` is "" if it may be opened."""

    error: str
    code: dict[str, str] = {}
    properties: dict[str, Any] = {}


class Draws(msgspec.Struct, array_like=True, gc=False):
    """Some draws of a simulation, in order.

    `records`: JSON objects of context, action, reward and theta, one a draw, if they were asked for; each is
    the text of one object. `arms` and `rewards`: the arm label and the reward as a number, if asked for; NaN
    where the reward has no single number. `regrets`: the expected reward of the best arm less that of the
    chosen one, NaN where the environment does not declare it. `theta`: all rows now, if asked for:
    (experiment, name, key, value, JSON). `failure`: why the draw after the last of these failed.
    """

    draws: int
    records: list[bytes]
    arms: list[str]
    rewards: list[float]
    regrets: list[float]
    theta: list[tuple[str, str, str, str, bytes]]
    failure: Failure | None = None
