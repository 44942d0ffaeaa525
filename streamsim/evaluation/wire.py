"""What evaluations and the programs that simulate and estimate say to each other, as arrays of msgpack."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from streamsim.decisions.wire import WireTheta
from streamsim.sandbox.wire import Failure


class SimulationLoad(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """What a simulation is of, and where it starts: the same load gives the same draws (I12).

    `seed`: 0 to 2**63 - 1. `common`: seed anew for each context and reward, so that all policies
    meet the same. `environment`: (experiment, code, properties) whose get_context and get_reward are
    used in place of its own.
    `action_field`, `reward_field`: what names the arm and the number of a reward, where that is not plain.
    """

    experiment_id: str
    code: dict[str, str]
    properties: dict[str, Any]
    seed: int
    theta: list[WireTheta] = []
    common: bool = False
    environment: tuple[str, dict[str, str], dict[str, Any]] | None = None
    action_field: str | None = None
    reward_field: str | None = None


class SimulationRequest(msgspec.Struct, array_like=True, gc=False):
    """Go on by so many draws, and answer: records of each, a curve's points, all theta afterwards.

    `points`: after which of these draws there is one, as rising numbers from 1; None: no curve.
    """

    draws: int
    records: bool = False
    points: list[int] | None = None
    theta: bool = False


class Point(msgspec.Struct, array_like=True, gc=False):
    """A point of a curve. `reward`: sum of all rewards so far; `regret`: sum so far of the expected reward of
    the best arm less that of the chosen one, NaN where the environment does not declare it; `arms`: how often
    each was chosen since the point before."""

    reward: float
    regret: float
    arms: dict[str, int]


class Draws(msgspec.Struct, array_like=True, gc=False):
    """Some draws of a simulation, in order; with records or a curve it may be fewer than were asked for.

    `records`: JSON objects of context, action, reward and theta, one a draw. `theta`: all rows afterwards.
    `failure`: why the draw after the last of these failed.
    """

    draws: int = 0
    records: list[bytes] = msgspec.field(default_factory=list)
    points: list[Point] = msgspec.field(default_factory=list)
    theta: list[WireTheta] = msgspec.field(default_factory=list)
    failure: Failure | None = None


class PropensityLoad(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A policy and the theta that it decides on; `runs` of it estimate what its code does not tell."""

    experiment_id: str
    code: dict[str, str]
    properties: dict[str, Any]
    seed: int
    theta: list[WireTheta]
    runs: int
    action_field: str | None = None


Theta = Literal["current", "empty", "split", "progressive", "replay"]
"""What a candidate decides on. "split": what it learns from the first half of the rewarded decisions, and is
judged on the others; "progressive": in each decision on what it learned from those before it; "replay": it
draws an arm in each, and learns from those alone whose arm was logged."""
Record = tuple[dict[str, Any], Any, Any]
"""A logged decision: context, action and reward, None for none."""


class Decided(msgspec.Struct, array_like=True, gc=False):
    """Logged decisions for a candidate: `judge` asks for its probabilities, `learn` has it learn from each.

    `first`: the number of the first of them, which its seeds follow from. `replay`: it draws its arm, and
    learns where that is the logged one.
    """

    first: int
    records: list[Record]
    judge: bool = True
    learn: bool = False
    replay: bool = False


class EstimatesLoad(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """How a log is read, and what is estimated on it.

    `form`: of an uploaded log, "csv" or "jsonl"; None for rows of an experiment's own log. `estimators`: all
    for None. `seed`: of the bootstrap and of the folds of the reward model. `window_hours`: how long a
    decision of an own log waits for its reward, 0 for ever; `default_reward`: what it counts as afterwards;
    `now_ms`: the time. `unit`: the field of contexts that names the unit, whose decisions depend on each
    other. `propensity_field`, `context_fields`, `predictions_field`: columns of a CSV, or fields of JSON
    lines; of an own log the last is a field of contexts. `max_bytes`: of an uploaded log, unpacked.
    """

    form: str | None
    action_field: str | None
    reward_field: str | None
    max_rows: int
    estimators: list[str] | None
    seed: int
    window_hours: int = 0
    default_reward: dict[str, Any] | None = None
    now_ms: int = 0
    unit: str | None = None
    propensity_field: str | None = None
    context_fields: list[str] = []
    predictions_field: str | None = None
    max_bytes: int = 64 << 20


class Refused(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A log or a candidate that cannot be evaluated, as an error of the request."""

    too_large: bool
    message: str
    field: str | None = None
    detail: dict[str, Any] | None = None


class Propensities(msgspec.Struct, array_like=True, gc=False):
    """For each context arm -> probability, and whether the code told them. `failure`: of the next one."""

    rows: list[dict[str, float]] = msgspec.field(default_factory=list)
    exact: list[bool] = msgspec.field(default_factory=list)
    failure: Failure | None = None
