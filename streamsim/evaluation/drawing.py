"""Plots are drawn in a process of their own, which ends with the request that it draws for.

`python -m streamsim.evaluation.drawing svg|png comparison|inference` reads one as JSON and writes its
picture. It runs no user code, and matplotlib, which wants files to write and threads, could not run in the
sandbox.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from streamsim.errors import TooLarge
from streamsim.evaluation.compare import Comparison
from streamsim.evaluation.inference.forest import forest
from streamsim.evaluation.inference.report import Inference
from streamsim.evaluation.pictures import Format
from streamsim.evaluation.plots import plot
from streamsim.sandbox.host.priority import Priority
from streamsim.waiting import Room

Form = Literal["json", "csv", "svg", "png"]
Subject = Literal["comparison", "inference"]
AT_ONCE: Final = 2
MEMORY_BYTES: Final = 2 << 30
KEPT: Final = ("HOME", "LANG", "MPLCONFIGDIR", "PATH", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
"""What it sees of the environment, in which settings may hold passwords."""
_PR_SET_PDEATHSIG: Final = 1
_NO_MEMORY: Final = 12
"""The exit status of one that ran out of memory."""
_DRAWN: Final[dict[str, Callable[[bytes, Format], bytes]]] = {
    "comparison": lambda text, kind: plot(msgspec.json.decode(text, type=Comparison), kind),
    "inference": lambda text, kind: forest(msgspec.json.decode(text, type=Inference), kind),
}


class Drawing:
    """The pictures of one server process: so many at once, one of each tenant."""

    def __init__(self, priority: Priority) -> None:
        """:param priority: how they stand back behind live decisions."""
        self._priority = priority
        self._room = Room(AT_ONCE, share=1)

    async def picture(self, tenant: str, text: bytes, kind: Format, subject: Subject = "comparison") -> bytes:
        """What is given as JSON text, as a picture. Whoever cancels this ends the process.

        :raises TooLarge: it cannot be drawn within `MEMORY_BYTES`.
        """
        async with self._room.place(tenant):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", "streamsim.evaluation.drawing"),
                *(kind, subject),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env={name: os.environ[name] for name in KEPT if name in os.environ},
            )
            self._priority.lower(process.pid, tenant)
            self._priority.keep_off(process.pid, tenant)  # it was not begun where others are
            try:
                picture, said = await process.communicate(text)
            finally:
                self._priority.ended(process.pid)
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode == _NO_MEMORY:
            raise TooLarge(f"a picture of so much needs more than {MEMORY_BYTES >> 20} MiB", field="format")
        if process.returncode:
            raise RuntimeError(
                f"the process that draws ended with {process.returncode}: {said.decode()[-2000:]}"
            )
        return picture


def main() -> None:
    """Draw one picture."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    kind, subject = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        picture = _DRAWN[subject](sys.stdin.buffer.read(), "png" if kind == "png" else "svg")
    except MemoryError:
        sys.exit(_NO_MEMORY)
    sys.stdout.buffer.write(picture)


if __name__ == "__main__":
    main()
