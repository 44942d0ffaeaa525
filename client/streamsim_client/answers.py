"""What the bandit and evaluation endpoints answer, as their JSON is. Dates are ISO 8601 texts in UTC."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from streamsim_client.values import Json, Object


class Done(TypedDict):
    """`{"status": "success"}`"""

    status: str


class LoggedIn(TypedDict):
    """Who is logged in. `admin`: may add users."""

    status: str
    username: str
    admin: bool


class Token(TypedDict):
    """A bearer token, without its secret. `created`, `expires`: dates."""

    id: str
    label: str
    created: str
    expires: str


class NewToken(Token):
    """`token` is the secret, shown this once."""

    token: str


class Created(TypedDict):
    """A new experiment: `id` is public, `key` lets production apps decide and learn."""

    id: str
    name: str
    key: str
    error: bool
    warning: NotRequired[list[str]]


class Rotated(TypedDict):
    """An experiment's new key."""

    status: str
    id: str
    key: str
    revision: int


class Updated(TypedDict):
    """`revision`: the one that the change made."""

    status: str
    id: str
    revision: int
    warning: NotRequired[list[str]]


class Policy(TypedDict):
    """A policy of the catalogue, with its code."""

    name: str
    get_context: str
    get_action: str
    get_reward: str
    set_reward: str


class Decision(TypedDict):
    """`context` is there if the server's `server.debug` is on."""

    action: Json
    advice_id: NotRequired[str]
    context: NotRequired[Json]


class Rewarded(TypedDict):
    """What was used is there if the server's `server.debug` is on. `late`: it came after its window, and is
    logged without being learnt from."""

    status: str
    context: NotRequired[Object]
    action: NotRequired[Object]
    reward: NotRequired[Json]
    late: NotRequired[bool]


class Reward(TypedDict):
    """One of many: with `advice_id`, or with `context` and `action`."""

    reward: Json
    context: NotRequired[Object]
    action: NotRequired[Object]
    advice_id: NotRequired[str]
    idempotency_key: NotRequired[str]
    metrics: NotRequired[dict[str, float]]


class Summary(TypedDict):
    """Numbers of calls, and the dates of the last ones, None before the first."""

    get_action_calls: int
    last_added_get_action: str | None
    set_reward_calls: int
    last_added_set_reward: str | None


class _Row(TypedDict):
    id: str
    date: str
    exp_id: str


class ActionRow(_Row):
    """A decision. `propensity`: the probability of the action, from 0 to 1, if it is known; `probabilities`:
    that of every arm. `decided_by`: what decided in place of the code: "fallback", "ramp", "holdout" or
    "sticky". `shadow`: the action, and its probabilities, of code that was in the shadow."""

    context: Json
    action: Json
    advice_id: NotRequired[str]
    propensity: NotRequired[float]
    probabilities: NotRequired[Object]
    decided_by: NotRequired[str]
    revision: NotRequired[int]
    shadow: NotRequired[Object]


class Arrival(TypedDict):
    """A reward of a decision, marked as in the reward log."""

    date: str
    reward: Json
    timeout: NotRequired[bool]
    part: NotRequired[bool]
    late: NotRequired[bool]
    parts: NotRequired[int]
    metrics: NotRequired[dict[str, float]]


class DecisionRow(ActionRow):
    """A decision with its rewards, oldest first. `reward`: what counts for it; `delay_ms`: how long that
    took."""

    rewards: list[Arrival]
    reward: NotRequired[Json]
    delay_ms: NotRequired[int]


class RewardRow(_Row):
    """`timeout`: the default reward of an advice that nobody redeemed in time. `part`: one of several, of
    which the last or the sum counts, in a row of its own that says how many `parts` there were. `late`: it
    came after its window, and does not count."""

    context: Json
    action: Json
    reward: Json
    advice_id: NotRequired[str]
    timeout: NotRequired[bool]
    part: NotRequired[bool]
    late: NotRequired[bool]
    parts: NotRequired[int]
    metrics: NotRequired[dict[str, float]]


class ThetaRow(_Row):
    """Theta at one hour, as `Stats.current_theta` gives it; `named`: other named sets."""

    theta: Object
    named: NotRequired[Object]


class ErrorRow(_Row):
    """A call that the code failed on. `call`: getaction or setreward; `code`, `message`: as of its answer."""

    call: str
    code: str
    message: str
    detail: NotRequired[Json]


class SimulationRow(_Row):
    """A draw of a simulation with `log_stats`. `draw`: its number; `theta`: after it."""

    simulation: str
    draw: int
    context: Json
    action: Json
    reward: Json
    theta: Object


class Check(TypedDict):
    """One check of an experiment's health. `p_value`: from 0 to 1, None where there is no test."""

    name: str
    ok: bool
    statistic: float | None
    p_value: float | None
    sentence: str
    detail: Object


class Health(TypedDict):
    """`ok`: all checks are. `decisions`: how many were looked at."""

    ok: bool
    decisions: int
    checks: list[Check]


class Draw(TypedDict):
    """One draw of a simulation; `theta`: after it."""

    context: Json
    action: Json
    reward: Json
    theta: Object


class Simulated(TypedDict):
    """`data`: what happened in each draw, by its number as text; without `verbose` the final `theta`."""

    simulate: str
    experiment: str
    seed: int
    data: NotRequired[dict[str, Draw]]
    theta: NotRequired[Object]
    error: NotRequired[Object]


class Bands(TypedDict):
    """A mean and its 95 % interval at each point; null where unknown."""

    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]


class Curves(TypedDict):
    """Cumulative reward and regret, and each arm's share of the decisions since the point before."""

    reward: Bands
    regret: Bands | None
    arms: dict[str, list[float]]


class Difference(TypedDict):
    """Cumulative reward of `first` minus that of `second`, on the same random numbers."""

    first: str
    second: str
    reward: Bands
    simultaneous: Bands


class Comparison(TypedDict):
    """Curves by experiment at the draws `points`. `level`: of the intervals, e.g. 0.95."""

    points: list[int]
    replications: int
    seed: int
    level: float
    policies: dict[str, Curves]
    differences: list[Difference]


class Progress(TypedDict):
    """Draws, or runs, that are done, and of how many."""

    done: int
    total: int


class Job(TypedDict):
    """A simulation job. States: waiting, running, interrupted; at the end done, failed or cancelled."""

    id: str
    kind: str
    experiment: str
    state: str
    progress: Progress
    attempts: int
    created: str
    modified: str
    N: NotRequired[int]
    replications: NotRequired[int]
    seed: NotRequired[int]
    theta: NotRequired[str]
    result: NotRequired[Object]
    error: NotRequired[Object]


class JobEvent(TypedDict):
    """`event` is `progress`, and of the last one `end`."""

    event: str
    id: str
    state: str
    progress: Progress


class Ended(TypedDict):
    """`simulation`: cancelled, or removed if it was finished."""

    status: str
    simulation: str


class Interval(TypedDict):
    """A confidence interval, in the unit of the reward."""

    low: float
    high: float


class Estimate(TypedDict):
    """What is None could not be computed; `warnings` say why, and where an estimate cannot be trusted.

    `interval` is the one to use, by `method`.
    """

    estimator: str
    value: float | None
    standard_error: float | None
    interval: Interval | None
    method: str | None
    asymptotic: Interval | None
    bootstrap: Interval | None
    events: int | None
    bounds: Interval | None
    hyperparameter: float | None
    gain: Object | None
    warnings: list[str]


class ValueDifference(TypedDict):
    """What `first` earns more per decision than `second`; `simultaneous` holds for all together."""

    estimator: str
    first: str
    second: str
    value: float
    interval: Interval | None
    simultaneous: Interval | None


class OffPolicies(TypedDict):
    """Estimates of several candidates on the same decisions, and their differences."""

    candidates: dict[str, OffPolicy]
    differences: list[ValueDifference]


class OffPolicy(TypedDict):
    """Estimates of a candidate's expected reward per decision; see docs/evaluation.md."""

    estimates: list[Estimate]
    overlap: Object
    level: float
    log: Object
    candidate: Object
