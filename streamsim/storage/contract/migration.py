"""What a backend offers to `streamsim migrate`: all it has stored as records, and storing these as they are.

Nobody may use either installation meanwhile. Versions of theta and positions in logs are a backend's own and
stay behind: the copies get new ones, in the same order.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import msgspec

from streamsim.storage.contract.accounts import LoginSession, User
from streamsim.storage.contract.decisions import (
    Advice,
    Experiment,
    IdempotencyRecord,
    Summary,
)
from streamsim.storage.contract.deliveries import Delivery
from streamsim.storage.contract.jobs import Job
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.contract.revisions import Revision
from streamsim.storage.contract.runs import Model, Run


class SecretRecord(msgspec.Struct, frozen=True):
    name: str
    value: bytes


class ModelRecord(msgspec.Struct, frozen=True):
    """A model with all its versions, the first one first."""

    versions: tuple[Model, ...]
    deleted: bool


class RunRecord(msgspec.Struct, frozen=True):
    """A run, the entries of its journal from `run.base` on, and its recorded variables."""

    run: Run
    entries: tuple[bytes, ...]
    variables: dict[str, bytes]


class JobRecord(msgspec.Struct, frozen=True):
    """A job and its finished parts with their numbers, in order."""

    job: Job
    parts: tuple[tuple[int, bytes], ...]


class ExperimentRecord(msgspec.Struct, frozen=True):
    experiment: Experiment
    summary: Summary


class ThetaRecord(msgspec.Struct, frozen=True):
    experiment_id: str
    name: str
    key: str
    value: str
    data: bytes


Shared = SecretRecord | User | LoginSession | ModelRecord | RunRecord | JobRecord
"""What belongs to no experiment."""
Owned = ExperimentRecord | ThetaRecord | Revision | Advice | IdempotencyRecord | Delivery | LogRow
"""What belongs to one; its own record comes first. Log rows come in order, with positions that count from 1
each kind of an experiment's."""
Record = Shared | Owned


class Source(Protocol):
    """Reading everything. Claims, rate windows and expired sessions are not part of it."""

    async def experiments(self) -> list[str]:
        """Ids of all experiments, archived ones too, sorted."""

    def export(self) -> AsyncGenerator[Shared, None]:
        """Records that belong to no experiment; users before their sessions, models and jobs in order."""

    def export_experiment(self, experiment_id: str) -> AsyncGenerator[Owned, None]:
        """Records of one experiment."""


class Migratable(Source, Protocol):
    """Reading everything, and restoring it."""

    async def restore(self, records: Sequence[Record]) -> None:
        """Store records as they are; doing so again changes nothing."""

    async def note(self, text: str | None = None) -> str:
        """The note that a migration into this installation left, after setting it if one is given.

        "" if there is none; setting "" removes it."""
