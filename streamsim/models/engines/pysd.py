"""The pysd library: Vensim `.mdl` files and XMILE files.

The library translates a model into a Python file and imports that; here both stay in memory. A simulation is
the library's own stepper, so the numbers are those of its `run`.
"""

from __future__ import annotations

import io
import itertools
from pathlib import PurePosixPath
from types import ModuleType

from streamsim.models.engines.base import (
    KINDS,
    Engine,
    Found,
    LibraryObject,
    Number,
    Outputs,
    Refused,
    ScenarioFound,
    ScenarioSettings,
    Source,
    library,
    named,
    number,
)
from streamsim.values import JsonObject

VENSIM = (".mdl",)
XMILE = (".xmile", ".xml", ".stmx")
KIND_OF = {"Constant": "constants", "Stateful": "stocks", "Auxiliary": "converters", "Lookup": "points"}
_CONTROL = {"time", "initial_time", "final_time", "time_step", "saveper"}


class PysdEngine(Engine):
    """One model file; its scenarios are given with the upload. One scenario manager has them all."""

    def __init__(self, source: Source) -> None:
        library("pysd", "pysd", "pysd")
        self._texts = translate(source.main, source.files[source.main])
        self._main = f"/model/{PurePosixPath(source.main).stem}.py"
        manager = source.options.get("manager", source.name)
        self._manager = manager
        self._scenarios: dict[str, JsonObject] = source.options.get("scenarios") or {"base": {}}
        model = self._load()
        self.names = names(model)
        scenarios = {}
        for name, given in self._scenarios.items():
            where = f"scenario {name}"
            named(list(given.get("constants", {})), self.names, "constant", where)
            named(list(given.get("points", {})), self.names, "points", where)
            simulation = self.start(manager, name, Outputs(), _check=False)
            equations: dict[str, list[str]] = {kind: [] for kind in KINDS}
            for equation, (_, kind, _) in self.names.items():
                equations[kind].append(equation)
            scenarios[name] = ScenarioFound(simulation.start, simulation.stop, simulation.dt, equations)
        self.found = Found(managers={manager: scenarios})

    def start(self, manager: str, scenario: str, outputs: Outputs, *, _check: bool = True) -> PysdSimulation:
        """A fresh simulation, from a fresh copy of the model."""
        if _check:
            named([manager], self.found.managers, "scenario manager", "this model")
            named([scenario], self._scenarios, "scenario", f"scenario manager {manager}")
        where = f"{manager}.{scenario}"
        if outputs.agents:
            raise Refused(f"unknown agent {outputs.agents[0]} in {where}: it has no agents")
        named(outputs.equations, self.names, "equation", where)
        given = self._scenarios[scenario]
        return PysdSimulation(self._load(), self.names, given, where, outputs.equations)

    def _load(self) -> LibraryObject:
        from pysd.py_backend import components
        from pysd.py_backend.model import Model

        texts = self._texts

        def load(_self: LibraryObject, path: str) -> ModuleType:
            module = ModuleType(PurePosixPath(path).stem)
            module.__file__ = path
            exec(compile(texts[PurePosixPath(path).name], path, "exec", dont_inherit=True), module.__dict__)
            return module

        components.Components._load = load
        return Model(self._main, None, None, True, "ignore")


class PysdSimulation:
    """One scenario under way."""

    def __init__(
        self,
        model: LibraryObject,
        known: dict[str, tuple[str, str, tuple[str, ...]]],
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
        return [[float(one), float(other)] for one, other in zip(x, y, strict=True)]

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


class _Kept(PurePosixPath):
    """A path whose file is kept in memory once it was written."""

    texts: dict[str, str]

    def open(self, *_args: object, **_named: object) -> io.StringIO:
        texts, name = self.texts, self.name

        class File(io.StringIO):
            def close(self) -> None:
                texts[name] = self.getvalue()
                super().close()

        return File()


def translate(name: str, text: str) -> dict[str, str]:
    """A model file as the Python files that the library makes of it, by name.

    :raises Refused: an ending that the library does not know.
    """
    from pysd.builders.python.python_model_builder import ModelBuilder

    path = "/model/" + PurePosixPath(name).name
    if name.lower().endswith(VENSIM):
        from pysd.translators.vensim.vensim_file import VensimFile

        class Vensim(VensimFile):  # type: ignore[misc]
            def _read(self, _encoding: str) -> str:
                return text

        file: LibraryObject = Vensim(path)
    elif name.lower().endswith(XMILE):
        from lxml import etree
        from pysd.translators.xmile.xmile_file import XmileFile

        class Xmile(XmileFile):  # type: ignore[misc]
            def _get_root(self) -> LibraryObject:
                parser = etree.XMLParser(encoding="utf-8", recover=True, resolve_entities=False)
                return etree.fromstring(text.encode(), parser)

        file = Xmile(path)
    else:
        raise Refused(f"main must end in one of {', '.join((*VENSIM, *XMILE))}")
    file.parse()
    builder = ModelBuilder(file.get_abstract_model())
    texts: dict[str, str] = {}
    for section in builder.sections:
        kept = _Kept(section.path)
        kept.texts = texts
        section.path = kept
    builder.build_model()
    return texts


def names(model: LibraryObject) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Names that can be asked for -> (the library's name, kind, labels of an array's element)."""
    result: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    subscripts = model._subscript_dict
    for row in model.doc.to_dict("records"):
        real, python = row["Real Name"], row["Py Name"]
        kind = KIND_OF.get(row["Type"])
        if python in _CONTROL or kind is None:
            continue
        if not row["Subscripts"]:
            result[real] = (python, kind, ())
            continue
        spaces = [subscripts.get(one, [one]) for one in row["Subscripts"]]
        for labels in itertools.product(*spaces):
            result[f"{real}[{','.join(labels)}]"] = (python, kind, labels)
    return result


ENGINE = PysdEngine
