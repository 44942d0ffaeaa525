"""A hostile worker at the other end of the channel: whatever it sends, an exchange ends as documented."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import threading
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from streamsim.sandbox import wire
from streamsim.sandbox.host.channel import (
    ProgramFailed,
    ProtocolViolation,
    RequestTooLarge,
    WorkerChannel,
    WorkerCrashed,
    WorkerDied,
    WorkerTimeout,
)
from streamsim.sandbox.limits import Limits

CASES = 24_000
LIMITS = Limits(frame_bytes=4096, asks=5)
KINDS = ("call", "answer", "refused", "ask", "progress", "done", "failed", "", "DONE", 7, None)
FAILURE = {"kind": "exception", "type": "E", "message": "m", "piece": "get_action", "line": 1}

Run = Callable[..., Any]


class Wire:
    """What a transport would do with the bytes: keeps what was written, and counts aborts."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


def link_on(transport: Wire, limits: Limits = LIMITS) -> WorkerChannel:
    deaths: list[None] = []

    def died() -> None:
        deaths.append(None)
        assert len(deaths) == 1

    channel = WorkerChannel(limits, died, lambda: channel.fail(WorkerCrashed("the other end closed")))
    channel.connection_made(cast(asyncio.Transport, transport))
    return channel


def feed(channel: WorkerChannel, data: bytes, pieces: random.Random) -> None:
    """Hand over bytes as a socket would, in reads of any size."""
    while data and channel.death is None:
        buffer = channel.get_buffer(-1)
        assert 0 < len(buffer) <= LIMITS.frame_bytes + 16 * 1024 + wire.HEADER.size
        count = min(len(buffer), len(data), pieces.choice((1, 3, 17, 5000)))
        buffer[:count] = data[:count]
        data = data[count:]
        channel.buffer_updated(count)


def body(draw: random.Random) -> object:
    return draw.choice(
        (
            None,
            [],
            {"a": 1},
            FAILURE,
            {**FAILURE, "kind": "x"},
            {**FAILURE, "message": "\x1b[2J" * 3000},
            {**FAILURE, "line": -1},
            {**FAILURE, "extra": 1},
            msgspec.Raw(b"\x91" * 5000 + b"\xc0"),
            msgspec.Raw(b"\xd9\x02\xff\xfe"),
            msgspec.msgpack.Ext(5, b"x"),
            b"\0" * 50,
            math.nan,
            "x" * 5000,
        )
    )


def frame(draw: random.Random, nonce: bytes) -> bytes:
    """A frame that is right in most respects."""

    def mostly(right: object, *wrong: object) -> object:
        return right if draw.random() < 0.9 else draw.choice(wrong)

    kind, sequence, content = draw.choice(
        [("ask", 1, None), ("progress", 1, None), ("done", 0, 1), ("failed", 0, FAILURE)]
    )
    parts: list[object] = [
        mostly(kind, *KINDS),
        mostly(nonce, draw.randbytes(16), nonce[:15], nonce + b"x", "x" * 16),
        mostly(sequence, 0, 1, 2, 3, -1, 2**63, 2**64 - 1, "1", 1.0, None),
        content if draw.random() < 0.6 else body(draw),
    ]
    if draw.random() < 0.05:
        draw.choice((parts.pop, lambda: parts.append(1), parts.reverse, parts.clear))()
    payload = msgspec.msgpack.encode(parts)
    size = mostly(len(payload), 0, 1, len(payload) + 1, 2**31, 2**32 - 1)
    return wire.HEADER.pack(size) + payload


def mutated(draw: random.Random, nonce: bytes) -> bytes:
    """What a hostile worker may send in one go; it knows the nonce."""
    if draw.random() < 0.05:
        return draw.randbytes(draw.choice((1, 4, 5, 64, 9000)))
    data = bytearray(b"".join(frame(draw, nonce) for _ in range(draw.choice((1, 1, 1, 2, 3)))))
    if draw.random() < 0.2:
        for _ in range(draw.choice((1, 2, 8))):
            data[draw.randrange(len(data))] = draw.randrange(256)
    if draw.random() < 0.1:
        del data[draw.randrange(len(data)) :]
    return bytes(data)


async def one_case(draw: random.Random) -> str:
    transport = Wire()
    channel = link_on(transport)

    async def answer(_question: msgspec.Raw) -> object:
        return 1

    task = asyncio.ensure_future(channel.exchange("request", calls=2, ask=answer))
    await asyncio.sleep(0)
    nonce = wire.decode(transport.written[0][wire.HEADER.size :]).nonce
    sent = b""
    for _ in range(draw.choice((1, 2, 4))):
        more = mutated(draw, nonce)
        sent += more
        feed(channel, more, draw)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if channel.death is not None or task.done():
            break
    if channel.death is None and not task.done():
        channel.connection_lost(None)
    await asyncio.wait([task])
    error = task.exception()
    if isinstance(error, WorkerDied):
        assert transport.aborted
        return type(error).__name__
    if isinstance(error, ProgramFailed):
        failure = error.failure
        assert len(failure.message) <= 2000
        assert failure.message.isprintable()
        assert failure.line >= 0
        return "ProgramFailed"
    result = task.result()
    # Only a right last frame is an answer; read here by another decoder than the link's.
    assert holds_answer(sent, nonce, bytes(result))
    return "answer"


def holds_answer(sent: bytes, nonce: bytes, result: bytes) -> bool:
    """Whether a frame among these bytes is a right last one with this body."""
    while sent:
        size = int.from_bytes(sent[:4], "big")
        payload, sent = sent[4 : 4 + size], sent[4 + size :]
        if payload.endswith(result):
            head = msgspec.msgpack.decode(payload.removesuffix(result) + b"\xc0")
            if head == ["done", nonce, 0, None]:
                return True
    return False


def test_hostile_frames_end_an_exchange_only_in_documented_ways(run: Run) -> None:
    draw = random.Random(20_241)
    trouble: list[Any] = []

    async def scenario() -> dict[str, int]:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: trouble.append(context))
        ends: dict[str, int] = {}
        for _ in range(CASES):
            end = await one_case(draw)
            ends[end] = ends.get(end, 0) + 1
        return ends

    ends = run(scenario())
    assert trouble == []
    assert sum(ends.values()) == CASES
    # The fuzzer reaches every end often, so that the test means something.
    assert set(ends) == {"answer", "ProgramFailed", "ProtocolViolation", "WorkerCrashed"}
    assert min(ends.values()) > CASES / 100


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"\0" * 65536, id="zeros"),
        pytest.param(b"\xff" * 65536, id="a length of 4 GiB"),
        pytest.param(wire.HEADER.pack(4096) + b"\x91" * 65536, id="endless nesting"),
        pytest.param(wire.HEADER.pack(1) + b"\xc0", id="tiny frames"),
        pytest.param(wire.encode("done", b"n" * 16), id="answers of no exchange"),
    ],
)
@pytest.mark.parametrize("busy", [True, False])
def test_a_flood_is_cut_off_at_once(run: Run, stream: bytes, busy: bool) -> None:
    """Over a real socket, by a thread that never stops writing."""

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        channel = WorkerChannel(LIMITS, lambda: None, lambda: channel.fail(WorkerCrashed("closed")))
        await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=ours)
        task = asyncio.ensure_future(channel.exchange("request")) if busy else None
        await asyncio.sleep(0)
        sent = 0

        def flood() -> None:
            nonlocal sent
            try:
                while True:
                    sent += theirs.send(stream)
            except OSError:
                pass

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()
        finally:
            theirs.close()
        assert sent < 4 << 20  # what the kernel's socket buffers hold, and not more
        assert isinstance(channel.death, ProtocolViolation)
        if task is not None:
            with pytest.raises(ProtocolViolation):
                await task

    run(scenario())


def test_a_flood_of_right_questions_is_bounded(run: Run) -> None:
    async def scenario() -> None:
        transport = Wire()
        channel = link_on(transport)
        asked = 0

        async def answer(_question: msgspec.Raw) -> object:
            nonlocal asked
            asked += 1
            return None

        task = asyncio.ensure_future(channel.exchange(None, ask=answer))
        await asyncio.sleep(0)
        nonce = wire.decode(transport.written[0][wire.HEADER.size :]).nonce
        for number in range(1, 100):
            feed(channel, wire.encode("ask", nonce, number), random.Random(1))
            for _ in range(3):
                await asyncio.sleep(0)
        with pytest.raises(ProtocolViolation, match="a question"):
            await task
        assert asked == LIMITS.asks

    run(scenario())


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (lambda nonce: wire.encode("done", nonce) * 2, "after the end"),
        (lambda nonce: wire.encode("done", nonce) + b"\0", "after the end"),
        (lambda nonce: wire.encode("ask", nonce, 1) * 2, "nothing to say"),
        (lambda nonce: wire.encode("progress", nonce, 1) * 2, "progress"),
        (lambda nonce: wire.encode("progress", nonce, 3), "progress"),
        (lambda nonce: wire.encode("progress", nonce, 1, "body"), "progress"),
        (lambda nonce: wire.encode("done", bytes(16)), "no exchange"),
        (lambda nonce: wire.encode("call", nonce), "kind call"),
        (lambda nonce: wire.encode("failed", nonce, 0, {"kind": "exception"}), "no record"),
        (lambda nonce: wire.encode("done", nonce, 1), "after the end"),
        (lambda nonce: wire.HEADER.pack(4097), "the limit is 4096"),
    ],
)
def test_what_is_nearly_right_is_wrong(run: Run, sent: Callable[[bytes], bytes], why: str) -> None:
    async def answer(_question: msgspec.Raw) -> object:
        return None

    async def scenario() -> None:
        transport = Wire()
        channel = link_on(transport)
        task = asyncio.ensure_future(channel.exchange(None, calls=2, ask=answer))
        await asyncio.sleep(0)
        nonce = wire.decode(transport.written[0][wire.HEADER.size :]).nonce
        data = sent(nonce)
        channel.get_buffer(-1)[: len(data)] = data
        channel.buffer_updated(len(data))
        assert transport.aborted
        with pytest.raises(ProtocolViolation, match=why):
            await task

    run(scenario())


def test_a_deadline_that_comes_earlier_than_the_last_is_kept(run: Run) -> None:
    """As after an answer given near the end of a call's time, when the alarm is set for the answer's own."""

    async def scenario() -> None:
        channel = link_on(Wire(), Limits(wall_ms=3_600_000))
        task = asyncio.ensure_future(channel.exchange(None))
        await asyncio.sleep(0)
        channel._arm(asyncio.get_running_loop().time() + 0.01)
        with pytest.raises(WorkerTimeout):
            await task

    run(scenario())


def test_a_deadline_may_be_one_that_is_over(run: Run) -> None:
    """As after the last of several answers: the loop then rings at once, and the next deadline is earlier."""

    async def scenario() -> None:
        channel = link_on(Wire(), Limits(wall_ms=3_600_000))
        task = asyncio.ensure_future(channel.exchange(None))
        await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        channel._arm(now)
        channel._arm(now - 1.0)
        with pytest.raises(WorkerTimeout):
            await task

    run(scenario())


def test_a_request_in_parts_ends_when_all_of_it_was_sent(run: Run) -> None:
    async def scenario() -> bytes:
        transport = Wire()
        channel = link_on(transport)
        channel.begin(["a", "b"], calls=2, asks=False, more=True)
        channel.extend(["c"], calls=1, more=True)
        channel.extend(["d"], calls=1, more=False)
        sent = [wire.decode(data[wire.HEADER.size :]) for data in transport.written]
        assert [(one.kind, one.sequence) for one in sent] == [("call", 0), ("more", 1), ("more", 2)]
        assert len({one.nonce for one in sent}) == 1
        answer = wire.encode("progress", sent[0].nonce, 3) + wire.encode("done", sent[0].nonce, 0, "all")
        feed(channel, answer, random.Random(0))
        return bytes(await channel.finish(None))

    assert msgspec.msgpack.decode(run(scenario())) == "all"


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (lambda nonce: wire.encode("done", nonce), "before it was given all"),
        (lambda nonce: wire.encode("progress", nonce, 3), "progress"),
    ],
)
def test_what_is_told_of_calls_that_are_still_to_come_is_wrong(
    run: Run, sent: Callable[[bytes], bytes], why: str
) -> None:
    async def scenario() -> None:
        transport = Wire()
        channel = link_on(transport)
        channel.begin(["a", "b"], calls=2, asks=False, more=True)
        feed(channel, sent(wire.decode(transport.written[0][wire.HEADER.size :]).nonce), random.Random(0))
        assert transport.aborted
        channel.extend(["c"], calls=1, more=False)
        assert len(transport.written) == 1
        with pytest.raises(ProtocolViolation, match=why):
            await channel.finish(None)

    run(scenario())


def test_a_part_that_is_too_large_is_not_sent(run: Run) -> None:
    async def scenario() -> None:
        transport = Wire()
        channel = link_on(transport)
        channel.begin(["a"], calls=1, asks=False, more=True)
        with pytest.raises(RequestTooLarge):
            channel.extend("x" * LIMITS.frame_bytes, calls=1, more=True)
        assert len(transport.written) == 1
        channel.extend(["b"], calls=1, more=False)
        assert wire.decode(transport.written[1][wire.HEADER.size :]).sequence == 1

    run(scenario())
