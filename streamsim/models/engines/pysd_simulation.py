"""One scenario of a model of the pysd library under way."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from streamsim.models.engines.base import (
    RUNSPEC_FORM,
    LibraryObject,
    Refused,
    ScenarioSettings,
    number,
)
from streamsim.models.engines.pysd_names import CONTROL, Names
from streamsim.models.engines.pysd_state import CLOSE, MAX_STEPS, PysdState
from streamsim.models.engines.subscripts import elements
from streamsim.values import Json, JsonObject

_CONTROLS: Final = {spec: name for name, spec in CONTROL.items()}


class Layout:
    """Where the elements of a model's variables are."""

    def __init__(
        self,
        known: Names,
        arrays: dict[str, list[list[str]]],
        ranges: dict[str, list[str]],
        undeclared: Collection[str] = (),
    ) -> None:
        """:param undeclared: arrays that the library takes for single variables, by its names."""
        self.undeclared = undeclared
        self.known = known
        self.arrays = arrays
        self.ranges = ranges
        self.positions: dict[str, int] = {}
        self.kinds = {python: kind for python, kind, _ in known.values()}
        sizes: dict[str, int] = {}
        for name, (python, _, _) in known.items():
            self.positions[name] = sizes.setdefault(python, 0)
            sizes[python] += 1

    def find(self, text: str, what: str, where: str) -> tuple[str, list[int]]:
        """The library's name of a variable, and the positions that a text names. :raises Refused:"""
        names = [text] if text in self.known else elements(text, self.arrays, self.ranges)
        if names is None:
            raise Refused(f"unknown {what} {text} in {where}")
        return self.known[names[0]][0], [self.positions[name] for name in names]

    def one(self, text: str, where: str) -> tuple[str, int]:
        """The library's name of a variable with a value, and the position of its element. :raises Refused:"""
        python, positions = self.find(text, "equation", where)
        if self.kinds[python] == "points":
            raise Refused(f"{text} in {where} is a table of points, and has no value of its own")
        # Models that were loaded before these arrays were known have them listed as one variable.
        if len(positions) > 1 and python not in self.undeclared:
            raise Refused(f"{text} in {where} is an array: ask for its elements")
        return python, positions[0]


class PysdSimulation:
    """A scenario at a time of its model. Its steps and saved times are the model's own.

    `now`: the time that the last step answered for.
    """

    def __init__(
        self, model: LibraryObject, layout: Layout, given: JsonObject, where: str, equations: list[str]
    ) -> None:
        self._layout, self._where = layout, where
        self._state = PysdState(model, layout.undeclared)
        self._plan = [(name, *layout.one(name, where)) for name in equations]
        self._outputs = list(dict.fromkeys(python for _, python, _ in self._plan))
        settings = ScenarioSettings(
            constants=given.get("constants", {}),
            points=given.get("points", {}),
            runspecs=given.get("runspecs", {}),
            initial=given.get("initial", {}),
        )
        self._is_there = False
        self.change(settings, None)
        self.now = self.start

    @property
    def start(self) -> float:
        """When the model begins."""
        return self._state.control("initial_time")

    @property
    def stop(self) -> float:
        """When it ends, as it is known now: it may depend on the model's variables."""
        return self._state.control("final_time")

    @property
    def dt(self) -> float:
        """Its step, as it is now."""
        return self._state.control("time_step")

    def change(self, settings: ScenarioSettings, time: float | None) -> None:
        """As `Simulation.change`."""
        state, where = self._state, self._where
        if time is not None and not state.begun and time <= self.start + CLOSE * self.dt:
            # What is set at the first step holds from the beginning, and so for what begins with it.
            time = None
        constants = self._numbers(settings.constants, "constant")
        stocks = self._numbers(settings.stocks, "stock")
        initial = self._numbers(settings.initial, "stock")
        for python in stocks | initial:
            if self._layout.kinds[python] != "stocks":
                raise Refused(f"{python} in {where} is no stock: set it under constants")
        tables = [
            (self._layout.find(name, "points", where), pairs) for name, pairs in settings.points.items()
        ]
        for name, ((python, _), _) in zip(settings.points, tables, strict=True):
            if state.table(python) is None:
                raise Refused(f"unknown points {name} in {where}")
        if settings.properties or settings.agents is not None:
            raise Refused(f"{where} has no agents: properties and agents cannot be set")
        if time is not None and (settings.runspecs or initial or CONTROL.keys() & constants.keys()):
            what = "runspecs" if settings.runspecs else "initial values" if initial else "times of the model"
            raise Refused(f"{what} can be set when a simulation begins, not at a step")
        self._change_specs(settings)
        if time is not None:
            # They hold from this time on, so what lies before is computed first.
            self._reach(time)
        state.fix(constants)
        for (python, positions), pairs in tables:
            state.set_table(python, positions, list(pairs))
        state.set_initial(initial)
        state.set_stocks(stocks)

    def points(self, name: str) -> list[list[float]]:
        """A table as it is now. :raises Refused: there is none."""
        python, positions = self._layout.find(name, "points", self._where)
        try:
            x, y = self._state.read_table(python, positions[0])
        except Refused as refused:
            raise Refused(f"points {name} in {self._where} cannot be read: {refused}") from None
        return [[at, height] for at, height in zip(x, y, strict=True)]

    def times(self) -> Iterator[float]:
        """The times of a whole run: those that the model saves. `step` is to be called between."""
        state = self._state
        if (self.stop - self.start) / self.dt > MAX_STEPS:
            raise Refused(f"runspecs: at most {MAX_STEPS} steps")
        self._begin()
        while state.more():
            if state.saves():
                self._is_there = True
                self.now = state.time
                yield self.now
                self._is_there = False
            state.advance()
        if state.saves():
            self._is_there = True
            self.now = state.time
            yield self.now

    def step(self, time: float) -> JsonObject:
        """As `Simulation.step`: of the model's last time up to `time`."""
        if not self._is_there:
            self._reach(time)
            self.now = self._state.time
        module = self._state.module
        values = {}
        for python in self._outputs:
            value = getattr(module, python)()
            values[python] = value.values.reshape(-1).tolist() if hasattr(value, "values") else (value,)
        return {name: number(values[python][at]) for name, python, at in self._plan}

    # ---- inside

    def _begin(self) -> None:
        if not self._state.begun:
            self._state.begin(self._outputs)

    def _reach(self, time: float) -> None:
        self._begin()
        self._state.reach(time)

    def _change_specs(self, settings: ScenarioSettings) -> None:
        specs = settings.runspecs
        if not specs:
            return
        start, stop = specs.get("starttime", self.start), specs.get("stoptime", self.stop)
        if not (specs.get("dt", self.dt) > 0 and stop >= start):
            raise Refused(RUNSPEC_FORM.format(self._where))
        for spec, value in specs.items():
            self._state.set_control(_CONTROLS[spec], value)

    def _numbers(self, given: Mapping[str, Json], what: str) -> dict[str, dict[int, float]]:
        """Values by the library's name and position, in the order given: what comes later wins."""
        result: dict[str, dict[int, float]] = {}
        for name, value in given.items():
            python, positions = self._layout.find(name, what, self._where)
            if python == "time":
                raise Refused(f"{what} {name} in {self._where} cannot be set")
            try:
                numbers = dict.fromkeys(positions, float(value))
            except (TypeError, ValueError):
                raise Refused(f"{what} {name} in {self._where} must be a number") from None
            result.setdefault(python, {}).update(numbers)
        return result
