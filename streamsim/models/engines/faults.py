"""What is wrong with a model, in the words of its own file: the variable, its line, and what was expected.

The modelling libraries fail with errors of their parsers and of the code that they make of a model. The
frames of such an error tell which variable they were at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from types import CodeType
from typing import Any, NamedTuple
from xml.parsers import expat

from streamsim.models.engines.base import Refused
from streamsim.sandbox.wire import Failure, clean
from streamsim.sandbox.worker.clock import SoftTimeout
from streamsim.sandbox.worker.failures import Described

Explain = Callable[[BaseException], Failure | None]
MAX_FRAMES = 100_000


class Frame(NamedTuple):
    """A frame of an error: its code, the line that ran, and its variables."""

    code: CodeType
    line: int
    variables: dict[str, Any]


def frames(error: BaseException) -> list[Frame]:
    """Outermost first."""
    result: list[Frame] = []
    step = error.__traceback__
    while step is not None and len(result) < MAX_FRAMES:
        result.append(Frame(step.tb_frame.f_code, step.tb_lineno, step.tb_frame.f_locals))
        step = step.tb_next
    return result


@contextmanager
def explained(explain: Explain) -> Iterator[None]:
    """Lets errors of a library be told as `explain` does; those that it has no words for stay as they are."""
    try:
        yield
    except (Refused, Described, SoftTimeout, MemoryError):
        raise
    except Exception as error:
        failure = explain(error)
        if failure is None:
            raise
        raise Described(failure) from None


def failure(kind: str, message: str, file: str, line: int = 0) -> Failure:
    """An error of the model. `kind`: as Python would name it. `line`: 0 if it is not known."""
    if not line:
        # Without a line a record does not tell the file.
        message = f"{file}: {message}"
        return Failure("exception", kind, clean(message))
    return Failure("exception", kind, clean(message), file, line)


def version(library: str) -> str:
    """A library with its version, whose limit something is."""
    return f"{library} {metadata.version(library)}"


def line_of(text: str, part: str) -> int:
    """The line of a text where a part begins, however its white space is; 0 if it is not there."""
    words = part.split()[:12]
    if not words:
        return 0
    found = re.search(r"[\s\\]*".join(map(re.escape, words)), text)
    return 0 if found is None else text.count("\n", 0, found.start()) + 1


def circle(names: list[str]) -> list[str]:
    """The names that come again and again at the end of a list, each once, in this order."""
    last = names[-1:]
    for name in reversed(names[:-1]):
        if name == last[0]:
            break
        last.append(name)
    return last[::-1]


def in_circle(names: list[str]) -> str:
    """That equations need each other, by the names of a `circle`."""
    if len(names) == 1:
        return "it needs its own value at the same time"
    return f"{', '.join(names)}: each needs the next one's value at the same time, and the last the first's"


def check_xmile(file: str, text: str, library: str, *, parts: tuple[str, ...], strict: bool) -> None:
    """That a text is XMILE with the parts that a library needs.

    :param strict: the library reads only XML without faults.
    :raises Described: the part or the line at fault.
    """
    seen: list[str] = []
    depth: list[str] = []

    def start(tag: str, _attributes: dict[str, str]) -> None:
        depth.append(tag.rpartition(":")[2])
        if len(depth) <= 3:
            seen.append("/".join(depth))

    def end(_tag: str) -> None:
        depth.pop()

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    fault: expat.ExpatError | None = None
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        fault = error
    if fault is not None and (strict or not seen):
        said = expat.ErrorString(fault.code)
        raise Described(failure("SyntaxError", f"this is no XML: {said}", file, fault.lineno))
    if seen[0] != "xmile":
        raise Described(failure("SyntaxError", f"expecting <xmile> as its root, not <{seen[0]}>", file, 1))
    for part in parts:
        if f"xmile/{part}" not in seen:
            *_, name = part.split("/")
            where = f"<{'> in <'.join(reversed(['xmile', *part.split('/')[:-1]]))}>"
            text_of = f"expecting <{name}> in {where}; {version(library)} needs it"
            raise Described(failure("ValueError", text_of, file, 1))
