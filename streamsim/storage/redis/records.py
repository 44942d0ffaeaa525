"""How experiments, advices, idempotency records, theta and log rows look in Redis.

Payloads stay to the byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from streamsim.storage.contract.decisions import Advice, Experiment, IdempotencyRecord, NewAdvice
from streamsim.storage.contract.logs import LogKind, LogRow

Redeemer = Literal["reward", "timeout"]
STATE: Final[dict[Redeemer | None, bytes]] = {None: b"o", "reward": b"r", "timeout": b"t"}
_REDEEMED_BY: Final = {state: by for by, state in STATE.items()}

# experiment, kind, id, date, data
OutboxRow = tuple[str, LogKind, str, int, bytes]
_encode_rows = msgspec.msgpack.Encoder().encode
_decode_rows = msgspec.msgpack.Decoder(list[OutboxRow]).decode
_decode_experiment = msgspec.json.Decoder(Experiment).decode


def pack_advice(advice: NewAdvice | Advice) -> bytes:
    """`<state>:<expires>:<length of context>:<context><action>`; state is o(pen), r(eward) or t(imeout).

    With what it has gathered: `...:<length of context>,<length of that>:<context><action><that>`.
    """
    state, gathered = b"o", b""
    if isinstance(advice, Advice):
        state, gathered = STATE[advice.redeemed_by], advice.gathered
    lengths = b"%d,%d" % (len(advice.context), len(gathered)) if gathered else b"%d" % len(advice.context)
    return b"%b:%d:%b:%b%b%b" % (
        state,
        advice.expires_ms,
        lengths,
        advice.context,
        advice.action,
        gathered,
    )


def unpack_advice(experiment_id: str, id: str, record: bytes) -> Advice:
    state, expires, sizes, rest = record.split(b":", 3)
    size, _, more = sizes.partition(b",")
    cut, end = int(size), len(rest) - int(more or 0)
    by = _REDEEMED_BY[state]
    return Advice(experiment_id, id, int(expires), rest[:cut], rest[cut:end], by, rest[end:])


def pack_record(record: IdempotencyRecord) -> bytes:
    """`<expires>:<length of fingerprint>:<fingerprint><answer>`"""
    fingerprint = record.fingerprint.encode()
    return b"%d:%d:%b%b" % (record.expires_ms, len(fingerprint), fingerprint, record.answer)


def unpack_record(experiment_id: str, key: str, record: bytes) -> IdempotencyRecord:
    expires, size, rest = record.split(b":", 2)
    cut = int(size)
    return IdempotencyRecord(experiment_id, key, rest[:cut].decode(), rest[cut:], int(expires))


def unpack_row(row: bytes) -> tuple[bytes, int]:
    """JSON text and version of a theta row."""
    version, _, data = row.partition(b":")
    return data, int(version)


def pack_log(rows: Iterable[LogRow]) -> bytes:
    return _encode_rows([(row.experiment_id, row.kind, row.id, row.date_ms, row.data) for row in rows])


def unpack_log(blob: bytes) -> list[OutboxRow]:
    return _decode_rows(blob)


def unpack_experiment(fields: list[bytes | None]) -> Experiment | None:
    """From document, revision, modified and live; None without them."""
    doc, revision, modified, live = fields
    if doc is None or revision is None or modified is None:
        return None
    return msgspec.structs.replace(
        _decode_experiment(doc),
        revision=int(revision),
        modified_ms=int(modified),
        archived=live != b"1",
    )
