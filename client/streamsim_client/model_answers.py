"""What the model, scenario and run endpoints answer and take, as their JSON is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from streamsim_client.answers import Progress
from streamsim_client.values import Json, Object

Settings = Mapping[str, Mapping[str, Mapping[str, object]]]
"""By scenario manager and scenario: `constants`, `points`, `runspecs`, `properties`, `agents`, `stocks` and
`initial`."""

Results = dict[str, dict[str, Object]]
"""By scenario manager and scenario; see docs/models.md."""


class Message(TypedDict):
    """What was done, in words."""

    msg: str


class ModelFields(TypedDict, total=False):
    """What goes with the files of a model; see docs/models.md."""

    engine: str
    main: str
    scenarios: dict[str, Object]
    manager: str


class Model(TypedDict):
    """What loading a model found. Names by scenario manager; variables and operations are those of runs.
    `warnings`: what was ignored, in words."""

    name: str
    version: int
    engine: str
    main: str
    created: str
    modified: str
    scenario_managers: dict[str, list[str]]
    equations: dict[str, dict[str, list[str]]]
    agents: dict[str, dict[str, dict[str, list[str]]]]
    variables: list[Object]
    operations: list[Object]
    warnings: list[str]


class ModelWithFiles(Model):
    """`files`: path -> text, or {"base64": text} for bytes that are no text in UTF-8."""

    files: dict[str, str | dict[str, str]]


class Outputs(TypedDict, total=False):
    """What a run or a session of scenarios answers: equations, agents, or both; `seed` repeats it."""

    equations: list[str]
    agents: list[str]
    agent_states: list[str]
    agent_properties: list[str]
    agent_property_types: list[str]
    individual_agent_properties: dict[str, list[str]]
    settings: Settings
    seed: int


class Instance(TypedDict):
    """A new instance. `timeout`: how long it may be unused, by unit, e.g. {"hours": 12}."""

    instance_uuid: str
    timeout: dict[str, int]


class Instances(TypedDict):
    """New instances, all with the same timeout."""

    instance_uuids: list[str]
    timeout: dict[str, int]


class InstanceState(TypedDict):
    """What is stored of an instance; `state` is null without a session."""

    instance_id: str
    time: str
    timeout: dict[str, int]
    step: float | None
    state: Object | None


class SweepFields(TypedDict, total=False):
    """More on a sweep; see docs/models.md. `every_run`: answer each run, too. `seeds`: with how many, or
    with which, each point is run.
    """

    agents: list[str]
    agent_states: list[str]
    agent_properties: list[str]
    agent_property_types: list[str]
    runs: int
    seed: int
    seeds: int | list[int]
    quantiles: list[float]
    settings: Settings
    every_run: bool


class Sweep(TypedDict):
    """`bands`: by equation `mean`, `min`, `max` and `quantiles`, each by time. `agents`: such bands where a
    run has the figures of agents.
    """

    scenario_manager: str
    scenario: str
    runs: int
    seed: int
    bands: dict[str, Object]
    agents: NotRequired[dict[str, Object]]
    every_run: NotRequired[list[Object]]


class Work(TypedDict):
    """A job under `/jobs`, of kind sweep, simulation or comparison.

    States: waiting, running, interrupted; at last done with `result`, failed with `error`, or cancelled. What
    it was asked for and what it led to are not in lists.
    """

    id: str
    kind: str
    state: str
    progress: Progress
    attempts: int
    created: str
    modified: str
    scenario_manager: NotRequired[str]
    scenario: NotRequired[str]
    runs: NotRequired[int]
    experiment: NotRequired[str]
    experiments: NotRequired[list[str]]
    environment: NotRequired[str]
    N: NotRequired[int]
    replications: NotRequired[int]
    seed: NotRequired[int]
    theta: NotRequired[str]
    error: NotRequired[Object]
    result: NotRequired[Json]


class EndedJob(TypedDict):
    """`job`: cancelled, or removed if it was finished."""

    status: str
    job: str


class RunFields(TypedDict, total=False):
    """What can be set when a run is made: objects of your own, and a flag that is kept in its record."""

    scope: Object
    files: Object
    ephemeral: bool


class Run(TypedDict):
    """The record of a run; fields of your own come beside these. `active`: in the server's memory."""

    id: str
    account: str
    project: str
    model: str
    user: dict[str, str]
    scope: Object
    files: Object
    ephemeral: bool
    saved: bool
    trashed: bool
    created: str
    lastModified: str
    initialized: bool
    active: bool
    variables: Object


class Recorded(TypedDict):
    """Recorded variables of one of many runs."""

    run: str
    variables: Object


class Parameter(TypedDict):
    """A parameter of an operation. `dataType` is null: Python declares none."""

    name: str
    dataType: str | None
    default: Json
    optional: bool


class Function(TypedDict):
    """An operation with its parameters; `returnType` is null."""

    name: str
    signature: list[Parameter]
    returnType: str | None


class Variable(TypedDict):
    """A variable. `type`: that of its engine; `dataType`: NUMBER, BOOLEAN, STRING, ARRAY or OBJECT; `access`:
    ALWAYS, as it can be set; `subscripts`: the labels that make it an element of an array; `saved`: every
    step records it by itself."""

    name: str
    type: str
    dataType: str
    access: str
    subscripts: list[str] | None
    saved: bool


class Range(TypedDict):
    """A dimension of arrays, and its labels."""

    name: str
    indices: list[str]


class Introspection(TypedDict):
    """What a model offers to runs."""

    functions: list[Function]
    variables: list[Variable]
    ranges: list[Range] | None


class Description(TypedDict):
    """What an endpoint takes."""

    uri: str
    methods: dict[str, str]
    properties: dict[str, str]
