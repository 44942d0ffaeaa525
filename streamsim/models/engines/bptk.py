"""The bptk-py library: SD DSL, agent-based and hybrid models in Python files, and XMILE files.

Equations are evaluated one by one through the model's own functions, with a memo in place of the library's,
so the numbers are the library's. What the library does around them per run, threads and data frames, is left
out. Overrides go into a copy of the scenario's equations and end with the simulation.
"""

from __future__ import annotations

import copy
import io
import sys
from types import ModuleType

from streamsim.models.engines.agents import AgentSimulation, agent_types
from streamsim.models.engines.base import (
    KINDS,
    RULES,
    Engine,
    Found,
    LibraryObject,
    Outputs,
    Refused,
    ScenarioFound,
    Source,
    library,
    named,
)
from streamsim.models.engines.bptk_arrays import arrays
from streamsim.models.engines.bptk_equations import EquationSimulation
from streamsim.models.engines.modules import Files
from streamsim.values import JsonObject

XMILE = (".stmx", ".itmx", ".xmile")
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

    def start(
        self, manager: str, scenario: str, outputs: Outputs, rules: int = RULES
    ) -> AgentSimulation | EquationSimulation:
        """A fresh simulation. Models that may keep state outside their equations are loaded anew."""
        self._known(manager, scenario)
        holder = self._managers()[manager]
        if holder.type == "abm":
            # Agents hold state of their own, and their code any other: only a new model is a fresh one.
            self._bptk = self._make()
            model = self._managers()[manager].scenarios[scenario]
            return AgentSimulation(self._library, model, f"{manager}.{scenario}", outputs, rules)
        if self._has_code(holder.scenarios[scenario].model):
            self._bptk = self._make()
            holder = self._managers()[manager]
        chosen = holder.scenarios[scenario]
        # The library lets clones of a model share one table of points, and a scenario's own replace it whole.
        shared = getattr(holder.model, "points", None) or {}
        points = copy.deepcopy({**shared, **_points(chosen.model), **chosen.points})
        return EquationSimulation(chosen, points, f"{manager}.{scenario}", outputs, rules)

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
            own = arrays(model)
            equations["converters"] += [one for one in own.computed if one not in equations["converters"]]
            equations = {
                kind: [one for one in names if one not in own.hollow] for kind, names in equations.items()
            }
            # Compiled XMILE lists arrays both whole and by element, and only elements have an equation.
            elements = {name.partition("[")[0] for name in model.equations if "[" in name}
            whole = elements - set(model.equations)
            equations = {
                kind: [name for name in names if name not in whole] for kind, names in equations.items()
            }
            agents = agent_types(model) if manager.type == "abm" else {}
            start, stop, dt = (float(getattr(scenario, key)) for key in ("starttime", "stoptime", "dt"))
            known = {equation for names in equations.values() for equation in names}
            more = [one for one in model.equations if one not in known and one not in own.hollow]
            result[name] = ScenarioFound(start, stop, dt, equations, agents, more)
            result[name].arrays, result[name].ranges = own.labels, own.ranges
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
        holder = self._library_manager(manager, module, copy.deepcopy(scenarios))
        bptk.scenario_manager_factory.scenario_managers[manager] = holder
        return bptk

    def _library_manager(self, name: str, module: ModuleType, scenarios: JsonObject) -> LibraryObject:
        from BPTK_Py.scenariomanager import ScenarioManagerSd
        from BPTK_Py.scenariomanager.scenario import SimulationScenario

        manager = ScenarioManagerSd(scenarios={}, name=name)
        for scenario, settings in scenarios.items():
            model = module.simulation_model()
            own = arrays(model)
            for part, known in (("constants", model.equations), ("initial", model.stocks)):
                for key in settings.get(part, {}):
                    named(own.targets(key), known, part, f"scenario {scenario}")
            for key in settings.get("points", {}):
                named([key], model.points, "points", f"scenario {scenario}")
            points = {**model.points, **settings.get("points", {})}
            manager.scenarios[scenario] = SimulationScenario(
                {**settings, "points": points}, scenario, model, name
            )
            manager.scenarios[scenario].streamsim_initial = settings.get("initial", {})
        return manager


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
