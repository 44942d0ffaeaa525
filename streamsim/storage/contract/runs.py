"""The storage contract of simulation models and their runs.

A run is a journal: entries that are appended and never changed. `append` is conditional on the journal's
length and atomic with the run's recorded variables, so that of two processes that continue a run one is
refused, and brings itself up to date.

Dates are integers: milliseconds since 1970-01-01 UTC. Entries, `found` and metadata are JSON text as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

Operator = Literal["=", "!=", "<", ">", "<=", ">="]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model. `managers` are the scenario managers that its loading found.

    `found` and `options` are JSON objects as text. Versions count from 1 and are never used again.
    """

    tenant: str
    name: str
    version: int = 0
    engine: str
    main: str
    files: dict[str, str] = {}
    options: bytes = b"{}"
    found: bytes = b"{}"
    managers: tuple[str, ...] = ()
    created_ms: int
    modified_ms: int


class NameTaken(Exception):
    """`name` is the model's, or that of a scenario manager which the model `owner` has."""

    def __init__(self, name: str, owner: str = "") -> None:
        super().__init__(name)
        self.name = name
        self.owner = owner


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `kind`: an instance of the scenario endpoints, or a run of one model of the run endpoints.

    `models`: name -> version of each model that it may use, fixed when it was made. `length` counts the
    journal's entries; those before `base` are not needed to bring it back. `expires_ms` 0 is never;
    `idle_ms` is how far every access moves it. `metadata` is a JSON object, e.g. scope, saved, trashed.
    """

    id: str
    tenant: str
    kind: Literal["instance", "run"]
    project: str = ""
    model: str = ""
    models: dict[str, int]
    seed: int
    length: int = 0
    base: int = 0
    created_ms: int
    modified_ms: int
    expires_ms: int = 0
    idle_ms: int = 0
    metadata: bytes = b"{}"


class Append(msgspec.Struct, frozen=True):
    """What one request adds to a run whose journal has `expected` entries.

    `restart`: the first of the entries begins anew; earlier ones, and what was recorded, are dropped.
    `variables`: name -> JSON text of what was recorded, last one wins, and needs an entry. `metadata`
    replaces the run's.
    """

    run: str
    expected: int
    now_ms: int
    entries: Sequence[bytes] = ()
    restart: bool = False
    variables: dict[str, bytes] = {}
    metadata: bytes | None = None

    def __post_init__(self) -> None:
        """:raises TypeError: `expected` is no whole number; a boolean equals one in some backends only."""
        if type(self.expected) is not int:
            raise TypeError(f"expected must be an int, not {type(self.expected).__name__}")


class Filter(NamedTuple):
    """A condition on runs: any of `values`. `field`: one of `FIELDS`, `variables.NAME`, or `metadata.KEY`."""

    field: str
    operator: Operator
    values: tuple[bool | int | float | str | None, ...]


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of one tenant and kind that meet all filters, those from `first` on, at most `limit`.

    `sort`: `created_ms`, `modified_ms`, `id`, `variables.NAME` or `metadata.KEY`; ties break by id.
    """

    tenant: str
    kind: Literal["instance", "run"]
    project: str | None = None
    model: str | None = None
    filters: tuple[Filter, ...] = ()
    sort: str = "created_ms"
    descending: bool = False
    first: int = 0
    limit: int = 100


FIELDS = ("id", "model", "project", "created_ms", "modified_ms", "length")
"""Columns that filters and sorting may name."""


class RunStore(Protocol):
    """Models and runs, in any backend."""

    async def put_model(self, model: Model, *, new: bool) -> Model:
        """Store a model, or its next version; with `version` filled in.

        :param new: the name must be free; otherwise the model must exist.
        :raises NameTaken: the name, or one of `managers` by another live model of the tenant.
        :raises KeyError: there is no such model.
        """

    async def get_model(self, tenant: str, name: str, version: int = 0) -> Model | None:
        """A live model's newest version, or any stored version, also of a deleted model."""

    async def list_models(self, tenant: str) -> list[Model]:
        """The newest versions of a tenant's live models, oldest model first, without files."""

    async def delete_model(self, tenant: str, name: str) -> bool:
        """Delete it: its name and managers are free. Versions stay for the runs that they have."""

    async def create_runs(self, runs: list[Run]) -> None:
        """Store new runs, all or none."""

    async def get_run(self, run: str, now_ms: int) -> Run | None:
        """The run; None if unknown, deleted, or expired by then."""

    async def entries(self, run: str, first: int, limit: int = -1) -> list[bytes]:
        """Entries of a journal from position `first` on."""

    async def append(self, change: Append) -> Run | None:
        """Append if the journal has the expected length and the run has not expired; the run afterwards.

        `modified_ms` becomes `now_ms`, and the expiry moves. None: nothing was changed.
        """

    async def touch(self, run: str, now_ms: int) -> Run | None:
        """Move the expiry of a live run; None if there is none."""

    async def delete_runs(self, runs: Sequence[str]) -> int:
        """Remove runs with everything of them; how many there were."""

    async def expired_runs(self, now_ms: int, limit: int) -> list[str]:
        """Ids of runs that expired by then."""

    async def count_runs(self, tenant: str | None, kind: Literal["instance", "run"], now_ms: int) -> int:
        """How many live runs there are, of one tenant or of all."""

    async def list_runs(self, query: RunQuery) -> tuple[list[Run], int]:
        """The runs of a query, and how many there are in all. Costs no journal."""

    async def find_variables(
        self, query: RunQuery, names: Sequence[str] | None = None
    ) -> tuple[list[tuple[Run, dict[str, bytes]]], int]:
        """The runs of a query with recorded variables, of the names asked for or of all; and how many runs
        there are in all. One query of the database, unless the page is beyond the end."""

    async def variables(
        self, runs: Sequence[str], names: Sequence[str] | None = None
    ) -> dict[str, dict[str, bytes]]:
        """Recorded variables by run and name, of the names asked for or of all."""

    async def copy_run(self, run: Run, source: str, entries: Sequence[bytes]) -> None:
        """Store a run with a journal, and with the recorded variables of `source` if there is one."""


def scalar(text: bytes) -> Any:
    """What a recorded variable is compared by: its number, text or boolean; None for anything else."""
    value = msgspec.json.decode(text)
    return value if isinstance(value, bool | int | float | str) else None
