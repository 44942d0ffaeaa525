"""The bptk-py library: SD DSL, agent-based and hybrid models in Python files, and XMILE files.

Equations are evaluated one by one through the model's own functions, with a memo in place of the library's,
so the numbers are the library's. What the library does around them per run, threads and data frames, is left
out. Overrides go into a copy of the scenario's equations and end with the simulation.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from streamsim.models.engines import scenario_files
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
from streamsim.models.engines.bptk_faults import COMPILED, LIBRARY, NEEDED, Faults
from streamsim.models.engines.faults import check_xmile, explained
from streamsim.models.engines.folder import contents
from streamsim.models.engines.modules import Files
from streamsim.sandbox.wire import Failure
from streamsim.values import JsonObject

XMILE = (".stmx", ".itmx", ".xmile", ".xml")
PRELOAD = ("BPTK_Py", "BPTK_Py.sdcompiler.compile", "jinja2.ext")


class BptkEngine(Engine):
    """A Python file with `bptk_factory()` or a module-level `bptk`, an XMILE file, or scenarios in JSON."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._said: list[str] = []
        self._library = _library(self._said)
        files = contents(source)
        self.files = Files(files)
        self._faults = Faults(source.main, self.files.folder.text(source.main))
        main = source.main.lower()
        if main.endswith(XMILE):
            from streamsim.models.engines.xmile import translate

            text = self.files.folder.text(source.main)
            check_xmile(source.main, text, LIBRARY, parts=NEEDED, strict=True)
            with explained(self._faults.explain):
                text, said = translate(self._library, text)
            self._said += said
            self._faults.compiled = text
            self.files = Files({COMPILED: text})
            self._make = self._from_xmile
        elif main.endswith(".py"):
            self._make = self._from_python
        elif main.endswith(".json"):
            self._make = self._from_scenarios
        else:
            raise Refused(f"main must be a .py or a .json file or one of {', '.join(XMILE)}")
        scenario_files.check(self.files.folder)
        with explained(self._faults.explain):
            self._bptk = self._make()
        self._stateless = True
        self.found = Found(managers={name: self._scenarios(m) for name, m in self._managers().items()})
        if not any(self.found.managers.values()):
            raise Refused("; ".join(["the model registers no scenarios", *self._said]))
        ignored = source.options.get("ignored", [])
        self.found.warnings = [*self._said, *ignored, *self._ignored()]

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

    def explain(self, error: BaseException) -> Failure | None:
        return self._faults.explain(error)

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
            for table in scenario_files.points(manager, scenario) & set(equations["points"]):
                equations["points"].remove(table)
            agents = agent_types(model) if manager.type == "abm" else {}
            start, stop, dt = (float(getattr(scenario, key)) for key in ("starttime", "stoptime", "dt"))
            known = {equation for names in equations.values() for equation in names}
            # What a scenario of the library sets and the model does not have, becomes an equation of its own.
            given = scenario_files.constants(scenario)
            more = [one for one in model.equations if one not in known and one not in own.hollow | given]
            result[name] = ScenarioFound(start, stop, dt, equations, agents, more)
            result[name].arrays, result[name].ranges = own.labels, own.ranges
        return result

    def _from_python(self) -> LibraryObject:
        captured: list[LibraryObject] = []
        with _server_modules(captured), self._writing():
            module = self.files.run(self._source.main)
        with self.files.importable(), self._writing():
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

    def _from_scenarios(self) -> LibraryObject:
        """The library itself, with the files of scenarios beside the main one."""
        folder = self._source.main.rpartition("/")[0]
        with self.files.importable(), self._writing():
            return self._library.bptk(configuration={"scenario_storage": f"{folder}/" if folder else "./"})

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The library may keep Python files that it makes of XMILE ones."""
        self.files.folder.writable = True
        try:
            yield
        finally:
            self.files.folder.writable = False

    def _ignored(self) -> list[str]:
        """What scenarios set and the model does not have."""
        return [
            warning
            for name, manager in self._managers().items()
            if manager.type != "abm"
            for scenario in manager.scenarios.values()
            for warning in scenario_files.ignored(
                scenario,
                name,
                self.found.managers[name][scenario.name],
                sorted(scenario_files.points(manager, scenario)),
            )
        ]

    def _from_xmile(self) -> LibraryObject:
        module = self.files.run(COMPILED)
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
        if self._source.options.get("lenient"):
            scenarios = self._lenient(module.simulation_model(), scenarios)
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

    def _lenient(self, model: LibraryObject, scenarios: JsonObject) -> JsonObject:
        """Scenarios of an upload without the names that the model does not have."""
        own = arrays(model)

        def known(name: str, part: str) -> bool:
            holder = {"constants": model.equations, "points": model.points, "initial": model.stocks}[part]
            return all(one in holder for one in own.targets(name))

        return {**scenario_files.known_only(scenarios, known, self._said)}


def _points(model: LibraryObject) -> JsonObject:
    points: JsonObject = getattr(model, "points", None) or {}
    return points


def _library(said: list[str]) -> LibraryObject:
    """The library, made quiet: it appends to a log file in whatever folder it runs.

    :param said: where its warnings and errors go.
    """
    bptk = library("BPTK_Py", "bptk", "bptk-py")
    logger: LibraryObject = sys.modules["BPTK_Py.logger.logger"]
    logger.open = lambda *_args, **_named: scenario_files.Said(said)
    logger.print = lambda *_args, **_named: None
    settings: LibraryObject = sys.modules["BPTK_Py.config.config"]
    settings.configuration.update(
        log_modes=["logfile"],
        set_scenario_monitor=False,
        set_model_monitor=False,
        scenario_storage="scenarios/",
    )
    logger.logmodes, logger.loglevel = ["logfile"], "WARN"
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
