"""What every engine offers to the program that runs models (`streamsim.programs.model`).

An engine is a module of this package with a class `Engine`, built from a `Source`. Scenario simulations need
`start`; runs of one model through variables and operations are what `open` gives.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Container, Iterable
from types import ModuleType
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from streamsim.values import Json, JsonObject

LibraryObject: TypeAlias = Any
"""An object of a modelling library; those libraries declare no types."""
ModelValue: TypeAlias = Any
"""What code of a model computed or holds in a variable: anything that Python has."""

Number = float | int | bool | None
"""A value of an equation at one time; None where it is not finite."""

Runspec = Literal["starttime", "stoptime", "dt"]
KINDS = ("constants", "converters", "flows", "points", "stocks")


class Refused(Exception):
    """The request does not fit the model: an unknown name or a value of a wrong form. Nothing was changed."""


class Source(msgspec.Struct, frozen=True):
    """An uploaded model. `options`: what was given with the upload, e.g. scenarios of a Vensim file."""

    name: str
    engine: str
    main: str
    files: dict[str, str]
    options: JsonObject = {}


class Outputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a simulation answers: equations, or agents by state and property."""

    equations: list[str] = []
    agents: list[str] = []
    agent_states: list[str] = []
    agent_properties: list[str] = []
    agent_property_types: list[str] = []
    individual_agent_properties: dict[str, list[str]] = {}


class ScenarioSettings(msgspec.Struct, frozen=True):
    """Overrides of one scenario. Constants: numbers, or text that is an expression of `t`."""

    constants: dict[str, float | int | str] = {}
    points: dict[str, list[tuple[float, float]]] = {}
    runspecs: dict[Runspec, float] = {}
    properties: JsonObject = {}
    agents: list[JsonObject] | None = None


class ScenarioFound(msgspec.Struct):
    """A scenario of a model: its run specification, its equations by kind, its agents by type.

    `more`: names that can be asked for like equations, and are of no kind.
    """

    start: float
    stop: float
    dt: float
    equations: dict[str, list[str]]
    agents: dict[str, dict[str, list[str]]] = {}
    more: list[str] = []


class Variable(msgspec.Struct):
    """A variable of a model. `type`: of its value, as Python names it, or the kind of its equation."""

    name: str
    type: str


class Operation(msgspec.Struct):
    """An operation of a model. `signature`: its parameters, each as it is written, e.g. `count=1`."""

    name: str
    signature: list[str]


class Found(msgspec.Struct):
    """What loading a model found. Variables and operations are those of the run endpoints."""

    managers: dict[str, dict[str, ScenarioFound]] = {}
    variables: list[Variable] = []
    operations: list[Operation] = []


class Simulation(Protocol):
    """One scenario under way. `step` is called with rising times, from `start` on."""

    start: float
    stop: float
    dt: float

    def change(self, settings: ScenarioSettings, time: float | None) -> None:
        """Apply overrides from a time on, or from the beginning. :raises Refused: before anything changed."""

    def step(self, time: float) -> JsonObject:
        """The outputs at a time: `{equation: number}`, and for agents `{"agents": {...}}`."""

    def points(self, name: str) -> list[list[float]]:
        """A table as it is now: its `[x, y]` by rising x. :raises Refused: it cannot be read."""


class Engine:
    """A loaded model. Subclasses override what they can do."""

    found: Found

    def __init__(self, source: Source) -> None:
        """:raises Refused: the model lacks what this engine needs."""
        raise NotImplementedError

    def start(self, manager: str, scenario: str, outputs: Outputs) -> Simulation:
        """A fresh simulation of a scenario; an earlier one of the same scenario ends.

        :raises Refused: naming what the model does not have.
        """
        raise Refused(f"the model has no scenario manager {manager}")

    def open(self, seed: int) -> Variables | None:
        """The model at its beginning as variables and operations; generators of numbers are seeded already.

        None: those that its scenarios give (`ScenarioVariables`).
        """
        return None


class Variables(Protocol):
    """A run of one model, through its variables and operations."""

    def get(self, paths: list[str]) -> JsonObject:
        """Values of variables by path; changes nothing. :raises Refused: naming the path."""

    def set(self, changes: JsonObject) -> JsonObject:
        """Set variables; their values afterwards.

        :raises Refused: naming the path, nothing was changed. Any other exception: some may be set.
        """

    def call(self, name: str, arguments: list[Json]) -> Json:
        """Call an operation; its result. :raises Refused: for an unknown one, nothing was changed."""

    def recorded(self, *, all: bool = False) -> JsonObject:
        """Variables that were recorded since this was last asked, or ever."""


def number(value: ModelValue) -> Number:
    """What an equation gave as a JSON number. :raises TypeError: it is no number."""
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
    """:raises Refused: naming the first of `names` that is not known."""
    for name in names:
        if name not in known:
            raise Refused(f"unknown {what} {name} in {where}")


def library(module: str, engine: str, name: str) -> ModuleType:
    """The library behind an engine. :raises Refused: it is not installed; how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Refused(
            f"the engine {engine} needs the library {name}: pip install 'streamsim[{engine}]'"
        ) from None


REFUSED: Final = "Refused"
