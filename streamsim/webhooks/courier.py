"""Takes messages that are due and sends them; what fails is tried again, later each time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final, Literal

from streamsim.config.settings import WebhookSettings
from streamsim.storage.contract.deliveries import Delivery
from streamsim.storage.contract.store import Store
from streamsim.webhooks.destinations import Destinations
from streamsim.webhooks.sending import NotDelivered, send

log = logging.getLogger("streamsim.webhooks")

Result = Literal["delivered", "retried", "failed"]
AT_ONCE: Final = 16
"""So many messages a process sends at a time."""
_LEASE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 3600.0


class Courier:
    """Sends the messages of all tenants, in every process.

    :param observe: told what became of each attempt. :param first_pause_s: before the second attempt; each
        further pause is twice as long, up to an hour, and by chance up to half shorter.
    """

    def __init__(
        self,
        store: Store,
        settings: WebhookSettings,
        now_ms: Callable[[], int],
        observe: Callable[[Result], None],
        *,
        first_pause_s: float = 5.0,
    ) -> None:
        self._store = store
        self._settings = settings
        self._destinations = Destinations(settings.allow)
        self._now_ms = now_ms
        self._observe = observe
        self._first_pause_s = first_pause_s

    async def round(self) -> int:
        """Send what is due, at most `AT_ONCE` messages; how many were taken.

        Whoever takes one has it for longer than an attempt may last: if this process dies, another one sends
        it again, with the same id. :raises StoreUnavailable:
        """
        now_ms = self._now_ms()
        until_ms = now_ms + round((self._settings.timeout_s + _LEASE_S) * 1000)
        taken = await self._store.deliveries.take_deliveries(now_ms, until_ms, AT_ONCE)
        if taken:
            await asyncio.gather(*map(self._deliver, taken))
        return len(taken)

    async def _deliver(self, one: Delivery) -> None:
        try:
            await self._attempt(one)
        except NotDelivered as error:
            await self._failed(one, str(error), final=error.final)
        else:
            await self._store.deliveries.settle_delivery(one, "delivered", self._now_ms())
            self._observe("delivered")

    async def _attempt(self, one: Delivery) -> None:
        """:raises NotDelivered:"""
        experiment = await self._store.decisions.get_experiment(one.experiment_id)
        hooks = [] if experiment is None else experiment.properties.get("webhooks") or []
        secret = next((hook["secret"] for hook in hooks if hook["url"] == one.url), None)
        if secret is None:
            raise NotDelivered("the experiment has no webhook of this URL any more", final=True)
        seconds = self._now_ms() // 1000
        timeout_s = self._settings.timeout_s
        await send(self._destinations, one.url, secret, one.id, one.body, seconds, timeout_s)

    async def _failed(self, one: Delivery, why: str, *, final: bool) -> None:
        now_ms = self._now_ms()
        if final or one.attempts >= self._settings.attempts:
            await self._store.deliveries.settle_delivery(one, "failed", now_ms, error=why)
            self._observe("failed")
            log.warning("a message of experiment %s was given up: %s", one.experiment_id, why)
            return
        pause_s = min(self._first_pause_s * 2.0 ** min(one.attempts - 1, 30), LONGEST_PAUSE_S)
        due_ms = now_ms + round(1000 * pause_s * random.uniform(0.5, 1.0))
        await self._store.deliveries.settle_delivery(one, "waiting", now_ms, due_ms=due_ms, error=why)
        self._observe("retried")
