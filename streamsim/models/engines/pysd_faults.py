"""Errors of the pysd library, told by the variable of the model that they are about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from streamsim.models.engines import faults
from streamsim.models.engines.base import LibraryObject
from streamsim.models.engines.faults import Frame
from streamsim.models.engines.folder import ROOT
from streamsim.sandbox.wire import Failure
from streamsim.sandbox.worker.failures import Described

LIBRARY: Final = "pysd"
_NAMED: Final = ("ElementBuilder", "Component", "Aux", "Flow", "Stock", "Gf", "ControlElement")
_NO_VARIABLE: Final = "expecting the equations of a Vensim model: name = expression ~ unit ~ comment |"


class Faults:
    """Of one model. `names`: the library's name of each variable by that of the model, once it is known."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self.names: Mapping[str, str] = {}

    def explain(self, error: BaseException) -> Failure | None:
        """What an error is about; None if no variable can be told."""
        if isinstance(error, FileNotFoundError):
            return self._failure("FileNotFoundError", str(error).replace(f"{ROOT}/", ""), None)
        name, equation = self._variable(faults.frames(error))
        if isinstance(error, RecursionError):
            return self._failure("RecursionError", self._circle(error), name)
        reason = _reason(error, equation)
        if name is None:
            riddle = type(error).__module__.startswith("parsimonious")
            if not riddle:
                return None
            line = faults.line_of(self._text, str(getattr(error, "text", ""))[:80])
            return faults.failure("SyntaxError", f"{reason}; {_NO_VARIABLE}", self._file, line)
        kind = "SyntaxError" if type(error).__module__.startswith("parsimonious") else type(error).__name__
        return self._failure(kind, reason, name)

    def once(self, model: LibraryObject) -> None:
        """That no variable has two equations. :raises Described: naming it."""
        for section in model.sections:
            for element in section.elements:
                parts = [tuple(map(str, component.subscripts[0])) for component in element.components]
                if parts.count(()) > 1:
                    raise Described(
                        self._failure("ValueError", f"it is defined {len(parts)} times", element.name)
                    )
            for name, count in Counter(element.name.lower() for element in section.elements).items():
                if count > 1:
                    raise Described(self._failure("ValueError", f"it is defined {count} times", name))

    def _failure(self, kind: str, reason: str, name: str | None) -> Failure:
        if name is None:
            return faults.failure(kind, reason, self._file)
        return faults.failure(kind, f"variable {name}: {reason}", self._file, self._line(name))

    def _line(self, name: str) -> int:
        """Where a variable is defined: in Vensim before its sign, in XMILE as the name of an element."""
        words = r"(?:\s|\\n|_)+".join(map(re.escape, name.strip('"').split()))
        for pattern in (
            rf'(?im)^\s*"?{words}"?\s*(?:\[[^\]]*\]\s*)?(?::[A-Z ]+:\s*(?:\[[^\]]*\]\s*)?)*(?:=|:|\(|~|\|)',
            rf'(?i)\bname\s*=\s*["\']"?{words}',
        ):
            found = re.search(pattern, self._text)
            if found is not None:
                at = found.start() + len(found[0]) - len(found[0].lstrip())
                return self._text.count("\n", 0, at) + 1
        return 0

    def _variable(self, frames: list[Frame]) -> tuple[str | None, str]:
        """The variable that the innermost frames are about, and its equation if it is at hand."""
        for frame in reversed(frames):
            if frame.code.co_filename.startswith(f"{ROOT}/"):
                name = self._real(frame.code.co_name)
                if name is not None:
                    return name, ""
            holder = frame.variables.get("self")
            kind = type(holder)
            if not kind.__module__.startswith("pysd."):
                continue
            if kind.__name__ == "Element" and isinstance(getattr(holder, "equation", None), str):
                equation: str = holder.equation
                return re.split(r"[=(:\[]", equation, maxsplit=1)[0].strip(), equation
            if kind.__name__ == "ComponentBuilder":
                holder = getattr(holder, "element", holder)
            name = getattr(holder, "name", None)
            if type(holder).__name__ in _NAMED and isinstance(name, str):
                return name, ""
        return None, ""

    def _real(self, python: str) -> str | None:
        return next((real for real, name in self.names.items() if name == python), None)

    def _circle(self, error: BaseException) -> str:
        called = [frame.code.co_name for frame in faults.frames(error)]
        names = [name for name in map(self._real, called) if name is not None]
        if not names:
            return "its equations need each other's values at one time"
        return faults.in_circle(faults.circle(names))


def _reason(error: BaseException, equation: str) -> str:
    """What the library cannot do, in words."""
    library = faults.version(LIBRARY)
    text, at = getattr(error, "text", None), getattr(error, "pos", None)
    if isinstance(text, str) and isinstance(at, int) and type(error).__module__.startswith("parsimonious"):
        rest = text[at:].strip()[:60]
        where = f"what comes at {rest!r} is not expected" if rest else "it ends too early"
        of = f" in {(equation or text).strip()[:120]!r}" if text.strip() else ""
        return f"{library} cannot read it: {where}{of}"
    if isinstance(error, KeyError) and error.args:
        missing = str(error.args[0])
        if missing.lstrip("-").isdigit():
            return f"a function in it has another number of arguments than {library} expects"
        return f"it uses {missing}, which the model does not define"
    if isinstance(error, NotImplementedError):
        return f"{error}; that is a limit of {library}"
    said = str(error).splitlines() or [""]
    if "VisitationError" in type(error).__name__:
        return f"{library} cannot read a function in it: {said[0]}; are its arguments as many as expected?"
    if isinstance(error, (IndexError, AttributeError)):
        return f"{library} cannot make anything of it ({type(error).__name__}: {said[0]}); is it complete?"
    return " ".join(line.strip() for line in said if line.strip())
