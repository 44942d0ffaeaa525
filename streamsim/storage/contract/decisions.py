"""The storage contract: what every backend offers, and nothing about how.

Its heart is `Store.commit`: one optimistic transaction over theta, logs, advices, idempotency records and
counters, applied as a whole or refused with what was out of date. All other writes are single atomic
operations; nothing here asks a caller to read and then write.

Dates are integers: milliseconds since 1970-01-01 UTC. Payloads (`data`, `answer`, `context`, `action`) are
JSON text as bytes that the caller has validated; a backend keeps them to the byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

import msgspec


class ThetaAddress(NamedTuple):
    """An address in theta: one row, one key's group of rows, or a whole named parameter set.

    A row has all four parts; "" stands for an absent key or value, as in `set_theta(thetas)`.
    `value=None` is the group of all rows of (experiment, name, key); `key=None` (with `value=None`) is all
    rows of (experiment, name).
    """

    experiment: str
    name: str
    key: str | None
    value: str | None


LogKind = Literal["action", "reward", "manual", "theta", "simulation", "error"]


class LogRow(msgspec.Struct, frozen=True, gc=False):
    """One row to append to an experiment's log. `id` is unique among all rows; the first one stays."""

    experiment: str
    kind: LogKind
    id: str
    date_ms: int
    data: bytes


class StoredLogRow(msgspec.Struct, frozen=True, gc=False):
    """A row as read back. `position` rises in commit order per experiment and kind; `before` pages by it."""

    position: str
    id: str
    date_ms: int
    data: bytes


class NewAdvice(msgspec.Struct, frozen=True, gc=False):
    """A decision whose reward comes later. Past `expires_ms` only the time-out may redeem it.

    `id` is unique in its experiment; issued twice, the first stays as it is.
    """

    experiment: str
    id: str
    expires_ms: int
    context: bytes
    action: bytes


class Advice(msgspec.Struct, frozen=True, gc=False):
    """State of an issued advice. `redeemed_by` is None while it is open."""

    experiment: str
    id: str
    expires_ms: int
    context: bytes
    action: bytes
    redeemed_by: Literal["reward", "timeout"] | None = None


class Redemption(msgspec.Struct, frozen=True, gc=False):
    """A precondition and an effect: the advice must be open, and is closed by this commit."""

    experiment: str
    id: str
    by: Literal["reward", "timeout"]


class IdempotencyRecord(msgspec.Struct, frozen=True, gc=False):
    """A precondition and an effect: no live record of this key may exist, and this one is stored.

    `fingerprint` identifies the request body, `answer` is the JSON to repeat; the record is live before
    `expires_ms` and may be forgotten then.
    """

    experiment: str
    key: str
    fingerprint: str
    answer: bytes
    expires_ms: int


class Transaction(msgspec.Struct, gc=False):
    """Everything one batch of calls did, for one tenant. Applied as a whole or not at all.

    `revisions`: expected revision of each experiment the batch used (0 never matches).
    `reads`: the version of each theta scope the batch relied on; 0 is the version of what does not exist.
    `deletes` happen first, then `writes` (a row scope and its dict as JSON object text). A delete that finds
    no row changes nothing.
    `now_ms`: an idempotency record that expired by then is not live; 0 takes every stored one as live.
    """

    tenant: str
    revisions: dict[str, int]
    reads: dict[ThetaAddress, int] = {}
    deletes: list[ThetaAddress] = []
    writes: dict[ThetaAddress, bytes] = {}
    logs: list[LogRow] = []
    advices: list[NewAdvice] = []
    redemptions: list[Redemption] = []
    idempotency: list[IdempotencyRecord] = []
    now_ms: int = 0

    def check(self) -> None:
        """What every backend refuses, since `revisions` is what keeps tenants apart.

        :raises ValueError: a part names an experiment that `revisions` lacks; a scope is malformed or a write
            is not to a row; an advice is redeemed, or an idempotency key recorded, twice.
        """
        named = {scope.experiment for part in (self.reads, self.deletes, self.writes) for scope in part}
        named.update(row.experiment for row in self.logs)
        for part in (self.advices, self.redemptions, self.idempotency):
            named.update(item.experiment for item in part)
        if not named <= self.revisions.keys():
            raise ValueError(f"no expected revision for {sorted(named - self.revisions.keys())}")
        if any(scope.key is None or scope.value is None for scope in self.writes):
            raise ValueError("a write needs a row scope")
        if any(scope.key is None and scope.value is not None for scope in (*self.reads, *self.deletes)):
            raise ValueError("a scope with a value needs a key")
        if len({(item.experiment, item.id) for item in self.redemptions}) < len(self.redemptions):
            raise ValueError("an advice is redeemed twice")
        if len({(item.experiment, item.key) for item in self.idempotency}) < len(self.idempotency):
            raise ValueError("an idempotency key is recorded twice")


class ThetaRows(msgspec.Struct, frozen=True, gc=False):
    """The rows of a scope at one moment, and the scope's version then.

    `rows` maps (key, value) to (JSON object text, version of that row). Versions are positive, rise with each
    commit that writes theta of the experiment, and are never used again, not even after a delete. Version of
    a group or a named set: that of the last commit that wrote or deleted in it; 0 if it was never written or
    is empty. All rows, groups and sets written by one commit get that commit's version.
    """

    version: int
    rows: dict[tuple[str, str], tuple[bytes, int]]


class Committed(msgspec.Struct, frozen=True, gc=False):
    """The transaction is durable. `versions`: per experiment whose theta it changed, the version it gave."""

    versions: dict[str, int]


class Stale(msgspec.Struct, frozen=True, gc=False):
    """Nothing was applied. What was out of date; parts that were fine are empty.

    `experiments`: ids whose revision differs, is archived or gone, or belongs to another tenant. About parts
    of these nothing more is said.
    `theta`: fresh rows for each scope in `reads` whose version differs.
    `advices`: id -> present state of each advice that is not open (None: unknown id).
    `idempotency`: key -> the live record found.
    """

    experiments: tuple[str, ...] = ()
    theta: dict[ThetaAddress, ThetaRows] = {}
    advices: dict[str, Advice | None] = {}
    idempotency: dict[str, IdempotencyRecord] = {}


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment as stored. `revision` rises with every edit; `code` has all four pieces, "" if absent."""

    id: str
    key: str
    tenant: str
    name: str
    code: dict[str, str]
    properties: dict[str, bool | int | str | dict[str, object] | None]
    revision: int = 1
    created_ms: int
    modified_ms: int
    archived: bool = False


class Summary(msgspec.Struct, frozen=True):
    """Rows in an experiment's action and reward logs and their latest dates, None at first."""

    action_calls: int = 0
    last_action_ms: int | None = None
    reward_calls: int = 0
    last_reward_ms: int | None = None


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account. `session_epoch` rises when its sessions end (logout everywhere, a changed password)."""

    name: str
    password_hash: str
    admin: bool = False
    session_epoch: int = 1
    created_ms: int


class LoginSession(msgspec.Struct, frozen=True, kw_only=True):
    """A login session or a bearer token; `id` is the SHA-256 hex of the secret that the client holds."""

    id: str
    user: str
    kind: Literal["cookie", "token"]
    label: str = ""
    epoch: int
    created_ms: int
    expires_ms: int


class DuplicateName(Exception):
    """The tenant has an experiment, or the installation a user, of this name."""


class StoreUnavailable(Exception):
    """The backend cannot be reached, or is over its high-water mark; nothing was applied."""


class OutcomeUnknown(StoreUnavailable):
    """The backend went away before it answered, for too long: all was applied, or nothing."""


class DecisionStore(Protocol):
    """What serving decisions needs: experiments, theta, advices, idempotency, logs as they are written."""

    async def create_experiment(self, experiment: Experiment) -> None:
        """Store a new experiment. :raises DuplicateName: for a live experiment of this tenant and name."""

    async def get_experiment(self, experiment: str) -> Experiment | None:
        """The experiment, archived or not; None for an unknown id."""

    async def list_experiments(self, tenant: str, *, limit: int, after: str = "") -> list[Experiment]:
        """Live experiments of a tenant in order of id, those with an id greater than `after`."""

    async def hourly_experiments(self, *, limit: int, after: str = "") -> list[Experiment]:
        """Live experiments of all tenants with the property `hourly_theta`, in order of id, after `after`."""

    async def update_experiment(self, experiment: Experiment) -> Experiment | None:
        """Replace it if the stored one is live and has this `revision`; the answer has the next revision.

        None if the revision differs, or it is archived, unknown or another tenant's. `created_ms` stays.
        :raises DuplicateName:
        """

    async def archive_experiment(self, tenant: str, experiment: str, date_ms: int) -> Experiment | None:
        """Mark as archived: revision rises, open advices never time out. None if not live or not theirs.

        `date_ms` becomes its `modified_ms`; its name is free again."""

    async def read_theta(self, scope: ThetaAddress) -> ThetaRows:
        """Rows and version of a scope, as one consistent reading."""

    async def theta_names(self, experiment: str) -> list[str]:
        """Names of the parameter sets that have rows, sorted."""

    async def commit(self, transaction: Transaction) -> Committed | Stale:
        """Check every precondition and apply every effect as one atomic, durable step. Updates `Summary`.

        :raises ValueError: see `Transaction.check`.
        :raises StoreUnavailable: nothing was applied."""

    async def peek(
        self, experiment: str, advices: Iterable[str], idempotency: Iterable[str], now_ms: int
    ) -> tuple[dict[str, Advice], dict[str, IdempotencyRecord]]:
        """Known advices and live idempotency records among those asked for."""

    async def due_advices(self, now_ms: int, limit: int) -> list[Advice]:
        """Open advices of live experiments with `expires_ms <= now_ms`, soonest first."""

    async def forget(self, now_ms: int, advice_kept_ms: int, limit: int) -> int:
        """Drop up to `limit` expired idempotency records, sessions, claims and rate windows, and advices
        redeemed or archived that expired over `advice_kept_ms` ago; the number dropped.

        A backend may drop what has expired by itself, and move the theta of archived experiments to where
        only a migration finds it; neither counts."""

    async def summary(self, experiment: str) -> Summary:
        """Counters of the experiment; costs the same whatever the length of its logs."""

    async def claim(self, work: str, owner: str, now_ms: int, until_ms: int) -> bool:
        """Take a piece of work until a date, atomically. False while another owner's claim lasts.

        The same owner may claim again, which moves the date."""

    async def hit(self, window: str, now_ms: int, length_ms: int) -> tuple[int, int]:
        """Count one event in a fixed window that starts with its first event.

        (events so far including this one, ms until the window ends)."""

    async def clear_hits(self, window: str) -> None:
        """Forget a window."""


class ColdStore(Protocol):
    """What may be slower: accounts, sessions, and logs as they are read."""

    async def secret(self, name: str, proposal: bytes) -> bytes:
        """The installation's secret of this name; `proposal` becomes it if there is none yet, atomically."""

    async def create_user(self, user: User) -> None:
        """:raises DuplicateName:"""

    async def get_user(self, name: str) -> User | None: ...

    async def list_users(self, *, limit: int, after: str = "") -> list[User]:
        """In order of name, those greater than `after`."""

    async def set_password(self, name: str, password_hash: str) -> bool:
        """Store it and end all cookie sessions: `session_epoch` rises. False for an unknown user."""

    async def remove_user(self, name: str) -> bool:
        """Remove the account and its sessions and tokens; its experiments stay stored, unreachable."""

    async def add_session(self, session: LoginSession) -> None:
        """A session of an unknown user is never live, not even if an account of this name comes later."""

    async def get_session(self, session_id: str, now_ms: int) -> tuple[LoginSession, User] | None:
        """A live session with its user: not expired, user exists and, for a cookie, the epoch matches."""

    async def list_sessions(
        self, user: str, kind: Literal["cookie", "token"], now_ms: int
    ) -> list[LoginSession]:
        """Live ones, oldest first."""

    async def remove_session(self, user: str, session_id: str) -> bool: ...

    async def read_log(
        self, experiment: str, kind: LogKind, *, limit: int, before: str = ""
    ) -> list[StoredLogRow]:
        """Newest first, at most `limit`, only rows whose position is lower than `before` if it is given.

        Sees every row whose commit was acknowledged before the call. :raises ValueError: for a `before`
        that no row of this log could have."""


class Store(DecisionStore, ColdStore, Protocol):
    """A complete backend."""

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
