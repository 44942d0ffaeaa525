"""Errors of bptk-py's equations, told by the variable of the model that they are about."""

from __future__ import annotations

import re
from typing import Final

from streamsim.models.engines import faults
from streamsim.models.engines.faults import Frame
from streamsim.models.engines.folder import ROOT
from streamsim.sandbox.wire import Failure

LIBRARY: Final = "bptk-py"
NEEDED: Final = ("header", "sim_specs", "sim_specs/start", "sim_specs/stop", "sim_specs/dt", "model")
COMPILED: Final = "simulation_model.py"
_EQUATION: Final = re.compile(r"\s*'([^']+)'\s*:\s*lambda\b")


class Faults:
    """Of one model. `compiled`: the code that the library made of an XMILE file, if it did."""

    def __init__(self, file: str, text: str = "") -> None:
        self._file = file
        self._text = text
        self.compiled = ""

    def explain(self, error: BaseException) -> Failure | None:
        """What an error is about; None if nothing can be told, or the code of a Python file says it."""
        frames = faults.frames(error)
        names = [name for name in map(self._equation, frames) if name]
        if isinstance(error, SyntaxError) and str(error.filename).endswith(COMPILED) and self.compiled:
            name = self._at(error.lineno or 0)
            if name:
                reason = f"{faults.version(LIBRARY)} cannot make Python of its equation: {error.msg}"
                return self._failure("SyntaxError", name, reason)
        if not names:
            return None
        if isinstance(error, RecursionError):
            circle = faults.circle(names)
            if len(circle) < len(names) - 1:
                return self._failure("RecursionError", circle[0], faults.in_circle(circle))
            return None
        name = names[-1]
        if not self.compiled and any(
            frame.code.co_filename.startswith(f"{ROOT}/") for frame in frames[len(frames) // 2 :]
        ):
            return None  # the line of a Python file says more
        if isinstance(error, KeyError) and error.args:
            missing = str(error.args[0])
            if missing in names:
                name = names[-2] if len(names) > 1 else name
            return self._failure("KeyError", name, f"it uses {missing}, which the model does not have")
        return self._failure(type(error).__name__, name, str(error).splitlines()[0] if str(error) else "")

    def _equation(self, frame: Frame) -> str | None:
        """The equation that a frame computes."""
        if self.compiled and frame.code.co_filename == f"{ROOT}/{COMPILED}":
            return self._at(frame.line) if frame.code.co_name == "<lambda>" else None
        if frame.code.co_name == "memoize" and not self.compiled:
            name = frame.variables.get("equation")
            return name if isinstance(name, str) else None
        return None

    def _at(self, line: int) -> str | None:
        """The equation at a line of the compiled code."""
        lines = self.compiled.splitlines()
        for at in range(min(line, len(lines)), 0, -1):
            found = _EQUATION.match(lines[at - 1])
            if found is not None:
                return found[1]
        return None

    def _failure(self, kind: str, name: str, reason: str) -> Failure:
        real, line = self._definition(name)
        return faults.failure(kind, f"variable {real}: {reason}", self._file, line)

    def _definition(self, name: str) -> tuple[str, int]:
        """The name of a variable as the XMILE file has it, and its line."""
        plain = _plain(name.partition("[")[0])
        for found in re.finditer(r'<(?:stock|flow|aux|gf)\b[^>]*?\bname\s*=\s*"([^"]*)"', self._text):
            if _plain(found[1].replace("\\n", " ")) == plain:
                return found[1].replace("\\n", " "), self._text.count("\n", 0, found.start()) + 1
        return name, 0


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()
