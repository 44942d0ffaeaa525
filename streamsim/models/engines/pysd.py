"""The pysd library: Vensim `.mdl` files and XMILE files.

The library translates a model into a Python file and imports that; here both stay in memory. A simulation is
the library's own stepper, so the numbers are those of its `run`.
"""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from types import ModuleType

from streamsim.models.engines.base import (
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
from streamsim.models.engines.faults import check_xmile, explained
from streamsim.models.engines.folder import ROOT, contents
from streamsim.models.engines.modules import Files
from streamsim.models.engines.pysd_data import find_series, forget
from streamsim.models.engines.pysd_earlier import EarlierSimulation
from streamsim.models.engines.pysd_faults import LIBRARY, Faults
from streamsim.models.engines.pysd_names import arrays, by_kind, names, spaces
from streamsim.models.engines.pysd_simulation import Layout, PysdSimulation
from streamsim.models.engines.scenario_files import known_only
from streamsim.sandbox.wire import Failure
from streamsim.values import JsonObject

VENSIM = (".mdl",)
XMILE = (".xmile", ".xml", ".stmx")


class PysdEngine(Engine):
    """One model file; its scenarios are given with the upload. One scenario manager has them all."""

    def __init__(self, source: Source) -> None:
        library("pysd", "pysd", "pysd")
        self.files = Files(contents(source))
        text = self.files.folder.text(source.main)
        self._faults = Faults(source.main, text)
        forget()
        # Labels of subscripts may be in a file.
        with explained(self._faults.explain), self.files.importable():
            texts = translate(source.main, text, self._faults)
        self._code = {
            name: compile(text, f"/model/{name}", "exec", dont_inherit=True) for name, text in texts.items()
        }
        self._main = str(PurePosixPath(ROOT, source.main).with_suffix(".py"))
        manager = source.options.get("manager", source.name)
        self._manager = manager
        self._scenarios: dict[str, JsonObject] = source.options.get("scenarios") or {"base": {}}
        with explained(self._faults.explain):
            model = self._load()
        found, undeclared = spaces(model)
        self.names = names(model, found)
        ranges = {name: list(labels) for name, labels in model._subscript_dict.items()}
        self._layout = Layout(self.names, arrays(model, found), ranges, undeclared)
        said: list[str] = list(source.options.get("ignored", ()))
        if source.options.get("lenient"):
            self._scenarios = known_only(self._scenarios, self._known, said)
        scenarios = {}
        for name, given in self._scenarios.items():
            simulation = PysdSimulation(self._load(), self._layout, given, f"scenario {name}", [])
            scenarios[name] = ScenarioFound(
                simulation.start,
                simulation.stop,
                simulation.dt,
                by_kind(self.names),
                arrays=self._layout.arrays,
                ranges=ranges,
            )
        self.found = Found(managers={manager: scenarios}, warnings=said)

    def _known(self, name: str, part: str) -> bool:
        """Whether the model has a name, or an array of it."""
        return name in self.names or name.partition("[")[0] in self._layout.arrays

    def start(
        self, manager: str, scenario: str, outputs: Outputs, rules: int = RULES
    ) -> PysdSimulation | EarlierSimulation:
        """A fresh simulation, from a fresh copy of the model."""
        named([manager], self.found.managers, "scenario manager", "this model")
        named([scenario], self._scenarios, "scenario", f"scenario manager {manager}")
        where = f"{manager}.{scenario}"
        if outputs.agents:
            raise Refused(f"unknown agent {outputs.agents[0]} in {where}: it has no agents")
        given = self._scenarios[scenario]
        if rules == 0:
            named(outputs.equations, self.names, "equation", where)
            return EarlierSimulation(self._load(), self.names, given, where, outputs.equations)
        return PysdSimulation(self._load(), self._layout, given, where, outputs.equations)

    def explain(self, error: BaseException) -> Failure | None:
        return self._faults.explain(error)

    def _load(self) -> LibraryObject:
        from pysd.py_backend import components
        from pysd.py_backend.model import Model

        code = self._code

        def load(_self: LibraryObject, path: str) -> ModuleType:
            module = ModuleType(PurePosixPath(path).stem)
            module.__file__ = path
            exec(code[PurePosixPath(path).name], module.__dict__)
            return module

        own, components.Components._load = components.Components._load, load
        forget()
        try:
            with self.files.importable():
                model = Model(self._main, None, None, False, "ignore")
                find_series(model, self.files.folder)
                model.initialize()
                return model
        finally:
            components.Components._load = own


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


def translate(name: str, text: str, faults: Faults) -> dict[str, str]:
    """A model file as the Python files that the library makes of it, by name.

    :raises Refused: an ending that the library does not know. :raises Described: a variable at fault.
    """
    from pysd.builders.python.python_model_builder import ModelBuilder

    path = f"{ROOT}/{name}"
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

        check_xmile(name, text, LIBRARY, parts=("sim_specs",), strict=False)
        file = Xmile(path)
    else:
        raise Refused(f"main must end in one of {', '.join((*VENSIM, *XMILE))}")
    file.parse()
    model = file.get_abstract_model()
    faults.once(model)
    builder = ModelBuilder(model)
    faults.names = builder.sections[0].namespace.namespace
    texts: dict[str, str] = {}
    for section in builder.sections:
        kept = _Kept(section.path)
        kept.texts = texts
        section.path = kept
    builder.build_model()
    return texts


ENGINE = PysdEngine
