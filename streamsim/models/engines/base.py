"""What every engine offers to the program that runs models (`streamsim.programs.model`).

An engine is a module of this package with a subclass of `Engine`, which the module names `ENGINE`. The
program builds it from a `Source` when a worker loads the model, inside the sandbox: no files but the model's,
no network. `start` gives simulations of scenarios; `open` gives runs of the whole model through variables and
operations. An engine offers one of them, or both. What it raises other than `Refused` is an error of the
model's code.

Times are floats in the model's own unit. Random numbers come from `random` and `numpy.random`, which the
program seeds before each simulation, so that a journal that is played again gives the same numbers.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Container, Iterable
from functools import cached_property
from types import ModuleType
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from streamsim.sandbox.wire import Failure
from streamsim.values import Json, JsonObject

LibraryObject: TypeAlias = Any
"""An object of a modelling library; those libraries declare no types."""
ModelValue: TypeAlias = Any
"""What code of a model computed or holds in a variable: anything that Python has."""

Number = float | int | bool | None
"""A value of an equation at one time; None where it is not finite."""

Runspec = Literal["starttime", "stoptime", "dt"]
"""The first and the last time of a simulation, and the step between, above 0; all in the model's unit."""
KINDS = ("constants", "converters", "flows", "points", "stocks")
"""What an equation can be; `points` are tables of x and y."""


RULES: Final = 2
"""The rules by which simulations run, which a journal names where it begins; what begins now has these.

0: before them. The same journal gives the same numbers for ever, so what changes numbers is a new version.
1: single elements of arrays are set; the model's own times and steps; settings of the first step reach
initial values.
2: in models of bptk-py a value for an array, or for a slice of one, is one for each of its elements; whole
runs have the library's times where the step does not divide them; sessions leave out no round of agents.
"""
RUNSPEC_FORM: Final = "runspecs of {}: dt must be positive and stoptime not before starttime"


class Refused(Exception):
    """The request does not fit the model: an unknown name or a value of a wrong form. Nothing was changed."""


class Source(msgspec.Struct, frozen=True):
    """An uploaded model.

    `name`: 1 to 64 letters, digits and `_`. `engine`: the module's name. `main`: the file to load, a key of
    `files`. `files`: text by relative path with `/`. `options`: what else was given with the upload:
    `manager`, the name of the scenario manager, and `scenarios`, by name `{"constants", "points",
    "runspecs", "initial"}` as in `ScenarioSettings`; for engines whose files have neither.
    """

    name: str
    engine: str
    main: str
    files: dict[str, str]
    options: JsonObject = {}


class Outputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a simulation answers at each step: equations, or agents by state and property. All are names.

    `agent_property_types`: of "max", "mean", "min", "total"; empty for all of them.
    `individual_agent_properties`: by agent type the properties that each single agent answers.
    """

    equations: list[str] = []
    agents: list[str] = []
    agent_states: list[str] = []
    agent_properties: list[str] = []
    agent_property_types: list[str] = []
    individual_agent_properties: dict[str, list[str]] = {}


class ScenarioSettings(msgspec.Struct, frozen=True):
    """Overrides of one scenario; what is absent stays.

    `constants`: by name a number, or text that is an expression of `t`. `points`: by name pairs of x and y
    with rising x. `runspecs`: only before the first step. `properties` and `agents`: of agent-based
    scenarios; an agent is `{"name": type, "count": how many, ...}`. `stocks`: by name the value that a stock
    has now, from which it goes on. `initial`: by name the value that it begins with, only before the first
    step.
    """

    constants: dict[str, float | int | str] = {}
    points: dict[str, list[tuple[float, float]]] = {}
    runspecs: dict[Runspec, float] = {}
    properties: JsonObject = {}
    agents: list[JsonObject] | None = None
    stocks: dict[str, float] = {}
    initial: dict[str, float] = {}


class ScenarioFound(msgspec.Struct, dict=True):
    """A scenario of a model: its run specification, its equations by kind, its agents by type.

    `equations`: names by each of `KINDS`. `agents`: by type `{"states": names, "properties": names}`. `more`:
    names that can be asked for like equations, and are of no kind. `arrays`: by name the labels of each
    dimension of a variable that is listed by element, `name[label,...]`. `ranges`: by name of a dimension, or
    of a part of one, its labels.
    """

    start: float
    stop: float
    dt: float
    equations: dict[str, list[str]]
    agents: dict[str, dict[str, list[str]]] = {}
    more: list[str] = []
    arrays: dict[str, list[list[str]]] = {}
    ranges: dict[str, list[str]] = {}

    @cached_property
    def listed(self) -> frozenset[str]:
        """The names of all equations."""
        return frozenset(name for names in self.equations.values() for name in names)

    @cached_property
    def stocks(self) -> frozenset[str]:
        """The names of all stocks."""
        return frozenset(self.equations.get("stocks", ()))

    @cached_property
    def rows(self) -> dict[str, list[str]]:
        """The elements by name of an array, and of a row of one, as `table[row]` of `table[row][column]`."""
        found: dict[str, list[str]] = {}
        for names in self.equations.values():
            for name in names:
                start = name.find("[")
                while start > 0:
                    found.setdefault(name[:start], []).append(name)
                    start = name.find("[", start + 1)
        return found


class Variable(msgspec.Struct):
    """A variable of a model. `type`: of its value, as Python names it, or the kind of its equation."""

    name: str
    type: str


class Operation(msgspec.Struct):
    """An operation of a model. `signature`: its parameters, each as it is written, e.g. `count=1`."""

    name: str
    signature: list[str]


class Found(msgspec.Struct):
    """What loading a model found: what clients may ask for. It is stored with the version of the model.

    `managers`: by scenario manager the scenarios by name; a manager's name is unique among a tenant's models.
    `variables` and `operations`: of engines whose `open` gives them; of others they follow from the
    scenarios. `warnings`: what was ignored, in words.
    """

    managers: dict[str, dict[str, ScenarioFound]] = {}
    variables: list[Variable] = []
    operations: list[Operation] = []
    warnings: list[str] = []


class Simulation(Protocol):
    """One scenario under way, from time `start` to `stop` by `dt`.

    `step` is called with rising times, from `start` on, which need not be `dt` apart. Some things are
    optional: an attribute `rounds`, if a step of a whole run is a round of 1.0 whatever `dt` is; a method
    `normalize(time: float) -> float`, how the library rounds times; a method `times() -> Iterator[float]`,
    the times of a whole run, each followed by its `step`; and an attribute `now`, the time that the last
    `step` was at: the model's last time up to the one that was asked for.
    """

    @property
    def start(self) -> float:
        """The first time."""

    @property
    def stop(self) -> float:
        """The last time, as it is known now."""

    @property
    def dt(self) -> float:
        """The step, as it is now."""

    def change(self, settings: ScenarioSettings, time: float | None) -> None:
        """Apply overrides.

        :param time: of the next step, from which on they hold; None before the first step: from the
            beginning.
        :raises Refused: a name is unknown or a value does not fit; nothing was changed.
        """

    def step(self, time: float) -> JsonObject:
        """The outputs at a time: a `Number` by equation, in the order of `Outputs.equations`.

        Those of agents are under the key `agents`: by type and state `{time: count}`, or
        `{"properties": {name: {property type: {time: number}}}}`.
        """

    def points(self, name: str) -> list[list[float]]:
        """A table as it is now: its `[x, y]` by rising x. :raises Refused: it cannot be read."""


class Engine:
    """A loaded model. Subclasses override what they can do.

    `found`: set by `__init__`. An attribute `files`, a `modules.Files`, makes the model's own files
    importable while its code runs.
    """

    found: Found

    def __init__(self, source: Source) -> None:
        """Load the model; any other exception names the model's line to whoever uploads it.

        :raises Refused: the model lacks what this engine needs, or its library is not installed.
        """
        raise NotImplementedError

    def start(self, manager: str, scenario: str, outputs: Outputs, rules: int = RULES) -> Simulation:
        """A fresh simulation of a scenario, at its beginning; an earlier one of the same scenario ends.

        :param manager: a key of `found.managers`, and :param scenario: a key of that.
        :param outputs: what `Simulation.step` is to answer. :param rules: as `RULES`.
        :raises Refused: naming what the model does not have.
        """
        raise Refused(f"the model has no scenario manager {manager}")

    def explain(self, error: BaseException) -> Failure | None:
        """What an error while the model ran is about, in the words of its file; None: the error says it."""
        return None

    def open(self, seed: int) -> Variables | None:
        """The model at its beginning as variables and operations.

        :param seed: from 0 to 2^32 - 1; `random` and `numpy.random` are seeded with it already.
        :returns: None for those that its first scenario gives (`variables.ScenarioVariables`).
        """
        return None


class Variables(Protocol):
    """A run of one model, through its variables and operations. Paths are texts as in
    `streamsim.models.paths`.

    Values are JSON values: `streamsim.values.plain` makes them of NumPy's and of nested ones.
    """

    def get(self, paths: list[str]) -> JsonObject:
        """Values of variables by path, in this order; changes nothing. :raises Refused: naming the path."""

    def set(self, changes: JsonObject) -> JsonObject:
        """Set variables to a value by path; their values afterwards, by the same paths.

        :raises Refused: naming the path, nothing was changed. Any other exception: some may be set.
        """

    def call(self, name: str, arguments: list[Json]) -> Json:
        """Call an operation with positional arguments; its result, None if it has none.

        :raises Refused: there is no such operation; nothing was changed. Any other exception: an error of the
            model's code, and the run is brought back to where it was.
        """

    def recorded(self, *, all: bool = False) -> JsonObject:
        """Values by name of the variables that were recorded since this was last called; with `all`, ever."""


def number(value: ModelValue) -> Number:
    """What an equation gave as a JSON number: NumPy's become Python's, integers beyond 64 bits become floats,
    and NaN and infinities None. :raises TypeError: it is no number."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or value is None:
        return value
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return value
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise TypeError(f"an equation gave a value of type {type(value).__name__}")


def time_text(time: float) -> str:
    """A time as a key of an answer: `3.0`, `1.0625`; integers of agent-based models stay `3`."""
    return repr(time)


def named(names: Iterable[str], known: Container[str], what: str, where: str) -> None:
    """Check names that a request gives.

    :param what: they are, and :param where: they are looked for, e.g. "equation" and "manager.scenario".
    :raises Refused: naming the first of `names` that is not known.
    """
    for name in names:
        if name not in known:
            raise Refused(f"unknown {what} {name} in {where}")


def library(module: str, engine: str, name: str) -> ModuleType:
    """The library behind an engine, imported.

    :param module: its import name. :param engine: the extra of streamsim that installs it.
    :param name: its name on the package index.
    :raises Refused: it is not installed; how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Refused(
            f"the engine {engine} needs the library {name}: pip install 'streamsim[{engine}]'"
        ) from None


REFUSED: Final = "Refused"
