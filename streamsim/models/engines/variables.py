"""A scenario as variables and operations: what runs of system-dynamics and agent models do.

Constants, points and equations are the variables; `name[3]` is what an equation was at step 3, counted
from 0. The run stands at its start time when it begins. `step(count)`, `run()`, `reset(scenario, manager)`
and `record(path, ...)` are the operations.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np

from streamsim.models import paths
from streamsim.models.engines.base import (
    RULES,
    Engine,
    Operation,
    Outputs,
    Refused,
    ScenarioFound,
    ScenarioSettings,
    Variable,
)
from streamsim.models.engines.subscripts import elements, flat, nested, shape
from streamsim.models.session import times
from streamsim.values import Json, JsonObject

OPERATIONS: Final = {
    "step": ["count=1"],
    "run": [],
    "reset": ["scenario=None", "manager=None"],
    "record": ["*paths"],
}
MAX_RECORDED: Final = 200
"""Models with up to so many variables record all of them by themselves."""


class ScenarioVariables:
    """One scenario under way."""

    def __init__(self, engine: Engine, seed: int, rules: int = RULES) -> None:
        """:param rules: as `base.RULES`."""
        self._engine = engine
        self._rules = rules
        self._seed = seed
        self._all: JsonObject = {}
        self._new: JsonObject = {}
        self._changes: list[ScenarioSettings] = []
        manager = next(iter(engine.found.managers), None)
        if manager is None:
            raise Refused("the model has neither variables nor scenarios")
        self._begin(manager, next(iter(engine.found.managers[manager])))

    # ---- what runs do

    def get(self, texts: list[str]) -> JsonObject:
        """Values by path."""
        return {text: self._value(text) for text in texts}

    def set(self, changes: JsonObject) -> JsonObject:
        """Set constants, points or equations: from the beginning on, or from the next step on."""
        constants: dict[str, float | int | str] = {}
        points: dict[str, list[tuple[float, float]]] = {}
        stocks: dict[str, float] = {}
        for text, value in changes.items():
            name, at = self._name(text)
            if at is not None or name in ("time", "agents"):
                raise Refused(f"{text} cannot be set: it is a result")
            if name in self._points:
                points[name] = _pairs(value, text)
                continue
            whole = self._rules > 1 and name in self._arrays
            names = [name] if name in self._series and not whole else self._elements(name)
            numbers = flat([value] if names == [name] else value, name, self._arrays, self._ranges)
            if names == [name] or type(value) in (int, float):
                numbers = [value] * len(names) if type(value) in (int, float) else None
            if numbers is None:
                what = "a number" if names == [name] else "a number, or lists of numbers in its shape"
                raise Refused(f"{text} must be {what}")
            for element, number in zip(names, numbers, strict=True):
                if self._rules > 0 and element in self._stocks:
                    stocks[element] = number
                else:
                    constants[element] = number
        settings = ScenarioSettings(constants=constants, points=points, stocks=stocks)
        if self._step == 0:
            self._again([*self._changes, settings])
        else:
            when = self._next()
            if when is None:
                raise Refused("the run is at its stop time: nothing can be set until it is reset")
            self._simulation.change(settings, when)
            self._shown |= constants | stocks
            self._shown |= {name: [list(pair) for pair in pairs] for name, pairs in points.items()}
            for name in self._arrays:
                own = self._elements(name)
                if name in self._series and not self._shown.keys().isdisjoint(own):
                    # In compiled XMILE an array is the sum of its elements, besides.
                    self._shown[name] = sum(self._value(one) for one in own)
            self._record_all()
        return self.get(list(changes))

    def call(self, name: str, arguments: list[Json]) -> Json:
        """One of `OPERATIONS`."""
        if name not in OPERATIONS:
            raise Refused(f"this model has no operation {name}: expecting {', '.join(OPERATIONS)}")
        return getattr(self, f"_op_{name}")(arguments)

    def recorded(self, *, all: bool = False) -> JsonObject:
        """What was recorded since this was last asked, or ever."""
        new, self._new = self._new, {}
        return dict(self._all) if all else new

    # ---- operations

    def _op_step(self, arguments: list[Json]) -> float:
        count = arguments[0] if arguments else 1
        if len(arguments) > 1 or type(count) is not int or count < 1:
            raise Refused("step takes how many steps, 1 or more")
        if self._next() is None:
            raise Refused("the run is at its stop time")
        for _ in range(count):
            if not self._advance():
                break
        self._record_all()
        return self._time

    def _op_run(self, arguments: list[Json]) -> float:
        if arguments:
            raise Refused("run takes no arguments")
        while self._advance():
            pass
        self._record_all()
        return self._time

    def _op_reset(self, arguments: list[Json]) -> float:
        if len(arguments) > 2 or not all(
            argument is None or isinstance(argument, str) for argument in arguments
        ):
            raise Refused("reset takes the name of a scenario, and that of its scenario manager")
        scenario, manager = [*arguments, None, None][:2]
        managers = self._engine.found.managers
        manager = manager or (self._manager if scenario is None or scenario in self._scenarios() else None)
        manager = manager or next((name for name, known in managers.items() if scenario in known), "")
        if manager not in managers or (scenario or self._scenario) not in managers[manager]:
            raise Refused(
                f"the model has no scenario {scenario or self._scenario} in {manager or 'any manager'}"
            )
        self._begin(manager, scenario or self._scenario)
        return self._time

    def _op_record(self, arguments: list[Json]) -> None:
        if not arguments or not all(isinstance(argument, str) for argument in arguments):
            raise Refused("record takes names of variables")
        recorded = {path: self._value(path) for path in arguments}
        self._all |= recorded
        self._new |= recorded

    # ---- inside

    def _scenarios(self) -> dict[str, ScenarioFound]:
        return self._engine.found.managers[self._manager]

    def _begin(self, manager: str, scenario: str) -> None:
        self._manager, self._scenario = manager, scenario
        chosen = self._scenarios()[scenario]
        self._stocks = set(chosen.equations.get("stocks", ()))
        self._arrays, self._ranges = chosen.arrays, chosen.ranges
        self._points = set(chosen.equations.get("points", ()))
        self._equations = [
            name for kind, names in chosen.equations.items() if kind != "points" for name in names
        ]
        self._equations = list(dict.fromkeys(self._equations))
        self._outputs = Outputs(equations=self._equations, agents=list(chosen.agents))
        self._again([])

    def _again(self, changes: list[ScenarioSettings]) -> None:
        """Begin with these changes. :raises Refused: what was before goes on."""
        random.seed(self._seed)
        np.random.seed(self._seed % 2**32)
        try:
            self._start(changes)
        except Refused:
            # An engine ends a scenario's simulation when it starts the next.
            random.seed(self._seed)
            np.random.seed(self._seed % 2**32)
            self._start(self._changes)
            raise
        self._changes = changes
        self._record_all()

    def _start(self, changes: list[ScenarioSettings]) -> None:
        simulation = self._engine.start(self._manager, self._scenario, self._outputs, self._rules)
        for change in changes:
            simulation.change(change, None)
        self._simulation = simulation
        self._times: Iterator[float] = times(simulation)
        self._waiting: float | None = None
        self._step = -1
        self._time = simulation.start
        self._series: dict[str, list[Json]] = {name: [] for name in self._equations}
        self._agents: JsonObject = {}
        self._shown: JsonObject = {}
        self._advance()

    def _next(self) -> float | None:
        if self._waiting is None:
            self._waiting = next(self._times, None)
        return self._waiting

    def _advance(self) -> bool:
        when = self._next()
        if when is None:
            return False
        row = self._simulation.step(when)
        for name, series in self._series.items():
            series.append(row[name])
        self._agents = _latest(row.get("agents", {}))
        self._shown = {name: value for name, value in self._shown.items() if name in self._points}
        self._waiting, self._time = None, when
        self._step += 1
        return True

    def _name(self, text: str) -> tuple[str, int | None]:
        """The variable that a path names, and the step."""
        if text in self._series or text in self._points or self._elements(text):
            return text, None
        try:
            path = paths.parse(text, free=True)
        except paths.BadPath as bad:
            raise Refused(str(bad)) from None
        keys = [key for step in path.steps if isinstance(step, paths.Index) for key in step.keys]
        if len(path.steps) <= 1:
            labels = ",".join(map(str, keys))
            if keys and f"{path.name}[{labels}]" in self._series:
                return f"{path.name}[{labels}]", None
            name = path.name if len(keys) < 2 else f"{path.name}[{','.join(map(str, keys[:-1]))}]"
            if name in self._series and keys and isinstance(keys[-1], int):
                return name, keys[-1]
            if (name in self._points or name in ("time", "agents")) and not keys:
                return name, None
        raise Refused(f"the model has no variable {text}")

    def _elements(self, text: str) -> list[str]:
        """The elements of an array of equations, or of a slice of one; none if the text is neither."""
        names = elements(text, self._arrays, self._ranges) or []
        return names if names and names[0] in self._series else []

    def _value(self, text: str) -> Json:
        name, at = self._name(text)
        if at is not None:
            if at > self._step:
                raise Refused(f"{text}: the run is at step {self._step}")
            return self._series[name][at]
        if name in self._shown:
            return self._shown[name]
        if name in self._series:
            return self._series[name][-1]
        elements_of = self._elements(name)
        if elements_of:
            return nested(
                [self._value(element) for element in elements_of], shape(name, self._arrays, self._ranges)
            )
        if name == "time":
            return self._time
        return self._agents if name == "agents" else self._simulation.points(name)

    def _record_all(self) -> None:
        if len(self._series) <= MAX_RECORDED:
            recorded = {"time": self._time, **{name: self._value(name) for name in self._series}}
            self._all |= recorded
            self._new |= recorded


def described(scenario: ScenarioFound) -> tuple[list[Operation], list[Variable]]:
    """Operations and variables of a scenario, as those of a Python model are described."""
    operations = [Operation(name, signature) for name, signature in OPERATIONS.items()]
    variables = [Variable(name, kind) for kind, names in scenario.equations.items() for name in names]
    return operations, variables


def _pairs(value: Json, text: str) -> list[tuple[float, float]]:
    try:
        pairs = msgspec.convert(value, list[tuple[float, float]])
    except msgspec.ValidationError:
        raise Refused(f"{text} must be a list of [x, y]") from None
    if len(pairs) < 2 or any(a[0] >= b[0] for a, b in pairwise(pairs)):
        raise Refused(f"{text} must have two or more [x, y] with rising x")
    return pairs


def _latest(agents: Json) -> Json:
    """Agents by state and property at the last time: `{time: value}` becomes the value."""
    if not isinstance(agents, dict):
        return agents
    if agents and not any(isinstance(value, dict) for value in agents.values()):
        return next(reversed(agents.values()))
    return {name: _latest(value) for name, value in agents.items()}
