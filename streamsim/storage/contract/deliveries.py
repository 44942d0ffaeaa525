"""The storage contract of deliveries: messages to webhooks that wait, were delivered, or failed.

A delivery is stored together with the change that causes it: see `update_experiment`, `archive_experiment`
and, for what changes nothing else, `DeliveryStore.enqueue`. Who takes one has it until a date: when that
process dies, it comes due again, so that it is delivered at least once.

Dates are integers: milliseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

DeliveryState = Literal["waiting", "delivered", "failed"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message to one URL. `id` is unique among all; the first one stays.

    `attempts`: how often it was taken. `due_ms`: when it may be taken next, while it waits. `error`: why the
    last attempt failed. `body`: JSON text.
    """

    experiment_id: str
    id: str
    event: str
    url: str
    body: bytes
    created_ms: int
    due_ms: int
    state: DeliveryState = "waiting"
    attempts: int = 0
    modified_ms: int = 0
    error: str = ""


class DeliveryStore(Protocol):
    """Deliveries, in any backend."""

    async def enqueue(self, tenant: str, deliveries: Iterable[Delivery]) -> int:
        """Store those whose id is not there yet, of experiments of one tenant; how many."""

    async def take_deliveries(self, now_ms: int, until_ms: int, limit: int) -> list[Delivery]:
        """Waiting ones that are due, soonest first, which then come due at `until_ms`.

        Each is taken by one caller, and has one more in `attempts`, as it has in the answer."""

    async def settle_delivery(
        self, delivery: Delivery, state: DeliveryState, now_ms: int, *, due_ms: int = 0, error: str = ""
    ) -> bool:
        """What became of an attempt. False if it was taken again since, is settled, or gone."""

    async def list_deliveries(self, experiment_id: str, *, limit: int) -> list[Delivery]:
        """The newest ones of an experiment, newest first."""

    async def forget_deliveries(self, before_ms: int, limit: int) -> int:
        """Drop up to `limit` that were settled before a date; how many."""
