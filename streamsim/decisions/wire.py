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
    """How one call ended. `context` only if the code changed it; `probabilities` if the code gave them.

    `runs`: how many runs the propensity was estimated from, if it was.
    """

    failure: Failure | None
    action: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    propensity: float | None = None
    probabilities: dict[str, float] | None = None
    runs: int | None = None


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


ThetaRow = tuple[str, str, str, str, bytes]
"""(experiment, name, key, value, JSON object text)"""


class SimulationLoad(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """What a simulation is of, and where it starts: the same load gives the same draws (I12).

    `seed`: 0 to 2**63 - 1. `common`: seed anew for each context and reward, so that all policies
    meet the same. `environment`: (experiment, code, properties) whose get_context and get_reward are
    used in place of its own.
    `action_field`, `reward_field`: what names the arm and the number of a reward, where that is not plain.
    """

    experiment: str
    code: dict[str, str]
    properties: dict[str, Any]
    seed: int
    theta: list[ThetaRow] = []
    common: bool = False
    environment: tuple[str, dict[str, str], dict[str, Any]] | None = None
    action_field: str | None = None
    reward_field: str | None = None


class SimulationRequest(msgspec.Struct, array_like=True, gc=False):
    """Go on by so many draws, and answer: records of each, sums of all, all theta afterwards."""

    draws: int
    records: bool = False
    curve: bool = False
    theta: bool = False


class Draws(msgspec.Struct, array_like=True, gc=False):
    """Some draws of a simulation, in order; with records it may be fewer than were asked for.

    `records`: JSON objects of context, action, reward and theta, one a draw. `reward`: sum of all rewards so
    far; `regret`: sum so far of the expected reward of the best arm less that of the chosen one, NaN where
    the environment does not declare it; `arms`: how often each was chosen. `theta`: all rows afterwards.
    `failure`: why the draw after the last of these failed.
    """

    draws: int = 0
    records: list[bytes] = msgspec.field(default_factory=list)
    reward: float = 0.0
    regret: float = 0.0
    arms: dict[str, int] = msgspec.field(default_factory=dict)
    theta: list[ThetaRow] = msgspec.field(default_factory=list)
    failure: Failure | None = None


class PropensityLoad(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A policy and the theta that it decides on; `runs` of it estimate what its code does not tell."""

    experiment: str
    code: dict[str, str]
    properties: dict[str, Any]
    seed: int
    theta: list[ThetaRow]
    runs: int
    action_field: str | None = None


class Propensities(msgspec.Struct, array_like=True, gc=False):
    """For each context arm -> probability, and whether the code told them. `failure`: of the next one."""

    rows: list[dict[str, float]] = msgspec.field(default_factory=list)
    exact: list[bool] = msgspec.field(default_factory=list)
    failure: Failure | None = None
