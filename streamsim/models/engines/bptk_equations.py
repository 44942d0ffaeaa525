"""One scenario of a system-dynamics model of the bptk-py library under way.

Equations are evaluated one by one through the model's own functions, with a memo in place of the library's,
so the numbers are the library's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Final

from streamsim.models.engines.base import (
    RULES,
    LibraryObject,
    ModelValue,
    Outputs,
    Refused,
    ScenarioSettings,
    named,
    number,
)
from streamsim.models.engines.bptk_arrays import arrays
from streamsim.values import Json, JsonObject

MAX_STEPS: Final = 1_000_000
Equation = Callable[[float], ModelValue]
"""A model's function of time."""


class EquationSimulation:
    """One scenario of a system-dynamics model. `now`: the time of the last step, one of the model's own."""

    def __init__(
        self, scenario: LibraryObject, points: JsonObject, where: str, outputs: Outputs, rules: int = RULES
    ) -> None:
        self._rules = rules
        self._model = model = scenario.model
        self._where = where
        if not hasattr(model, "_streamsim_equations"):
            model._streamsim_equations = dict(model.equations)
            model._streamsim_specs = (model.starttime, model.stoptime, model.dt)
        self._equations = model.equations
        self._equations.clear()
        self._equations.update(model._streamsim_equations)
        model.points = points
        self.start, self.stop, self.dt = (
            float(scenario.starttime),
            float(scenario.stoptime),
            float(scenario.dt),
        )
        if outputs.agents:
            raise Refused(f"unknown agent {outputs.agents[0]} in {where}: it has no agents")
        for name in outputs.equations:
            _readable(name, model, points, where)
            plain = name.partition("[")[0] if "*" in name else name
            named([name if name in self._equations else plain], self._equations, "equation", where)
        self._outputs = outputs.equations
        self._arrays = arrays(model)
        self._timed: dict[str, list[tuple[float, Equation]]] = {}
        self._stocks: dict[str, dict[float, float]] = {}
        self._reached: float | None = None
        self.now = self.start
        if rules > 1:
            self.times = self._times
        for name, value in scenario.constants.items():
            if not isinstance(value, (int, float, str)):
                continue  # as the library, which warned of it when it loaded the scenario
            for one in self._elements(name):
                self._equations[one] = constant(one, value, where)
        self._begin()
        initial = getattr(scenario, "streamsim_initial", {})
        if initial:
            self.change(ScenarioSettings(initial=initial), None)

    def _begin(self) -> None:
        self._model.starttime, self._model.stoptime, self._model.dt = self.start, self.stop, self.dt
        self._evaluate, self.normalize = evaluator(self._model, between=self._rules > 0)

    def change(self, settings: ScenarioSettings, time: float | None) -> None:
        stocks = getattr(self._model, "stocks", ())
        for values, known, what in (
            (settings.constants, self._equations, "constant"),
            (settings.stocks, stocks, "stock"),
            (settings.initial, stocks, "stock"),
        ):
            named([one for name in values for one in self._elements(name)], known, what, self._where)
        named(list(settings.points), self._model.points, "points", self._where)
        if settings.initial and self._reached is not None:
            raise Refused("initial values can be set when a simulation begins, not at a step")
        if settings.properties or settings.agents is not None:
            raise Refused(f"{self._where} has no agents: properties and agents cannot be set")
        constants = {
            one: constant(name, value, self._where)
            for name, value in settings.constants.items()
            for one in self._elements(name)
        }
        self._change_specs(settings, time)
        if time is not None and settings.points and self._reached is not None:
            # Points have no history: what lies before this step is computed with those that held then.
            for name in list(self._equations):
                self._evaluate(name, self._reached)
        self._model.points.update({name: [list(p) for p in v] for name, v in settings.points.items()})
        for name, equation in constants.items():
            if time is None:
                self._equations[name] = equation
            else:
                self._set_from(name, equation, self._grid(time))
        for name, value in settings.initial.items():
            for one in self._elements(name):
                self._equations[one] = self._initially(self._equations[one], value)
        for name, value in settings.stocks.items():
            for one in self._elements(name):
                self._set_stock(one, value, self.start if time is None else self._grid(time))

    def _elements(self, name: str) -> list[str]:
        """What a value is for: of an array, or a slice of one, its elements."""
        return [name] if self._rules < 2 else self._arrays.targets(name)

    def _grid(self, time: float) -> float:
        """The model's last time up to one of a session, whose step need not be a multiple of the model's."""
        if self._rules == 0:
            return self.normalize(time)
        steps = math.floor((time - self.start) / self.dt + 1e-6)
        return self.normalize(self.start + steps * self.dt)

    def _initially(self, before: Equation, value: float) -> Equation:
        return lambda t: value if t <= self.start else before(t)

    def _set_stock(self, name: str, value: float, time: float) -> None:
        """Let a stock be something at a time; from there it goes on by its flows."""
        time = self.normalize(time)
        if name not in self._stocks:
            held: dict[float, float] = {}
            self._stocks[name] = held
            before = self._equations[name]
            self._equations[name] = lambda t: held[t] if t in held else before(t)
        self._stocks[name][time] = value
        for values in self._model.memo.values():
            for known in [at for at in values if at >= time]:
                del values[known]

    def _change_specs(self, settings: ScenarioSettings, time: float | None) -> None:
        if not settings.runspecs:
            return
        if time is not None:
            raise Refused("runspecs can be set when a simulation begins, not at a step")
        start = settings.runspecs.get("starttime", self.start)
        stop = settings.runspecs.get("stoptime", self.stop)
        dt = settings.runspecs.get("dt", self.dt)
        if not (dt > 0 and stop >= start):
            raise Refused(f"runspecs of {self._where}: dt must be positive and stoptime not before starttime")
        self.start, self.stop, self.dt = start, stop, dt
        self._begin()

    def _set_from(self, name: str, equation: Equation, time: float) -> None:
        """Let an equation answer by the time that it is asked for: delays look back."""
        history = self._timed.get(name)
        if history is None:
            history = self._timed[name] = []
            before = self._equations[name]

            def timed(t: float) -> ModelValue:
                current = before
                for since, value in history:
                    if since > t:
                        break
                    current = value
                return current(t)

            self._equations[name] = timed
        history[:] = [entry for entry in history if entry[0] != time]
        history.append((time, equation))

    def points(self, name: str) -> list[list[float]]:
        """A table as it is now."""
        return [[float(x), float(y)] for x, y in self._model.points[name]]

    def _times(self) -> Iterator[float]:
        """The library's times of a whole run, as `util.floating_point.timerange` makes them.

        Where the step does not divide the time, the last one is past the stop.
        """
        if (self.stop - self.start) / self.dt > MAX_STEPS:
            raise Refused(f"runspecs: at most {MAX_STEPS} steps")
        time, beyond = self.start, self.stop + self.dt
        while time < beyond:
            yield time
            time = self.normalize(time + self.dt)

    def step(self, time: float) -> JsonObject:
        # On the way every step of the model is computed, so that no chain of look-backs grows long.
        time = self.now = time if self._rules == 0 else self._grid(time)
        between = self.start if self._reached is None else self.normalize(self._reached + self.dt)
        while between < time - 1e-9 * self.dt:
            for name in self._outputs:
                self._evaluate(name, between)
            self._reached, between = between, self.normalize(between + self.dt)
        evaluate = self._evaluate
        result = {}
        for name in self._outputs:
            value = evaluate(name, time)
            result[name] = number(sum(value) if "*" in name else value)
        self._reached = self.normalize(time)
        return result


def evaluator(
    model: LibraryObject, *, between: bool = False
) -> tuple[Callable[[str, float], ModelValue], Callable[[float], float]]:
    """A memo for a model, installed as the `memoize` that its functions call; and how it rounds times.

    Times are rounded as the library does (`util.floating_point.normalize`), but each only once. `between`:
    the functions of a compiled XMILE model may ask for times between two steps, as the library lets them.
    """
    from BPTK_Py.util import floating_point

    equations = model.equations
    memo: dict[str, dict[float, ModelValue]] = {name: {} for name in equations}
    model.memo = memo
    base, offset = model.dt, model.starttime
    precision = max(floating_point.scale(offset), floating_point.scale(base))
    known: dict[float, float] = {}
    between = between and not isinstance(model, sys.modules["BPTK_Py"].Model)
    original = type(model).memoize
    missing = object()

    def normalize(time: float) -> float:
        rounded = known.get(time)
        if rounded is None:
            rounded = known[time] = floating_point.normalize(time, base, offset, precision)
        return rounded

    # The parameters have the library's names: generated code gives them by name in places.
    def memoize(equation: str, arg: float) -> ModelValue:
        values = memo.get(equation)
        if values is None:
            # Arrays and constants in compiled XMILE models; in others an unknown equation.
            return original(model, equation, arg)
        value = values.get(arg, missing)
        if value is not missing:
            return value
        rounded = known.get(arg)
        if rounded is None:
            rounded = floating_point.normalize(arg, base, offset, precision)
            if between and abs(rounded - arg) > 1e-6 * base:
                rounded = arg
            known[arg] = rounded
        if rounded != arg and rounded in values:
            return values[rounded]
        value = values[rounded] = equations[equation](rounded)
        return value

    object.__setattr__(model, "memoize", memoize)
    object.__setattr__(model, "equation", memoize)
    return memoize, normalize


def _readable(name: str, model: LibraryObject, points: JsonObject, where: str) -> None:
    """:raises Refused: a name that a model lists, but that has no series."""
    if name not in model.equations and name in points:
        raise Refused(f"{name} in {where} is a table of points, without a series: ask for what looks it up")
    if "*" in name and isinstance(model, sys.modules["BPTK_Py"].Model):
        plain = name.partition("[")[0]
        known = [one for one in model.equations if one.startswith(f"{plain}[")]
        known = [one for one in known if not any(other.startswith(f"{one}[") for other in known)][:4]
        raise Refused(f"unknown equation {name} in {where}: ask for elements, e.g. {', '.join(known)}")


def constant(name: str, value: Json, where: str) -> Equation:
    """A function of time that is a number, or an expression of `t`. :raises Refused: it is neither."""
    if isinstance(value, str):
        try:
            code = compile(value.strip(), f"<{name}>", "eval")
        except (SyntaxError, ValueError):
            raise Refused(f"constant {name} in {where}: not a number, nor an expression of t") from None
        return lambda t: eval(code, {"t": t})
    return lambda t: value
