"""The fields of an experiment, as they are sent and answered."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from streamsim_client.values import Json, Object


class Experiment(TypedDict):
    """All fields of an experiment.

    `delta_hours`: hours after which an advice gets its `default_reward`, None for never. `revision`: 1, and
    one more with each change.
    """

    id: str
    name: str
    key: str
    get_context: str
    get_action: str
    get_reward: str
    set_reward: str
    advice_id: bool
    delta_hours: int | None
    default_reward: Object | str | None
    hourly_theta: bool
    log_propensity: bool
    arm_field: str | None
    compat: str | None
    public_origins: bool
    state: NotRequired[str]
    starts: NotRequired[str]
    ends: NotRequired[str]
    max_decisions: NotRequired[int]
    arms: NotRequired[list[str | int | float | Object]]
    control: NotRequired[str | int | float]
    fallback: NotRequired[str | int | float | Object]
    unit: NotRequired[str]
    traffic: NotRequired[Traffic]
    sticky: NotRequired[bool | Sticky]
    shadow: NotRequired[bool | Shadow]
    rewards: NotRequired[Rewards]
    guardrails: NotRequired[list[Guardrail]]
    webhooks: NotRequired[list[Webhook]]
    off: NotRequired[list[str]]
    reward_mode: NotRequired[str]
    reward_window_hours: NotRequired[int]
    salt: NotRequired[str]
    revision: int
    created: str
    modified: str


class Traffic(TypedDict, total=False):
    """How decisions are shared out around a policy: see docs/experiments.md."""

    floor: float
    burn_in: int
    holdout: float
    ramp: float


class Sticky(TypedDict, total=False):
    """How many hours a unit keeps its action."""

    hours: int


class Rewards(TypedDict, total=False):
    """What is known of rewards before they come. `family`: "bernoulli" or "gaussian"."""

    field: str
    low: float
    high: float
    family: str


class Shadow(TypedDict, total=False):
    """The caller's present system decides, and the code in its shadow."""

    auto_promote: bool


class Guardrail(TypedDict):
    """What an arm must not do in a metric: `harm` is "increase" or "decrease", `then` "arm" or "fallback"."""

    metric: str
    harm: str
    bound: NotRequired[float]
    then: NotRequired[str]


class Code(TypedDict, total=False):
    """Pieces of policy code."""

    get_context: str
    get_action: str
    get_reward: str
    set_reward: str


class ExperimentFields(Code, total=False):
    """What can be set on an experiment; see docs/api-bandit.md. None takes a declaration back.

    `note`: what a change of code is for; it is kept with its revision.
    """

    note: str
    advice_id: bool
    delta_hours: int | None
    default_reward: Object | str | None
    hourly_theta: bool
    log_propensity: bool
    arm_field: str | None
    compat: str | None
    public_origins: bool
    state: str | None
    starts: str | None
    ends: str | None
    max_decisions: int | None
    arms: list[str | int | float | Object] | None
    control: str | int | float | None
    fallback: str | int | float | Object | None
    unit: str | None
    traffic: Traffic | None
    sticky: bool | Sticky | None
    shadow: bool | Shadow | None
    rewards: Rewards | None
    guardrails: list[Guardrail] | None
    webhooks: list[Webhook] | None
    off: list[str] | None
    reward_mode: str | None
    reward_window_hours: int | None
    salt: str | None


class Webhook(TypedDict):
    """A URL that is told what happens. `secret`: sent, never answered; left out, the one of the URL stays."""

    url: str
    secret: NotRequired[str]
    events: NotRequired[list[str]]


class Message(TypedDict):
    """A message to a webhook. `status`: waiting, delivered or failed."""

    id: str
    event: str
    url: str
    status: str
    attempts: int
    created: str
    body: Object
    last_attempt: NotRequired[str]
    next_attempt: NotRequired[str]
    error: NotRequired[str]


class ThetaPart(TypedDict):
    """A row of theta; `name` of a named set, "_theta" otherwise. An absent key or value is ""."""

    name: NotRequired[str]
    key: NotRequired[str]
    value: NotRequired[str]
    theta: Object


class WholeTheta(TypedDict):
    """All of theta."""

    rows: list[ThetaPart]
    version: str


class ThetaVersion(TypedDict):
    """`version`: the one that the change made."""

    status: str
    version: str


class DryRow(TypedDict):
    """A row of theta. `theta`: None for none, or for a delete. `changed`: it is newer than what was read."""

    exp_id: str
    name: str
    key: str
    value: str
    theta: Object | None
    changed: NotRequired[bool]


class DryRun(TypedDict):
    """What would be decided. `context`: as the code leaves it. `more`: not all rows are in `read` and
    `written`. `ms`: how long the code took."""

    action: Json
    propensity: float | None
    probabilities: dict[str, float] | None
    propensity_runs: int | None
    context: Json
    read: list[DryRow]
    written: list[DryRow]
    more: bool
    logged: list[Object]
    ms: float


class Revision(TypedDict):
    """A save of an experiment's code. `date`: ISO 8601."""

    revision: int
    date: str
    user: str
    note: str


class RevisionCode(Revision):
    """With the code."""

    get_context: str
    get_action: str
    get_reward: str
    set_reward: str
