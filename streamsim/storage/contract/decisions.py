"""The storage contract of decisions: experiments, theta, advices, idempotency, and the commit.

The heart is `DecisionStore.commit`: one optimistic transaction over theta, logs, advices, idempotency
records and counters, applied as a whole or refused with what was out of date. All other writes are single
atomic operations; nothing here asks a caller to read and then write.

Dates are integers: milliseconds since 1970-01-01 UTC. Payloads (`data`, `answer`, `context`, `action`) are
JSON text as bytes that the caller has validated; a backend keeps them to the byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from streamsim.storage.contract.buckets import Buckets, Counted, Counts, Step
from streamsim.storage.contract.deliveries import Delivery
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.contract.revisions import Revision
from streamsim.values import JsonObject


class ThetaAddress(NamedTuple):
    """An address in theta: one row, one key's group of rows, or a whole named parameter set.

    A row has all four parts; "" stands for an absent key or value, as in `set_theta(thetas)`.
    `value=None` is the group of all rows of (experiment, name, key); `key=None` (with `value=None`) is all
    rows of (experiment, name).
    """

    experiment_id: str
    name: str
    key: str | None
    value: str | None


class NewAdvice(msgspec.Struct, frozen=True, gc=False):
    """A decision whose reward comes later. Past `expires_ms` only the time-out may redeem it.

    `id` is unique in its experiment; issued twice, the first stays as it is.
    """

    experiment_id: str
    id: str
    expires_ms: int
    context: bytes
    action: bytes


class Advice(msgspec.Struct, frozen=True, gc=False):
    """State of an issued advice. `redeemed_by`: None while it is open; `gathered`: what it was amended to."""

    experiment_id: str
    id: str
    expires_ms: int
    context: bytes
    action: bytes
    redeemed_by: Literal["reward", "timeout"] | None = None
    gathered: bytes = b""


class Redemption(msgspec.Struct, frozen=True, gc=False):
    """A precondition and an effect: the advice must be open, and is closed by this commit.

    `gathered`: what it must have gathered; None for anything.
    """

    experiment_id: str
    id: str
    by: Literal["reward", "timeout"]
    gathered: bytes | None = None


class Amendment(msgspec.Struct, frozen=True, gc=False):
    """A precondition and an effect: the advice must be open and have gathered `before`, and has `gathered`
    then. It stays open."""

    experiment_id: str
    id: str
    before: bytes
    gathered: bytes


class IdempotencyRecord(msgspec.Struct, frozen=True, gc=False):
    """A precondition and an effect: no live record of this key may exist, and this one is stored.

    `fingerprint` identifies the request body, `answer` is the JSON to repeat; the record is live before
    `expires_ms` and may be forgotten then.
    """

    experiment_id: str
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
    `drops`: experiments whose advices are all forgotten, open or not; those in `advices` are issued after it.
    `at_most`: by experiment, how many action rows it may have before this commit; one whose id came before
    may count until logs are read.
    `buckets`: what is added to the numbers of calls by minute and by hour.
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
    drops: list[str] = []
    at_most: dict[str, int] = {}
    amendments: list[Amendment] = []
    buckets: dict[Counted, Counts] = {}

    @property
    def written_bytes(self) -> int:
        """Bytes of its log rows and of the theta that it writes."""
        return sum(len(row.data) for row in self.logs) + sum(map(len, self.writes.values()))

    def check(self) -> None:
        """What every backend refuses, since `revisions` is what keeps tenants apart.

        :raises ValueError: a part names an experiment that `revisions` lacks; a scope is malformed or a write
            is not to a row; an idempotency key is recorded twice; an advice is redeemed or amended
            twice, or of an experiment whose advices are dropped.
        """
        named = {scope.experiment_id for part in (self.reads, self.deletes, self.writes) for scope in part}
        named.update(row.experiment_id for row in self.logs)
        named.update(self.drops)
        named.update(self.at_most)
        named.update(counted.experiment_id for counted in self.buckets)
        for part in (self.advices, self.redemptions, self.idempotency, self.amendments):
            named.update(item.experiment_id for item in part)
        if not named <= self.revisions.keys():
            raise ValueError(f"no expected revision for {sorted(named - self.revisions.keys())}")
        if any(scope.key is None or scope.value is None for scope in self.writes):
            raise ValueError("a write needs a row scope")
        if any(scope.key is None and scope.value is not None for scope in (*self.reads, *self.deletes)):
            raise ValueError("a scope with a value needs a key")
        closed_or_amended: list[Redemption | Amendment] = [*self.redemptions, *self.amendments]
        if len({(item.experiment_id, item.id) for item in closed_or_amended}) < len(closed_or_amended):
            raise ValueError("an advice is redeemed or amended twice")
        if any(item.experiment_id in self.drops for item in closed_or_amended):
            raise ValueError("an advice is redeemed and dropped")
        if len({(item.experiment_id, item.key) for item in self.idempotency}) < len(self.idempotency):
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
    `advices`: id -> present state of each advice that is not open (None: unknown id), or has gathered
    something else.
    `idempotency`: key -> the live record found.
    `full`: experiments that have more action rows than `at_most` says.
    """

    experiments: tuple[str, ...] = ()
    theta: dict[ThetaAddress, ThetaRows] = {}
    advices: dict[str, Advice | None] = {}
    idempotency: dict[str, IdempotencyRecord] = {}
    full: tuple[str, ...] = ()


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment as stored. `revision` rises with every edit; `code` has all four pieces, "" if absent."""

    id: str
    key: str
    tenant: str
    name: str
    code: dict[str, str]
    properties: JsonObject
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


class DecisionStore(Protocol):
    """What serving decisions needs: experiments, theta, advices, idempotency, logs as they are written."""

    async def create_experiment(self, experiment: Experiment, revisions: Sequence[Revision] = ()) -> None:
        """Store a new experiment, and the revisions with it.

        :raises DuplicateName: for a live experiment of this tenant and name."""

    async def get_experiment(self, experiment_id: str) -> Experiment | None:
        """The experiment, archived or not; None for an unknown id."""

    async def list_experiments(self, tenant: str, *, limit: int, after: str = "") -> list[Experiment]:
        """Live experiments of a tenant in order of id, those with an id greater than `after`."""

    async def hourly_experiments(self, *, limit: int, after: str = "") -> list[Experiment]:
        """Live experiments of all tenants with the property `hourly_theta`, in order of id, after `after`."""

    async def webhook_experiments(self, *, limit: int, after: str = "") -> list[Experiment]:
        """Live experiments of all tenants with the property `webhooks`, in order of id, after `after`."""

    async def update_experiment(
        self,
        experiment: Experiment,
        deliveries: Sequence[Delivery] = (),
        revisions: Sequence[Revision] = (),
    ) -> Experiment | None:
        """Replace it if the stored one is live and has this `revision`; the answer has the next revision.

        None if the revision differs, or it is archived, unknown or another tenant's. `created_ms` stays.
        :param deliveries: stored in the same step, if it is replaced; :param revisions: likewise.
        :raises DuplicateName:
        """

    async def archive_experiment(
        self, tenant: str, experiment_id: str, date_ms: int, deliveries: Sequence[Delivery] = ()
    ) -> Experiment | None:
        """Mark as archived: revision rises, open advices never time out. None if not live or not theirs.

        `date_ms` becomes its `modified_ms`; its name is free again. `deliveries`: as in an update."""

    async def read_theta(self, scope: ThetaAddress) -> ThetaRows:
        """Rows and version of a scope, as one consistent reading."""

    async def theta_names(self, experiment_id: str) -> list[str]:
        """Names of the parameter sets that have rows, sorted."""

    async def commit(self, transaction: Transaction) -> Committed | Stale:
        """Check every precondition and apply every effect as one atomic, durable step. Updates `Summary`.

        :raises ValueError: see `Transaction.check`.
        :raises StoreUnavailable: nothing was applied."""

    async def peek(
        self, experiment_id: str, advices: Iterable[str], idempotency: Iterable[str], now_ms: int
    ) -> tuple[dict[str, Advice], dict[str, IdempotencyRecord]]:
        """Known advices and live idempotency records among those asked for."""

    async def due_advices(self, now_ms: int, limit: int) -> list[Advice]:
        """Open advices of live experiments with `expires_ms <= now_ms`, soonest first."""

    async def summary(self, experiment_id: str) -> Summary:
        """Counters of the experiment; costs the same whatever the length of its logs."""

    async def buckets(
        self, experiment_ids: Sequence[str], step: Step, from_ms: int, to_ms: int
    ) -> dict[str, Buckets]:
        """By experiment, the buckets that begin at `from_ms` or later and before `to_ms`.

        Costs the same whatever the length of the logs. Only of experiments that exist.

        :raises ValueError: a range of more than `MOST_READ` buckets.
        """

    async def claim(self, work: str, owner: str, now_ms: int, until_ms: int) -> bool:
        """Take a piece of work until a date, atomically. False while another owner's claim lasts.

        The same owner may claim again, which moves the date."""

    async def hit(self, window: str, now_ms: int, length_ms: int) -> tuple[int, int]:
        """Count one event in a fixed window that starts with its first event.

        (events so far including this one, ms until the window ends)."""

    async def clear_hits(self, window: str) -> None:
        """Forget a window."""
