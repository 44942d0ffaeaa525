"""Theta as its owner reads it: named rows of one set."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec

from streamsim import values
from streamsim.decisions.wire import theta_labels
from streamsim.storage.contract.decisions import ThetaRows

_PART_BYTES: Final = 1 << 20


async def theta_text(theta: ThetaRows) -> AsyncGenerator[bytes, None]:
    """`theta_view` as JSON text in parts."""
    if list(theta.rows) == [("", "")]:
        yield theta.rows["", ""][0]
        return
    held = b"{"
    separator = b""
    for label, (data, _) in zip(theta_labels(theta.rows), theta.rows.values(), strict=True):
        held += b"%b%b:%b" % (separator, values.dump(label), data)
        separator = b","
        if len(held) > _PART_BYTES:
            yield held
            held = b""
    yield held + b"}"


def theta_view(theta: ThetaRows) -> dict[str, Any]:
    """A named parameter set: its keyless dict if that is the only one, else `{"key:value": JSON text}`."""
    if list(theta.rows) == [("", "")]:
        return dict(msgspec.json.decode(theta.rows["", ""][0]))
    texts = (msgspec.Raw(data) for data, _ in theta.rows.values())
    return dict(zip(theta_labels(theta.rows), texts, strict=True))
