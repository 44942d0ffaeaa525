"""The loop inside a sandboxed worker: takes a request from its channel, runs the program, answers.

A program is a module of `streamsim.programs` with a class `Program(load, channel)`. The first request
is its `load`, answered with its attribute `loaded`; `handle(request)` gives the result of every later one.
The channel needs `read` and `write` alone, which is all that the system-call filter leaves.
"""

from __future__ import annotations

import importlib
import os
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec

from streamsim import values
from streamsim.sandbox import wire
from streamsim.sandbox.limits import Limits
from streamsim.sandbox.registry import PROGRAMS
from streamsim.sandbox.worker import state
from streamsim.sandbox.worker.clock import Clock, clock
from streamsim.sandbox.worker.failures import describe

_READ: Final = 65536


class Channel:
    """A program's way to the host, and what it needs around every call.

    `clock.start()` and `clock.stop()` bracket user code; `reset()` comes after every call.
    """

    def __init__(self, descriptor: int, limits: Limits, clock: Clock) -> None:
        self.clock = clock
        self._descriptor = descriptor
        self._limits = limits
        self._nonce = b""
        self._asked = self._budget = self._parts = 0
        self._unread = b""
        self._came: deque[wire.Frame] = deque()
        self._reported = 0.0
        # Progress is told this rarely: the host's clock has `grace_ms` to spare.
        self._report_s = limits.grace_ms / 5000
        self.reset = state.State(clock, limits).reset

    def ask(self, payload: object) -> Any:
        """The host's answer to a question; the time that it takes does not count for the code.

        :raises RuntimeError: the host refused, or more questions in one call than the limit.
        """
        if self._budget <= 0:
            raise RuntimeError(f"one call may read from the store at most {self._limits.asks} times")
        paused = self.clock.pause()
        try:
            self._budget -= 1
            self._asked += 1
            self._write(wire.encode("ask", self._nonce, self._asked, payload))
            frame = self._read()
            while frame.kind == "more":  # the host sent it before it saw the question
                self._came.append(frame)
                frame = self._read()
            if frame.nonce != self._nonce or frame.sequence != self._asked:
                os._exit(wire.BROKEN)
            answer = msgspec.msgpack.decode(frame.body)
            if frame.kind == "refused":
                raise RuntimeError(answer)
            return answer
        finally:
            self.clock.resume(paused)

    def progress(self, finished: int) -> None:
        """So many calls of the request are finished: the next one has the whole time limit again."""
        self._budget = self._limits.asks
        now = time.monotonic()
        if now - self._reported > self._report_s:
            self._reported = now
            self._write(wire.encode("progress", self._nonce, finished))

    def next_request(self) -> Any:
        """Wait for the host's next request."""
        frame = self._read()
        if frame.kind != "call":
            os._exit(wire.BROKEN)
        self._nonce = frame.nonce
        self._asked, self._budget, self._parts = 0, self._limits.asks, 0
        self._reported = time.monotonic()
        return msgspec.msgpack.decode(frame.body)

    def more(self) -> Any:
        """Wait for the next part of a request that comes in parts."""
        frame = self._came.popleft() if self._came else self._read()
        self._parts += 1
        if frame.kind != "more" or frame.nonce != self._nonce or frame.sequence != self._parts:
            os._exit(wire.BROKEN)
        return msgspec.msgpack.decode(frame.body)

    def finish(self, kind: wire.Kind, body: object) -> None:
        """End the exchange with `done` or `failed`.

        :raises InvalidValue: a result that cannot be sent; nothing was written then.
        """
        try:
            frame = wire.encode(kind, self._nonce, 0, body)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            raise values.InvalidValue("result", f"cannot be sent: {error}") from None
        size = len(frame) - wire.HEADER.size
        if size > self._limits.frame_bytes:
            raise values.InvalidValue(
                "result", f"is {size} bytes; at most {self._limits.frame_bytes} are allowed"
            )
        self._write(frame)

    def _read(self) -> wire.Frame:
        data = self._unread or self._more(_READ)
        while len(data) < wire.HEADER.size:
            data += self._more(_READ)
        size = wire.length(data[: wire.HEADER.size], self._limits.frame_bytes) + wire.HEADER.size
        if len(data) < size:
            parts, missing = [data], size - len(data)
            while missing > 0:
                parts.append(self._more(min(missing, 1 << 20)))
                missing -= len(parts[-1])
            data = b"".join(parts)
        self._unread = data[size:]
        return wire.decode(data[wire.HEADER.size : size])

    def _more(self, size: int) -> bytes:
        data = os.read(self._descriptor, size)
        if not data:
            os._exit(0)  # the host closed the channel
        return data

    def _write(self, frame: bytes) -> None:
        written = os.write(self._descriptor, frame)
        while written < len(frame):
            frame = frame[written:]
            written = os.write(self._descriptor, frame)


def as_text(result: object) -> bytes:
    """A program's result as JSON text. :raises InvalidValue: it cannot be sent."""
    try:
        return wire.to_text(result)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise values.InvalidValue("result", f"cannot be sent: {error}") from None


def main(fd: int, program: str, limits: Mapping[str, int] | Limits) -> NoReturn:
    """Serve the channel `fd` until the host closes it. Never returns."""
    status = wire.BROKEN
    try:
        if not isinstance(limits, Limits):
            limits = Limits(**limits)
        clock.install(limits)
        channel = Channel(fd, limits, clock)
        # Forked from one zygote, all workers would draw the same numbers.
        state.seed()
        _serve(channel, importlib.import_module(PROGRAMS[program]))
    except MemoryError:
        status = wire.OUT_OF_MEMORY
    except BaseException:
        pass
    finally:
        os._exit(status)


def _serve(channel: Channel, module: Any) -> NoReturn:
    program: Any = None
    while True:
        request = channel.next_request()
        try:
            if program is None:
                loading = module.Program(request, channel)
                channel.finish("done", loading.loaded)
                program = loading
            else:
                channel.finish("done", program.handle(request))
        except BaseException as error:
            clock.active = False
            failure = describe(error, {})
            del error
            channel.finish("failed", failure)
        del request
