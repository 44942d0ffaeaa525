"""Short ways to write transactions and rows. Dates are near the present: a backend may use its own expiry."""

from __future__ import annotations

import time
from typing import Any

from streamsim.storage.contract.decisions import (
    Committed,
    Experiment,
    IdempotencyRecord,
    NewAdvice,
    Redemption,
    ThetaAddress,
    Transaction,
)
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.contract.store import Store

NOW = time.time_ns() // 1_000_000
HOUR = 3_600_000

# What JSON text may hold that a store is tempted to change: 64-bit integers, floats, spaces, escapes, names
# with dots and dollars, text beyond the basic plane, order of fields, an escaped NUL.
ODD = (
    '{ "z":9223372036854775807,"a":-9223372036854775808, "f":0.1,"g":1e-300,"h":-0.0,'
    '"$set":{"a.b":"\\u0000\\ud83d\\ude00"},"":"\U0001f600 \u202e \u00e9 e\u0301 \ufeff", "b":[ ],"a":2}'
).encode()
ODD_NAMES = [
    "a.b",
    "$ne",
    "a:b",
    "{tag}",
    "*",
    "%",
    "_",
    "'",
    '"',
    "\\",
    "\n",
    " ",
    "\U0001f600",
    "\u00e9",
    "e\u0301",
    "ÿ",
]


def experiment(id: str = "e1", **changes: Any) -> Experiment:
    fields: dict[str, Any] = {
        "id": id,
        "key": f"key-of-{id}",
        "tenant": "ann",
        "name": f"name of {id}",
        "code": {"get_context": "", "get_action": "a = 1\n", "get_reward": "", "set_reward": "é"},
        "properties": {"hourly_theta": True, "delta_hours": 3, "advice_id": False, "default_reward": None},
        "created_ms": NOW,
        "modified_ms": NOW,
    }
    return Experiment(**(fields | changes))


def transaction(*experiments: str, tenant: str = "ann", revision: int = 1, **parts: Any) -> Transaction:
    """A transaction on experiments (default: e1) of which each is expected to have `revision`."""
    return Transaction(tenant=tenant, revisions=dict.fromkeys(experiments or ("e1",), revision), **parts)


async def committed(store: Store, *experiments: str, **parts: Any) -> dict[str, int]:
    """Commit what must succeed; the new theta versions."""
    answer = await store.decisions.commit(transaction(*experiments, **parts))
    assert isinstance(answer, Committed), answer
    return answer.versions


def row(name: str = "_theta", key: str = "", value: str = "", experiment_id: str = "e1") -> ThetaAddress:
    return ThetaAddress(experiment_id, name, key, value)


def group(name: str = "_theta", key: str = "", experiment_id: str = "e1") -> ThetaAddress:
    return ThetaAddress(experiment_id, name, key, None)


def whole(name: str = "_theta", experiment_id: str = "e1") -> ThetaAddress:
    return ThetaAddress(experiment_id, name, None, None)


def log(
    id: str, kind: Any = "action", experiment_id: str = "e1", date_ms: int = NOW, data: bytes = b"{}"
) -> LogRow:
    return LogRow(experiment_id, kind, id, date_ms, data)


def advice(id: str, experiment_id: str = "e1", expires_ms: int = NOW + HOUR) -> NewAdvice:
    return NewAdvice(experiment_id, id, expires_ms, b'{"age": 3}', b'{"arm": "a.$b"}')


def redeem(id: str, by: Any = "reward", experiment_id: str = "e1") -> Redemption:
    return Redemption(experiment_id, id, by)


def record(
    key: str, fingerprint: str = "f", expires_ms: int = NOW + HOUR, experiment_id: str = "e1"
) -> IdempotencyRecord:
    return IdempotencyRecord(experiment_id, key, fingerprint, b'{"status": "success"}', expires_ms)
