"""Error records of user code (I7): bounded text, the code's own line, no path and no frame of the host.

Everything about an exception may lie: its class, its `__str__`, its attributes. What is read here is read
through the built-in types' own descriptors; the one thing that runs code, `str()`, runs under the clock.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from streamsim import values
from streamsim.sandbox.wire import MAX_LINE, MAX_MESSAGE, MAX_NAME, MAX_TRACE, Failure, clean
from streamsim.sandbox.worker.clock import SoftTimeout, clock

# Longest first, so that a folder is replaced before its parent.
_FOLDERS: Final = sorted(
    {
        folder
        for folder in (*sys.path, sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.__file__))
        if len(folder) > 1
    },
    key=len,
    reverse=True,
)
_type_name: Final = type.__dict__["__name__"].__get__
_traceback: Final = BaseException.__dict__["__traceback__"].__get__
_arguments: Final = BaseException.__dict__["args"].__get__


class Described(Exception):
    """Raised by a program to answer a `Failure` of its own."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def describe(error: BaseException, pieces: Mapping[str, str]) -> Failure:
    """The record of an exception that user code raised.

    :param pieces: the piece of code by the file name that it was compiled with, e.g. `<get_action>`.
    """
    try:
        return _describe(error, pieces)
    except BaseException:  # out of memory or of stack while describing
        return Failure(kind="exception", type="Exception", message="an exception that cannot be shown")


def traced(error: BaseException, pieces: Mapping[str, str]) -> Failure:
    """The record of an exception, with its frames that are in pieces of code, outermost first."""
    failure = describe(error, pieces)
    if failure.trace:
        return failure
    trace: list[tuple[str, str, int]] = []
    step: Any = _traceback(error)
    while step is not None:
        code = step.tb_frame.f_code
        if type(code.co_filename) is str and code.co_filename in pieces:
            trace.append(
                (pieces[code.co_filename], clean(str(code.co_name), MAX_NAME), _line(step.tb_lineno))
            )
        step = step.tb_next
    return msgspec.structs.replace(failure, trace=tuple(trace[-MAX_TRACE:]))


def _describe(error: BaseException, pieces: Mapping[str, str]) -> Failure:
    kind = type(error)
    name = clean(_type_name(kind), MAX_NAME)
    piece, line = _place(error, pieces)
    if kind is Described:
        failure: Failure = error.failure  # type: ignore[attr-defined]
        return failure
    if issubclass(kind, SoftTimeout):
        return Failure("timeout", "TimeLimit", _message(error), piece, line)
    if issubclass(kind, MemoryError):
        _release(error, pieces)
        return Failure("memory", name, _message(error) or "out of memory", piece, line)
    if issubclass(kind, SyntaxError):
        file, at, text = (SyntaxError.__dict__[key].__get__(error) for key in ("filename", "lineno", "msg"))
        if type(file) is str and file in pieces:
            text = clean(text) if type(text) is str else "invalid syntax"
            return Failure("syntax", name, text, pieces[file], _line(at))
    # Raised while the code ran, it is the code's own error, e.g. a bad argument to set_theta.
    rejected = issubclass(kind, values.InvalidValue) and not piece
    return Failure("rejected" if rejected else "exception", name, _message(error), piece, line)


def _place(error: BaseException, pieces: Mapping[str, str]) -> tuple[str, int]:
    """Piece and line of the innermost frame that is in a piece."""
    piece, line = "", 0
    step: Any = _traceback(error)
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if type(file) is str and file in pieces:
            piece, line = pieces[file], _line(step.tb_lineno)
        step = step.tb_next
    return piece, line


def _line(number: object) -> int:
    return number if type(number) is int and 0 < number <= MAX_LINE else 0


def _message(error: BaseException) -> str:
    text, failed = clock.run(str, error)
    if failed is not None:
        text = "its text cannot be shown"
        if issubclass(type(failed), SoftTimeout):
            text += ": __str__ takes too long"
        arguments = _arguments(error)
        if arguments and type(arguments[0]) is str:
            text = f"{arguments[0][:MAX_MESSAGE]} ({text})"
    text = str.__str__(text)
    if len(text) > 4 * MAX_MESSAGE:
        text = text[: 4 * MAX_MESSAGE]
    for folder in _FOLDERS:
        text = text.replace(folder, "<python>")
    return clean(text)


def _release(error: BaseException, pieces: Mapping[str, str]) -> None:
    """Drop what the code's own frames hold, so that there is memory for the answer."""
    step: Any = _traceback(error)
    while step is not None:
        if step.tb_frame.f_code.co_filename in pieces:
            try:
                step.tb_frame.clear()
            except RuntimeError:
                pass  # still running: a frame that called this
        step = step.tb_next
