"""A complete storage backend: what every one offers, and nothing about how.

Its parts are contracts of their own. Dates are integers: milliseconds since 1970-01-01 UTC. To write another
backend, implement the parts and run the contract tests on it.
"""

from __future__ import annotations

from typing import Protocol

from streamsim.storage.contract.accounts import AccountStore
from streamsim.storage.contract.decisions import DecisionStore
from streamsim.storage.contract.deliveries import DeliveryStore
from streamsim.storage.contract.jobs import JobStore
from streamsim.storage.contract.logs import LogStore
from streamsim.storage.contract.migration import Migratable
from streamsim.storage.contract.revisions import RevisionStore
from streamsim.storage.contract.runs import RunStore
from streamsim.storage.contract.statistics import StatisticsStore


class Store(Protocol):
    """A complete backend."""

    @property
    def decides_on(self) -> str:
        """The name of what a decision cannot be committed without, e.g. "Redis"."""

    @property
    def decisions(self) -> DecisionStore:
        """Experiments, theta, advices, and commits."""

    @property
    def accounts(self) -> AccountStore:
        """Users, sessions and secrets."""

    @property
    def deliveries(self) -> DeliveryStore:
        """Messages to webhooks."""

    @property
    def logs(self) -> LogStore:
        """Logs, as they are read."""

    @property
    def statistics(self) -> StatisticsStore:
        """What was summed up of logs."""

    @property
    def revisions(self) -> RevisionStore:
        """The code that experiments had."""

    @property
    def runs(self) -> RunStore:
        """Models and runs."""

    @property
    def jobs(self) -> JobStore:
        """Jobs of clients."""

    @property
    def migration(self) -> Migratable:
        """Everything as records, for a move to another backend."""

    async def open(self) -> None:
        """Connect, create or upgrade the schema. :raises StoreUnavailable:"""

    async def close(self) -> None:
        """Finish what was accepted, then let go."""

    async def backlog(self) -> int:
        """Acknowledged log rows that are still on their way to where they are read."""

    async def ping(self) -> None:
        """:raises StoreUnavailable: when a decision could not be committed now."""

    def describe(self) -> dict[str, str]:
        """Kind, versions and place for `streamsim doctor`, without credentials."""

    async def forget(self, now_ms: int, advice_kept_ms: int, limit: int) -> int:
        """Drop up to `limit` expired idempotency records, sessions, claims and rate windows, and advices
        redeemed or archived that expired over `advice_kept_ms` ago; the number dropped.

        A backend may drop what has expired by itself, and move the theta of archived experiments to where
        only a migration finds it; neither counts."""
