"""The storage contract of revisions: the code that an experiment had, each time that it was saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

MAX_REVISIONS: Final = 200
MAX_REVISION_BYTES: Final = 4 << 20
"""So many of an experiment are kept, of so many bytes of code as JSON text in all; the newest always is."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """Code as it was saved. `revision`: the experiment's number then; `user`: who saved it."""

    experiment_id: str
    revision: int
    date_ms: int
    user: str
    note: str = ""
    code: dict[str, str] = {}


class RevisionStore(Protocol):
    """Revisions. They are stored together with the experiment: see `create_experiment`, `update_experiment`.

    One whose number is there already is not stored again. Where they are more than are kept, the oldest go.
    """

    async def list_revisions(self, experiment_id: str) -> Sequence[Revision]:
        """All that are kept, newest first, without their code."""

    async def has_revisions(self, experiment_id: str) -> bool:
        """Whether any is kept."""

    async def get_revision(self, experiment_id: str, revision: int) -> Revision | None:
        """One with its code; None if it is not kept."""
