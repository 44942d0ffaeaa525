"""The frames between the host and a sandboxed worker, one file for both ends.

A frame is a 4-byte big-endian length and that many bytes of msgpack: `[kind, nonce, sequence, body]`.
The host starts every exchange with a fresh random nonce; every frame of the exchange carries it. The worker
may ask while it works, and says how far it came; exactly one `done` or `failed` frame ends the exchange.

    host -> worker   call      body: the program's request
    host -> worker   more      body: a further part of the request; sequence counts these from 1
    worker -> host   ask       body: the program's question, e.g. a read of theta; sequence counts them from 1
    host -> worker   answer    body: the answer; sequence as asked
    host -> worker   refused   body: why there is no answer, as text; sequence as asked
    worker -> host   progress  sequence: how many of the request's calls are finished; no body
    worker -> host   done      body: the program's result
    worker -> host   failed    body: a `Failure`; the program as a whole failed

A result of which any part may be any value is JSON text in a msgpack string of bytes (`to_text`,
`TextDecoder`): whatever the worker writes, what the host makes of it has maps with text keys alone. A map of
msgpack may have arrays as keys, and these become tuples, whose hashes a hostile worker can make collide. All
other bodies have types down to the last part.
"""

from __future__ import annotations

import struct
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

HEADER: Final = struct.Struct(">I")
NONCE_BYTES: Final = 16
OUT_OF_MEMORY: Final = 65
"""Exit status of a worker: not even a failure could be answered."""
BROKEN: Final = 66
"""Exit status of a worker: its loop was broken, by the code or by the host."""
NIL: Final = msgspec.Raw(b"\xc0")

Kind = Literal["call", "more", "answer", "refused", "ask", "progress", "done", "failed"]


class Frame(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One decoded frame; `body` is still encoded, for the program's own schema."""

    kind: Kind
    nonce: bytes
    sequence: int
    body: msgspec.Raw


class Failure(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Why a piece of code failed (I7). Text only, cut to documented lengths, no path or frame of the host.

    `kind`: exception (the code raised), rejected (its answer's form), timeout, memory, syntax.
    `piece`: get_context, get_action, get_reward, set_reward or a model's file; `line` from 1, 0 if unknown.
    `trace`, of models only: piece, function and line of each frame, outermost first.
    """

    kind: Literal["exception", "rejected", "timeout", "memory", "syntax"]
    type: str
    message: str
    piece: str = ""
    line: int = 0
    trace: tuple[tuple[str, str, int], ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


_text_encoder = msgspec.json.Encoder()
_bytes = msgspec.msgpack.Decoder(memoryview)
Form = TypeVar("Form")


def to_text(result: object) -> bytes:
    """A result as JSON text, in which NaN is null. :raises TypeError: :raises ValueError: it is no JSON."""
    return _text_encoder.encode(result)


class TextDecoder(Generic[Form]):
    """Reads results that are JSON text."""

    def __init__(self, form: Any) -> None:
        self._decoder: msgspec.json.Decoder[Form] = msgspec.json.Decoder(form)

    def decode(self, body: msgspec.Raw) -> Form:
        """:raises msgspec.DecodeError: :raises UnicodeDecodeError: :raises RecursionError: another form."""
        return self._decoder.decode(_bytes.decode(body))


class WireError(Exception):
    """The other end sent bytes that are not a frame of this protocol."""


def encode(kind: Kind, nonce: bytes, sequence: int = 0, body: object = NIL) -> bytes:
    """Bytes of one frame, header included. `body` is any msgpack-able value, or `msgspec.Raw`."""
    buffer = bytearray(HEADER.size)
    _encoder.encode_into((kind, nonce, sequence, body), buffer, HEADER.size)
    HEADER.pack_into(buffer, 0, len(buffer) - HEADER.size)
    return bytes(buffer)


def decode(payload: bytes | bytearray | memoryview) -> Frame:
    """The frame of one payload (without header).

    :raises WireError: for anything that is not exactly one frame.
    """
    try:
        frame = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a frame: {type(error).__name__}") from None
    if len(frame.nonce) != NONCE_BYTES:
        raise WireError("not a frame: nonce length")
    return frame


def length(header: bytes | bytearray | memoryview, limit: int) -> int:
    """The payload length that a header announces.

    :raises WireError: above `limit`, or zero.
    """
    (size,) = HEADER.unpack(header)
    if not 0 < size <= limit:
        raise WireError(f"a frame of {size} bytes; the limit is {limit}")
    return int(size)


MAX_MESSAGE: Final = 2000

MAX_NAME: Final = 200

MAX_LINE: Final = 10**6

MAX_TRACE: Final = 20


def clean(text: str, limit: int = MAX_MESSAGE) -> str:
    """Text as one line of printable characters, at most `limit` of them."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def cleaned(failure: Failure) -> Failure:
    """A failure record that came from a worker, with its texts bounded and neutralised."""
    return msgspec.structs.replace(
        failure,
        type=clean(failure.type, MAX_NAME),
        message=clean(failure.message),
        piece=clean(failure.piece, MAX_NAME),
        line=failure.line if 0 < failure.line <= MAX_LINE else 0,
        trace=tuple(
            (clean(piece, MAX_NAME), clean(function, MAX_NAME), line if 0 < line <= MAX_LINE else 0)
            for piece, function, line in failure.trace[:MAX_TRACE]
        ),
    )
