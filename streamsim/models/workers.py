"""Sandboxed processes that hold models: how they are had, and what their failures mean to callers."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from streamsim.config import ModelSettings, SandboxSettings
from streamsim.errors import BadRequest, ModelError, ModelTimeout, Unavailable
from streamsim.models.engines.base import REFUSED
from streamsim.sandbox.host.aside import Given, worked_out
from streamsim.sandbox.host.lazy import LazySandbox
from streamsim.sandbox.host.patrol import Patrol
from streamsim.sandbox.host.pool import (
    Limits,
    ProgramFailed,
    Sandbox,
    SandboxUnavailable,
    Words,
    Worker,
    WorkerDied,
    WorkerMemory,
    WorkerTimeout,
)
from streamsim.sandbox.wire import Failure
from streamsim.storage.contract.runs import Model
from streamsim.values import JsonObject
from streamsim.waiting import Room

FAILURES: Final = (ProgramFailed, WorkerDied)
PROGRAM: Final = "model"
WORDS: Final = Words("the model's process", "the model's process", "the model")
LIBRARIES: Final = {"bptk": "BPTK_Py", "pysd": "pysd"}
"""The library behind each engine that needs one."""
# Arrays of a model look for dask, whose import asks for the process that a worker cannot see.
PRELOAD: Final = (
    "pandas",
    "BPTK_Py",
    "BPTK_Py.sdcompiler.compile",
    "pysd",
    "pysd.builders.python.namespace",
    "dask.array",
)
OURS: Final = {
    "timeout": "; that is a limit of this server: models.cpu_ms and models.wall_ms",
    "memory": "; that is a limit of this server: models.memory_bytes",
}
"""By what a model ran into: whose limit it is."""
SUMMING: Final = 4
HEAD_ROOM: Final = 4
"""Workers beyond the live runs and the runners: uploads that are being checked, sweeps that are summed up."""


class Refusal(BadRequest):
    """The model does not know a name, or a value does not fit it; nothing was changed."""


class ModelWorkers:
    """The processes of one server process. The first use starts a zygote with the modelling libraries."""

    def __init__(
        self,
        settings: ModelSettings,
        *,
        box: SandboxSettings | None = None,
        sandbox: Sandbox | None = None,
        patrol: Patrol | None = None,
    ) -> None:
        """:param sandbox: one that is started already, and stays the caller's.

        :param patrol: looks at the processes, but for those of such a one.
        """
        box = box or SandboxSettings()
        self._settings = settings
        self._sandbox = LazySandbox(
            sandbox,
            workers=settings.live + settings.runners + HEAD_ROOM,
            plain=False,
            allow_degraded=box.allow_degraded,
            preload=(*PRELOAD, *box.preload),
            patrol=patrol,
        )
        self._summing = Room(2, share=1)
        self._limits = Limits(
            cpu_ms=settings.cpu_ms,
            wall_ms=settings.wall_ms,
            memory_bytes=settings.memory_bytes,
            frame_bytes=settings.frame_bytes,
        )

    async def close(self) -> None:
        """End all processes."""
        await self._sandbox.close()

    @property
    def count(self) -> int:
        """Live processes."""
        return len(self._sandbox.workers)

    async def spawn(self, models: Sequence[Model]) -> Worker:
        """A process that has loaded these models.

        :raises ModelError: one does not load. :raises Refusal: one lacks what its engine needs.
        """
        load = {
            "models": [
                {
                    "name": model.name,
                    "engine": model.engine,
                    "main": model.main,
                    "files": model.files,
                    "options": msgspec.json.decode(model.options),
                }
                for model in models
            ]
        }
        first = models[0]
        identity = f"{first.tenant}/{first.name}/{first.version}"
        try:
            return await self._sandbox.spawn(PROGRAM, load, self._limits, identity=identity)
        except FAILURES as error:
            raise expected(error) from None
        except SandboxUnavailable as error:
            raise Unavailable(f"models cannot run here: {error}") from None

    async def figures(self, tenant: str, given: AsyncIterator[Given], word: str, *asked: object) -> bytes:
        """What the program `figures` makes of data, in `SUMMING` times a model's time and memory.

        :raises ModelError: it does not within them. :raises Unavailable:
        """
        limits = msgspec.structs.replace(
            self._limits,
            cpu_ms=SUMMING * self._limits.cpu_ms,
            wall_ms=SUMMING * self._limits.wall_ms,
            memory_bytes=SUMMING * self._limits.memory_bytes,
        )
        async with self._summing.place(tenant):
            try:
                worker = await self._sandbox.spawn("figures", None, limits, identity=f"{tenant}/figures")
                try:
                    return await worked_out(worker, given, word, *asked, frame_bytes=limits.frame_bytes)
                finally:
                    worker.kill()
            except FAILURES as error:
                raise expected(error) from None
            except SandboxUnavailable as error:
                raise Unavailable(f"sweeps cannot be summed up here: {error}") from None


def installed(engine: str) -> bool:
    """Whether the library of an engine is there."""
    library = LIBRARIES.get(engine)
    return library is None or importlib.util.find_spec(library) is not None


def expected(error: ProgramFailed | WorkerDied) -> BadRequest | ModelError:
    """What a worker's failure is to the caller."""
    if isinstance(error, ProgramFailed):
        return failed(error.failure)
    if isinstance(error, WorkerTimeout):
        return ModelTimeout(f"{error.worded(WORDS)}{OURS['timeout']}")
    return ModelError(error.worded(WORDS) + (OURS["memory"] if isinstance(error, WorkerMemory) else ""))


def failed(failure: Failure) -> BadRequest | ModelError:
    """The error behind a failure record: of the request, or of the model's code with file and line."""
    if failure.kind == "rejected" and failure.type == REFUSED:
        return Refusal(failure.message)
    place = f"{failure.piece}, line {failure.line}: " if failure.piece else ""
    message = f"{place}{failure.type}: {failure.message}{OURS.get(failure.kind, '')}"
    detail = {
        "file": failure.piece,
        "line": failure.line,
        "type": failure.type,
        "message": failure.message,
        "trace": [
            {"function": function, "file": piece, "line": line} for piece, function, line in failure.trace
        ],
    }
    kind = ModelTimeout if failure.kind == "timeout" else ModelError
    return kind(message, detail=detail)


async def ask(worker: Worker, entries: list[JsonObject], calls: int = 0) -> msgspec.Raw:
    """The result of the last of some entries, which are `calls` that have the time limit each."""
    try:
        return await worker.exchange(entries, calls=calls or len(entries))
    except FAILURES as error:
        raise expected(error) from None
