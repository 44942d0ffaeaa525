"""A Dask cluster as the batch work of this service uses it: bytes to a function on a worker, bytes back.

What runs there is sandboxed as it is here: a worker of the cluster has a sandbox of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

import distributed
import msgspec

from streamsim.errors import StreamsimError, Unavailable

T = TypeVar("T")
Task = TypeVar("Task")
_PER_CORE: Final = 2
_UNKNOWN: Final = 64


class Cluster:
    """The cluster whose scheduler has this address; joined at the first call."""

    def __init__(self, scheduler: str) -> None:
        self._scheduler = scheduler
        self._client: Any = None
        self._opening = asyncio.Lock()

    @property
    def at_once(self) -> int:
        """How many calls keep it busy."""
        if self._client is None:
            return _UNKNOWN
        cores: int = sum(worker["nthreads"] for worker in self._client.scheduler_info()["workers"].values())
        return max(1, _PER_CORE * cores)

    async def call(self, function: Callable[[bytes], bytes], task: bytes) -> bytes:
        """What the function answers on some worker. :raises Unavailable: the cluster is away, or lost it."""
        client = await self._connected()
        future = client.submit(function, task, pure=False)
        try:
            answer: bytes = await future
        except (OSError, TimeoutError, distributed.scheduler.KilledWorker) as error:
            raise Unavailable(f"the Dask cluster lost a task: {type(error).__name__}") from None
        except asyncio.CancelledError:
            await client.cancel([future], force=True)
            raise
        return answer

    async def close(self) -> None:
        """Leave the cluster."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _connected(self) -> Any:
        async with self._opening:
            if self._client is None:
                try:
                    self._client = await distributed.Client(  # type: ignore[no-untyped-call]
                        self._scheduler, asynchronous=True, timeout=10, set_as_default=False
                    )
                except (OSError, TimeoutError):
                    raise Unavailable(f"the Dask scheduler {self._scheduler} cannot be reached") from None
        return self._client


class RemoteError(msgspec.Struct, array_like=True, frozen=True):
    """An expected failure, on its way back from the cluster."""

    status: int
    code: str
    message: str
    detail: Any = None

    @classmethod
    def of(cls, error: StreamsimError) -> RemoteError:
        return cls(error.status, error.code, error.message, error.detail)

    def local(self) -> StreamsimError:
        """The error to raise here."""
        error = Unavailable(self.message) if self.code == Unavailable.code else StreamsimError(self.message)
        error.status, error.code, error.detail = self.status, self.code, self.detail
        return error


class Thread:
    """In a process of the cluster: an event loop in a thread of its own, for as long as the process lives."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="streamsim", daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Its result, waited for."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class Once(Generic[Task, T]):
    """What a process of the cluster makes for its first task, and keeps.

    All tasks of a cluster come from one configuration.
    """

    def __init__(self, make: Callable[[Task], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._making = threading.Lock()

    def of(self, task: Task) -> T:
        """It, made for this task if there is none yet."""
        with self._making:
            if not self._made:
                self._made.append(self._make(task))
        return self._made[0]
