"""How simulations of the pysd library ran before version 1 of the rules (`base.RULES`).

Runs and sessions whose journals were made then are played by this, so that they come back with the same
numbers. Nothing new begins with it.
"""

from __future__ import annotations

from streamsim.models.engines.base import LibraryObject, Number, Refused, ScenarioSettings, named, number
from streamsim.models.engines.pysd_names import Names
from streamsim.values import JsonObject


class EarlierSimulation:
    """One scenario under way."""

    def __init__(
        self,
        model: LibraryObject,
        known: Names,
        given: JsonObject,
        where: str,
        equations: list[str],
    ) -> None:
        self._model, self._known, self._where, self._equations = model, known, where, equations
        self._parameters: JsonObject = {}
        self._begun = False
        time = model.time
        self.start, self.stop, self.dt = (
            float(time.initial_time()),
            float(time.final_time()),
            float(time.time_step()),
        )
        self.change(
            ScenarioSettings(given.get("constants", {}), given.get("points", {}), given.get("runspecs", {})),
            None,
        )

    def change(self, settings: ScenarioSettings, time: float | None) -> None:
        named(list(settings.constants), self._known, "constant", self._where)
        named(list(settings.points), self._known, "points", self._where)
        if settings.properties or settings.agents is not None:
            raise Refused(f"{self._where} has no agents: properties and agents cannot be set")
        changes: JsonObject = {}
        for name, value in settings.constants.items():
            if isinstance(value, str):
                try:
                    value = float(value)
                except ValueError:
                    raise Refused(f"constant {name} in {self._where} must be a number") from None
            changes[self._known[name][0]] = value
        for name, pairs in settings.points.items():
            import pandas

            if self._known[name][1] != "points":
                raise Refused(f"unknown points {name} in {self._where}")
            x, y = zip(*pairs, strict=True)
            changes[self._known[name][0]] = pandas.Series(y, index=x)
        if settings.runspecs:
            if time is not None:
                raise Refused("runspecs can be set when a simulation begins, not at a step")
            self.start = settings.runspecs.get("starttime", self.start)
            self.stop = settings.runspecs.get("stoptime", self.stop)
            self.dt = settings.runspecs.get("dt", self.dt)
            if not (self.dt > 0 and self.stop >= self.start):
                raise Refused(
                    f"runspecs of {self._where}: dt must be positive and stoptime not before starttime"
                )
        if time is not None:
            # They hold from this time on, so what lies before is computed first.
            self._reach(time)
        if self._begun:
            self._model._set_components(changes, new=False)
            self._model.clean_caches()
        else:
            self._parameters |= changes

    def points(self, name: str) -> list[list[float]]:
        """A table as the file has it. :raises Refused: an arrayed one."""
        tables = vars(self._model.components._components)
        table = tables.get(f"_hardcodedlookup_{self._known[name][0]}")
        if table is None or len(table.values) != 1 or not table.is_float:
            raise Refused(f"points {name} in {self._where} cannot be read")
        x, y, _ = table.values[0]
        return [[float(at), float(height)] for at, height in zip(x, y, strict=True)]

    def step(self, time: float) -> JsonObject:
        self._reach(time)
        return {name: self._value(name) for name in self._equations}

    def _reach(self, time: float) -> None:
        if not self._begun:
            self._begin()
        while self._model.time() < time - 1e-6 * self.dt:
            self._model._integrate_step()

    def _begin(self) -> None:
        self._begun = True
        model = self._model
        model.time.set_control_vars(initial_time=self.start)
        constants = {py for py, kind, _ in self._known.values() if kind == "constants"}
        model.set_stepper(
            _Nothing(),
            params=self._parameters or None,
            step_vars=sorted(constants & model._dependencies.keys()),
            return_columns=[],
            initial_condition=(self.start, {}),
            final_time=self.stop,
            time_step=self.dt,
            saveper=self.dt,
            cache_output=False,
        )

    def _value(self, name: str) -> Number:
        python, _, labels = self._known[name]
        value = getattr(self._model.components, python)()
        if labels:
            value = value.values[
                tuple(
                    list(value.coords[dimension].values).index(label)
                    for dimension, label in zip(value.dims, labels, strict=True)
                )
            ]
        return number(value)


class _Nothing:
    """The library wants to write into an output at each step; here equations are asked for by name."""

    def set_capture_elements(self, _elements: object) -> None: ...

    def initialize(self, _model: object) -> None: ...

    def update(self, _model: object) -> None: ...
