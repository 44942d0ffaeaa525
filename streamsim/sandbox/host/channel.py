"""The host's end of a worker's channel: one exchange at a time, every byte taken as hostile.

What is not exactly the next frame of the exchange under way ends the worker: bytes while it is idle or
while the host answers, a frame that is too long or no frame, a wrong nonce, sequence or kind, anything after
the last.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple, cast

import msgspec

from streamsim.sandbox import wire
from streamsim.sandbox.limits import Limits

Ask = Callable[[msgspec.Raw], Awaitable[object]]

_BUFFER: Final = 16 * 1024
_SECOND_LOOK_S: Final = 0.01
_failure = msgspec.msgpack.Decoder(wire.Failure)


class Words(NamedTuple):
    """What the author of the code in a worker knows it as, in sentences about its death.

    `process` stands at the beginning of most, `the_process` in that of a broken protocol, and `call` for what
    ran when the time was up.
    """

    process: str
    the_process: str
    call: str


POLICY: Final = Words("policy process", "the policy process", "a call")


class WorkerDied(Exception):
    """The worker is gone, and with it the exchange. `str` of it is for the author of a policy's code.

    :param why: the sentence, or what it says of its `subject`.
    """

    def __init__(self, why: str, subject: Literal["", "process", "the_process", "call"] = "") -> None:
        super().__init__(why, subject)
        self.why = why
        self.subject = subject

    def worded(self, words: Words) -> str:
        """The sentence for the author of code that is no policy's."""
        return f"{getattr(words, self.subject)} {self.why}" if self.subject else self.why

    def __str__(self) -> str:
        return self.worded(POLICY)


class WorkerTimeout(WorkerDied):
    """Killed: a call did not end within the hard limit."""

    def worded(self, words: Words) -> str:
        return f"stopped: {super().worded(words)}"


class WorkerCrashed(WorkerDied):
    """The process ended by itself, by a signal, or because the host ended it."""


class WorkerMemory(WorkerDied):
    """Ended for want of memory."""


class SandboxLost(WorkerCrashed):
    """Ended because the zygote did; no fault of the code, and another worker may be had soon."""


class ProtocolViolation(WorkerDied):
    """Killed: it sent what no right worker sends."""


class ProgramFailed(Exception):
    """The program answered that it failed as a whole; the worker lives."""

    def __init__(self, failure: wire.Failure) -> None:
        super().__init__(f"{failure.type}: {failure.message}")
        self.failure = failure


class RequestTooLarge(ValueError):
    """The request is larger than a frame may be; the worker saw nothing of it."""


class AskRefused(Exception):
    """Raised by an `ask` callback: the question gets no answer, but this text, and the worker goes on."""


class WorkerChannel(asyncio.BufferedProtocol):
    """Exchanges with one worker.

    :param on_death: called once, when a limit or the protocol was broken; has to end the process.
    :param on_lost: called once, when the other end closed; `fail` has to follow, with the reason.
    """

    def __init__(self, limits: Limits, on_death: Callable[[], None], on_lost: Callable[[], None]) -> None:
        self.death: WorkerDied | None = None
        self.busy = False
        self.used = self.began = 0.0
        self._limits = limits
        self._on_death, self._on_lost = on_death, on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._view = memoryview(bytearray(_BUFFER))
        self._filled = 0
        # Of the exchange under way; `_waiting` is None while the worker has nothing to say.
        self._waiting: asyncio.Future[wire.Frame] | None = None
        self._nonce = b""
        self._calls = self._finished = self._asked = self._asks_left = 0
        self._answer_s = 0.0
        self._answering: asyncio.Timeout | None = None
        self._may_ask = False
        self._open, self._parts = False, 0
        self._reply: asyncio.Future[wire.Frame] = self._loop.create_future()
        # One timer serves many exchanges: it looks at the deadline when it fires.
        self._deadline = math.inf
        self._looked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    @property
    def calls(self) -> int:
        """How many calls the exchange under way holds so far."""
        return self._calls if self.busy else 0

    async def exchange(self, request: object, *, calls: int = 1, ask: Ask | None = None) -> msgspec.Raw:
        """Send a request; the body of its `done` frame.

        :param calls: how many calls the request holds; each has the hard limit for itself.
        :param ask: as of `finish`.
        :raises WorkerDied: the worker is gone.
        :raises ProgramFailed: the program failed as a whole.
        :raises RequestTooLarge: the request is larger than a frame may be.
        """
        self.begin(request, calls=calls, asks=ask is not None)
        return await self.finish(ask)

    def begin(self, request: object, *, calls: int, asks: bool, more: bool = False) -> None:
        """Send a request; `finish` has to follow.

        :param asks: whether the program may ask. :param more: calls of it are still to come, by `extend`.
        :raises WorkerDied: the worker is gone.
        :raises RequestTooLarge: the request is larger than a frame may be.
        """
        if self.busy:
            raise RuntimeError("a worker has one exchange at a time")
        if self.death is not None:
            raise type(self.death)(*self.death.args)
        nonce = os.urandom(wire.NONCE_BYTES)
        frame = self._encoded("call", nonce, 0, request)
        self.busy, self._nonce, self._open, self._parts = True, nonce, more, 0
        self._calls, self._finished, self._asked, self._may_ask = calls, 0, 0, asks
        self._asks_left, self._answer_s = self._limits.asks, self._limits.hard_s
        self._reply = self._send(frame, self._limits.hard_s)
        self.began = self.used

    def extend(self, part: object, *, calls: int, more: bool) -> None:
        """Send more calls of the request that was begun with `more`.

        :raises RequestTooLarge: they are larger than a frame may be; they were not sent.
        """
        frame = self._encoded("more", self._nonce, self._parts + 1, part)
        self._parts += 1
        self._calls += calls
        self._open = more
        if self.death is None:
            self._write(frame, self._limits.hard_s)

    async def finish(self, ask: Ask | None) -> msgspec.Raw:
        """The body of the `done` frame of the request that was begun, of which no more is to come.

        :param ask: answers the program's questions; the time that it takes does not count as the call's, but
            all answers of one call together have the hard limit too.
        :raises WorkerDied: the worker is gone.
        :raises ProgramFailed: the program failed as a whole.
        """
        try:
            received = await self._reply
            while received.kind == "ask":
                assert ask is not None
                asked_at = self._loop.time()
                left = self._deadline - asked_at
                self._arm(asked_at + self._answer_s)
                answer = await self._answer(ask, received)
                self._answer_s -= self._loop.time() - asked_at
                if self.death is not None:
                    raise self.death
                received = await self._send(answer, left)
        except BaseException as error:
            if self.death is None:  # cancelled, or `ask` failed: the worker is in the middle of something
                self.fail(WorkerCrashed("the call was given up"))
            if error is self.death:
                raise type(error)(*error.args) from None
            raise
        finally:
            self.busy = False
            self._deadline = math.inf
        if received.kind == "failed":
            raise ProgramFailed(wire.cleaned(_failure.decode(received.body)))
        return received.body

    async def _answer(self, ask: Ask, question: wire.Frame) -> bytes:
        """The frame that answers; given up when the worker is no more, however long the answer takes."""
        try:
            async with asyncio.timeout(None) as self._answering:
                body = await ask(question.body)
            answer = wire.encode("answer", self._nonce, question.sequence, body)
            if len(answer) - wire.HEADER.size > self._limits.frame_bytes:
                raise AskRefused(f"the answer is larger than {self._limits.frame_bytes} bytes")
        except AskRefused as refused:
            answer = wire.encode("refused", self._nonce, question.sequence, str(refused))
        except TimeoutError:
            if self.death is None:
                raise
            raise self.death from None
        finally:
            self._answering = None
        return answer

    def _encoded(self, kind: wire.Kind, nonce: bytes, sequence: int, body: object) -> bytes:
        frame = wire.encode(kind, nonce, sequence, body)
        if len(frame) - wire.HEADER.size > self._limits.frame_bytes:
            raise RequestTooLarge(f"a request of {len(frame)} bytes; at most {self._limits.frame_bytes}")
        return frame

    def _send(self, frame: bytes, seconds: float) -> asyncio.Future[wire.Frame]:
        """Write a frame; the one that follows."""
        waiting: asyncio.Future[wire.Frame] = self._loop.create_future()
        self._waiting = waiting
        self._write(frame, seconds)
        return waiting

    def _write(self, frame: bytes, seconds: float) -> None:
        assert self._transport is not None
        self.used = now = self._loop.time()
        self._arm(now + seconds)
        # Closed: the worker is gone, and the zygote is about to tell why. uvloop's transport would raise.
        if not self._transport.is_closing():
            self._transport.write(frame)

    def fail(self, death: WorkerDied) -> None:
        """The worker is no more, for this reason. Only the first reason counts."""
        if self.death is not None:
            return
        self.death = death
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        if self._answering is not None:
            self._answering.reschedule(self._loop.time())  # nobody is left to be answered
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(death)
            if self._open:
                waiting.exception()  # seen: perhaps nobody comes to wait for it
        self._on_death()

    def _arm(self, deadline: float) -> None:
        self._deadline = deadline
        if self._timer is not None and self._rings_at > deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._ring(deadline)

    def _ring(self, at: float) -> None:
        # Its time is kept here: what uvloop returns for a time that is over cannot tell it.
        self._rings_at = at
        self._timer = self._loop.call_at(at, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if self.death is not None or not self.busy or self._deadline == math.inf:
            return
        if self._loop.time() < self._deadline:
            self._ring(self._deadline)
        elif self._looked_at != self._deadline:
            # A host that was held up reads first what came in the meantime.
            self._looked_at = self._deadline
            self._ring(self._loop.time() + _SECOND_LOOK_S)
        else:
            limit = self._limits.wall_ms + self._limits.grace_ms
            took = f"took longer than {limit} ms"
            if self._waiting is not None:
                self.fail(WorkerTimeout(took, "call"))
            else:
                self.fail(WorkerTimeout(f"what a call read from the store {took}"))

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.death is None:
            self._on_lost()

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._view[self._filled :] if self._filled else self._view

    def buffer_updated(self, count: int) -> None:
        filled = self._filled + count
        try:
            while True:
                if self._waiting is None:
                    raise wire.WireError("it sent data when it had nothing to say")
                if filled < wire.HEADER.size:
                    break
                end = wire.length(self._view[: wire.HEADER.size], self._limits.frame_bytes) + wire.HEADER.size
                if filled < end:
                    if end > len(self._view):
                        larger = memoryview(bytearray(end))
                        larger[:filled] = self._view[:filled]
                        self._view = larger
                    break
                frame = wire.decode(bytes(self._view[wire.HEADER.size : end]))
                filled -= end
                if filled:
                    self._view[:filled] = bytes(self._view[end : end + filled])
                elif end > _BUFFER:
                    self._view = memoryview(bytearray(_BUFFER))
                self._receive(frame, filled)
                if not filled:
                    break
        except wire.WireError as error:
            self.fail(ProtocolViolation(f"broke the protocol: {error}", "the_process"))
            return
        self._filled = filled

    def _receive(self, frame: wire.Frame, more: int) -> None:
        kind = frame.kind
        if frame.nonce != self._nonce:
            raise wire.WireError("a frame of no exchange")
        if kind == "done" or kind == "failed":
            if more or frame.sequence != 0:
                raise wire.WireError("something after the end of an exchange")
            if self._open and kind == "done":
                raise wire.WireError("an end before it was given all calls")
            if kind == "failed":
                try:
                    _failure.decode(frame.body)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    raise wire.WireError("no record of a failure") from None
        elif kind == "progress":
            if not self._finished < frame.sequence <= self._calls or frame.body != wire.NIL:
                raise wire.WireError("progress that cannot be")
            self._finished = frame.sequence
            if frame.sequence < self._calls:  # else there is no next call, and no more time
                self._asks_left, self._answer_s = self._limits.asks, self._limits.hard_s
                self._deadline = self._loop.time() + self._limits.hard_s
            return
        elif kind == "ask":
            self._asked += 1
            self._asks_left -= 1
            if frame.sequence != self._asked or not self._may_ask or self._asks_left < 0:
                raise wire.WireError("a question that cannot be")
        else:
            raise wire.WireError(f"a frame of kind {kind}")
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)
