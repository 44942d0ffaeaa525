"""What the lane and the policy program say to each other, as arrays of msgpack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

import msgspec

from streamsim.sandbox.wire import Failure

WireAddress = tuple[str, str, str | None, str | None]
"""A `ThetaAddress` on the wire: (experiment_id, name, key, value); None as there."""
WireRow = tuple[str, str, str, str]
"""The address of one row."""
WireRows = tuple[int, list[tuple[str, str, bytes, int]]]
"""`ThetaRows` on the wire: version of the scope, [(key, value, JSON object text, version of the row)]."""
WireTheta = tuple[str, str, str, str, bytes]
"""A row of theta without version: (experiment_id, name, key, value, JSON object text)."""
MAX_ADDRESS: Final = 512
"""Characters of a name, key or value of theta."""

PIECES: Final = ("get_context", "get_action", "get_reward", "set_reward")
STREAMINGBANDIT: Final = "streamingbandit"
"""The value of an experiment's `compat` with which its code reads theta as text, as from StreamingBandit."""
ACTION: Final = 0
REWARD: Final = 1


class Call(msgspec.Struct, array_like=True, gc=False):
    """One getaction (`kind` ACTION) or setreward (REWARD) of a batch."""

    kind: int
    context: Any
    action: Any = None
    reward: Any = None


class Request(msgspec.Struct, array_like=True, gc=False):
    """A batch. It first settles the batch before it.

    `committed`: new theta versions by experiment if the last batch was committed; None if it was not.
    `changed`: nested experiments whose code has to be opened anew.
    `fresh`: scopes that were stale: (scope, version, rows).
    `more`: further calls come in parts, each a `More`.
    """

    committed: dict[str, int] | None
    changed: list[str]
    fresh: list[tuple[WireAddress, int, list[tuple[str, str, bytes, int]]]]
    calls: list[Call]
    more: bool = False


class More(msgspec.Struct, array_like=True, gc=False):
    """Further calls of a batch. `more`: they are not the last."""

    calls: list[Call]
    more: bool


class Outcome(msgspec.Struct, array_like=True, gc=False):
    """How one call ended. `action` is never null. `context` only if the code changed it.

    `probabilities` if the code gave them.
    `runs`: how many runs the propensity was estimated from, if it was.
    """

    failure: Failure | None
    action: Any = None
    context: Any = None
    propensity: float | None = None
    probabilities: dict[str, float] | None = None
    runs: int | None = None


One = TypeVar("One")


class Results(msgspec.Struct, Generic[One], array_like=True, gc=False):
    """A finished batch: one outcome per call, and the effects of those that succeeded.

    `used`: experiments whose code or theta was used. `reads`: (experiment, name, key, value, version).
    `writes`: (experiment, name, key, value, dict, or None for a delete). `logs`: (call, experiment, row).
    """

    outcomes: list[One]
    used: list[str]
    reads: list[tuple[str, str, str | None, str | None, int]]
    writes: list[tuple[str, str, str, str, dict[str, Any] | None]]
    logs: list[tuple[int, str, dict[str, Any]]]


Done = Results[Outcome]


class Opened(msgspec.Struct, array_like=True, gc=False):
    """The answer to opening another experiment; `error` is "" if it may be opened."""

    error: str
    code: dict[str, str] = {}
    properties: dict[str, Any] = {}


def theta_label(key: str, value: str) -> str:
    """How a view of theta names a row: `"key:value"`, or the key of one that was stored without value."""
    return f"{key}:{value}" if value else key


def theta_labels(addresses: Iterable[tuple[str, str]]) -> list[str]:
    """How a view of theta names its rows, each apart: as `theta_label`.

    Of rows that this would name alike, as ("a:b", "c") and ("a", "b:c"), those with a colon in the key have
    it written `\\:`.
    """
    rows = list(addresses)
    labels = [theta_label(*row) for row in rows]
    if len(set(labels)) == len(labels):
        return labels
    count = Counter(labels)
    apart = [
        theta_label(key.replace(":", "\\:"), value) if count[label] > 1 else label
        for label, (key, value) in zip(labels, rows, strict=True)
    ]
    if len(set(apart)) == len(apart):
        return apart
    # Somebody has such names: then all keys are written so, and their backslashes twice.
    return [theta_label(key.replace("\\", "\\\\").replace(":", "\\:"), value) for key, value in rows]
