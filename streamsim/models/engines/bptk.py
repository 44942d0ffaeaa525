"""The bptk-py library: SD DSL, agent-based and hybrid models in Python files, and XMILE files.

Equations are evaluated one by one through the model's own functions, with a memo in place of the library's,
so the numbers are the library's. What the library does around them per run, threads and data frames, is left
out. Overrides go into a copy of the scenario's equations and end with the simulation.
"""

from __future__ import annotations

import copy
import io
import sys
from collections.abc import Callable
from types import ModuleType

from streamsim.models.engines.agents import AgentSimulation, agent_types
from streamsim.models.engines.base import (
    KINDS,
    Engine,
    Found,
    LibraryObject,
    ModelValue,
    Outputs,
    Refused,
    ScenarioFound,
    ScenarioSettings,
    Source,
    library,
    named,
    number,
)
from streamsim.models.engines.modules import Files
from streamsim.values import Json, JsonObject

XMILE = (".stmx", ".itmx", ".xmile")
Equation = Callable[[float], ModelValue]
"""A model's function of time."""
PRELOAD = ("BPTK_Py", "BPTK_Py.sdcompiler.compile", "jinja2.ext")


class BptkEngine(Engine):
    """A Python file with `bptk_factory()` or a module-level `bptk`, or an XMILE file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._library = _library()
        self.files = Files(source.files)
        if source.main.endswith(XMILE):
            from streamsim.models.engines.xmile import translate

            text = translate(self._library, source.files[source.main])
            self.files = Files({"simulation_model.py": text})
            self._make = self._from_xmile
        elif source.main.endswith(".py"):
            self._make = self._from_python
        else:
            raise Refused(f"main must be a .py file or one of {', '.join(XMILE)}")
        self._bptk = self._make()
        self._stateless = True
        self.found = Found(managers={name: self._scenarios(m) for name, m in self._managers().items()})
        if not any(self.found.managers.values()):
            raise Refused("the model registers no scenarios")

    def start(self, manager: str, scenario: str, outputs: Outputs) -> AgentSimulation | EquationSimulation:
        """A fresh simulation. Models that may keep state outside their equations are loaded anew."""
        self._known(manager, scenario)
        found = self._managers()[manager]
        if found.type == "abm":
            # Agents hold state of their own, and their code any other: only a new model is a fresh one.
            self._bptk = self._make()
            model = self._managers()[manager].scenarios[scenario]
            return AgentSimulation(self._library, model, f"{manager}.{scenario}", outputs)
        if self._has_code(found.scenarios[scenario].model):
            self._bptk = self._make()
            found = self._managers()[manager]
        one = found.scenarios[scenario]
        # The library lets clones of a model share one table of points, and a scenario's own replace it whole.
        shared = getattr(found.model, "points", None) or {}
        points = copy.deepcopy({**shared, **_points(one.model), **one.points})
        return EquationSimulation(one, points, f"{manager}.{scenario}", outputs)

    def _known(self, manager: str, scenario: str) -> None:
        named([manager], self.found.managers, "scenario manager", f"model {self._source.name}")
        named([scenario], self.found.managers[manager], "scenario", f"scenario manager {manager}")

    def _managers(self) -> JsonObject:
        managers: JsonObject = self._bptk.scenario_manager_factory.scenario_managers
        return managers

    def _has_code(self, model: LibraryObject) -> bool:
        return bool(getattr(model, "fn", None))

    def _scenarios(self, manager: LibraryObject) -> dict[str, ScenarioFound]:
        result = {}
        for name, scenario in manager.scenarios.items():
            model = scenario if manager.type == "abm" else scenario.model
            equations = {kind: list(getattr(model, kind, ())) for kind in KINDS}
            equations["flows"] += list(getattr(model, "biflows", ()))
            agents = agent_types(model) if manager.type == "abm" else {}
            start, stop, dt = (float(getattr(scenario, key)) for key in ("starttime", "stoptime", "dt"))
            known = {equation for names in equations.values() for equation in names}
            more = [equation for equation in model.equations if equation not in known]
            result[name] = ScenarioFound(start, stop, dt, equations, agents, more)
        return result

    def _from_python(self) -> LibraryObject:
        captured: list[LibraryObject] = []
        with _server_modules(captured):
            module = self.files.run(self._source.main)
        with self.files.importable():
            for candidate in (
                getattr(module, "bptk_factory", None),
                getattr(module, "bptk", None),
                *captured,
            ):
                if isinstance(candidate, self._library.bptk):
                    return candidate
                if callable(candidate) and candidate is not self._library.bptk:
                    made = candidate()
                    if not isinstance(made, self._library.bptk):
                        raise Refused("bptk_factory() must return a BPTK_Py.bptk object")
                    return made
        raise Refused(f"{self._source.main} defines neither bptk_factory() nor a module-level bptk")

    def _from_xmile(self) -> LibraryObject:
        module = self.files.run("simulation_model.py")
        options = self._source.options
        manager = options.get("manager", self._source.name)
        scenarios = options.get("scenarios") or {"base": {}}
        bptk = self._library.bptk()
        one = self._library_manager(manager, module, copy.deepcopy(scenarios))
        bptk.scenario_manager_factory.scenario_managers[manager] = one
        return bptk

    def _library_manager(self, name: str, module: ModuleType, scenarios: JsonObject) -> LibraryObject:
        from BPTK_Py.scenariomanager import ScenarioManagerSd
        from BPTK_Py.scenariomanager.scenario import SimulationScenario

        manager = ScenarioManagerSd(scenarios={}, name=name)
        for scenario, settings in scenarios.items():
            model = module.simulation_model()
            for key in settings.get("constants", {}):
                named([key], model.equations, "constant", f"scenario {scenario}")
            for key in settings.get("points", {}):
                named([key], model.points, "points", f"scenario {scenario}")
            points = {**model.points, **settings.get("points", {})}
            manager.scenarios[scenario] = SimulationScenario(
                {**settings, "points": points}, scenario, model, name
            )
        return manager


class EquationSimulation:
    """One scenario of a system-dynamics model."""

    def __init__(self, scenario: LibraryObject, points: JsonObject, where: str, outputs: Outputs) -> None:
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
            plain = name.partition("[")[0] if "*" in name else name
            named([name if name in self._equations else plain], self._equations, "equation", where)
        self._outputs = outputs.equations
        self._timed: dict[str, list[tuple[float, Equation]]] = {}
        self._reached: float | None = None
        for name, value in scenario.constants.items():
            self._equations[name] = _constant(name, value, where)
        self._begin()

    def _begin(self) -> None:
        self._model.starttime, self._model.stoptime, self._model.dt = self.start, self.stop, self.dt
        self._evaluate, self.normalize = evaluator(self._model)

    def change(self, settings: ScenarioSettings, time: float | None) -> None:
        for values, known, what in (
            (settings.constants, self._equations, "constant"),
            (settings.points, self._model.points, "points"),
        ):
            named(list(values), known, what, self._where)
        if settings.properties or settings.agents is not None:
            raise Refused(f"{self._where} has no agents: properties and agents cannot be set")
        constants = {name: _constant(name, v, self._where) for name, v in settings.constants.items()}
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
                self._set_from(name, equation, self.normalize(time))

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

    def step(self, time: float) -> JsonObject:
        # On the way every step of the model is computed, so that no chain of look-backs grows long.
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


def evaluator(model: LibraryObject) -> tuple[Callable[[str, float], ModelValue], Callable[[float], float]]:
    """A memo for a model, installed as the `memoize` that its functions call; and how it rounds times.

    Times are rounded as the library does (`util.floating_point.normalize`), but each only once.
    """
    from BPTK_Py.util import floating_point

    equations = model.equations
    memo: dict[str, dict[float, ModelValue]] = {name: {} for name in equations}
    model.memo = memo
    base, offset = model.dt, model.starttime
    precision = max(floating_point.scale(offset), floating_point.scale(base))
    known: dict[float, float] = {}
    original = type(model).memoize
    missing = object()

    def normalize(time: float) -> float:
        rounded = known.get(time)
        if rounded is None:
            rounded = known[time] = floating_point.normalize(time, base, offset, precision)
        return rounded

    def memoize(name: str, time: float) -> ModelValue:
        values = memo.get(name)
        if values is None:
            # Arrays and constants in compiled XMILE models; in others an unknown equation.
            return original(model, name, time)
        value = values.get(time, missing)
        if value is not missing:
            return value
        rounded = known.get(time)
        if rounded is None:
            rounded = known[time] = floating_point.normalize(time, base, offset, precision)
        if rounded != time and rounded in values:
            return values[rounded]
        value = values[rounded] = equations[name](rounded)
        return value

    object.__setattr__(model, "memoize", memoize)
    object.__setattr__(model, "equation", memoize)
    return memoize, normalize


def _constant(name: str, value: Json, where: str) -> Equation:
    if isinstance(value, str):
        try:
            code = compile(value.strip(), f"<{name}>", "eval")
        except (SyntaxError, ValueError):
            raise Refused(f"constant {name} in {where}: not a number, nor an expression of t") from None
        return lambda t: eval(code, {"t": t})
    return lambda t: value


def _points(model: LibraryObject) -> JsonObject:
    points: JsonObject = getattr(model, "points", None) or {}
    return points


def _library() -> LibraryObject:
    """The library, made quiet: it appends to a log file in whatever folder it runs."""
    bptk = library("BPTK_Py", "bptk", "bptk-py")
    logger: LibraryObject = sys.modules["BPTK_Py.logger.logger"]
    logger.open = lambda *_args, **_named: io.StringIO()
    settings: LibraryObject = sys.modules["BPTK_Py.config.config"]
    settings.configuration.update(log_modes=[], set_scenario_monitor=False, set_model_monitor=False)
    return bptk


class _server_modules:  # noqa: N801 -- used like a function
    """Stands in for Flask's side of a BptkServer script: keeps the factory that it would serve."""

    def __init__(self, captured: list[LibraryObject]) -> None:
        self._captured = captured
        self._hidden: JsonObject = {}

    def __enter__(self) -> None:
        captured = self._captured

        class BptkServer:
            def __init__(
                self, _name: str, bptk_factory: LibraryObject = None, *_args: object, **_named: object
            ) -> None:
                captured.append(bptk_factory)

            def run(self, *_args: object, **_named: object) -> None:
                """Nothing to do: streamsim serves it."""

        library: LibraryObject = sys.modules["BPTK_Py"]
        server: LibraryObject = ModuleType("BPTK_Py.server")
        cors: LibraryObject = ModuleType("flask_cors")
        server.BptkServer = BptkServer
        cors.CORS = lambda *_args, **_named: None
        self._hidden = {"BPTK_Py.server": server, "flask_cors": cors}
        for name, module in self._hidden.items():
            self._hidden[name] = sys.modules.get(name)
            sys.modules[name] = module
        self._class, library.BptkServer = getattr(library, "BptkServer", None), BptkServer

    def __exit__(self, *_error: object) -> None:
        for name, module in self._hidden.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
        library: LibraryObject = sys.modules["BPTK_Py"]
        library.BptkServer = self._class


ENGINE = BptkEngine
