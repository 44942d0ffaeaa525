"""Every Redis key name of streamsim.

`P` is the installation's prefix. All keys of a tenant carry the hash tag `{P/tenant}` and so live on one
cluster slot; the few keys of the whole installation are listed last. Parts that users or policy code choose
are preceded by their length in bytes (or come last), so that two addresses never give one key.

    {P/T}:meta                 hash    seq (last version given), rows and bytes waiting in the outbox;
                                       w:<writer> -> "<serial> <outcome>" of its last commit (see writers.py),
                                       swept: version at which silent ones were last looked for
    {P/T}:outbox               stream  one entry per commit with log rows; its id is the commit's version
    {P/T}:live                 zset    ids of live experiments, all of score 0, for lists in order
    {P/T}:archived             zset    ids of archived experiments; score 1: their theta is in MongoDB
    {P/T}:names                hash    name of a live experiment -> its id
    {P/T}:due                  zset    open advices by the date they expire
    {P/T}:closed               zset    redeemed advices by the date they expire
    {P/T}:idle                 zset    idempotency records by the date they expire
    {P/T}:messages             hash    id of a delivery to a webhook -> what never changes of it
    {P/T}:states               hash    id of a delivery -> "<attempts> <state> <modified ms> <error>"
    {P/T}:unsent               zset    deliveries that wait, by the date they come due
    {P/T}:settled              zset    the other ones by the date they were settled
    {P/T}:x:<experiment>       hash    the experiment: doc, revision, live, modified, counters, last row moved
    {P/T}:d:<experiment>       zset    its deliveries by the date they were made
    {P/T}:r:<experiment>       hash    number of a revision -> JSON of date_ms, user, note
    {P/T}:c:<experiment>       hash    number of a revision -> JSON of its code
    {P/T}:a:<experiment>       hash    advice id -> state and content
    {P/T}:i:<experiment>       hash    idempotency key -> record
    {P/T}:b:<block>:<experiment>  hash  "<start ms>:<arm>" -> what a row of a bucket counts; expires
    {P/T}:n:<experiment>       hash    name of a parameter set -> version of the set
    {P/T}:k:<experiment><name> hash    key -> version of the group
    {P/T}:g:<experiment><name><key>    hash  value -> "<version>:<JSON>", the rows of one group

    P:tenant:<experiment>      string  the tenant an experiment belongs to
    P:claim:<work>             string  "<until>:<owner>"; expires by itself
    P:window:<window>          string  "<end>:<events>" of a rate window; expires by itself
    P:hourly                   zset    ids of experiments that have, or had, hourly theta snapshots
    P:webhooks                 zset    ids of experiments that have, or had, webhooks
    P:senders                  zset    names of tenants that have, or had, such experiments
    P:pulse                    string  written to see whether Redis takes writes
    P:tenants                  zset    names of tenants with experiments, all of score 0
"""

from __future__ import annotations

from functools import cached_property
from urllib.parse import quote

from streamsim.storage.contract.decisions import ThetaAddress


def counted(text: str) -> str:
    """`text` behind its length in bytes, so that what follows cannot be mistaken for a part of it."""
    return f"{len(text.encode())}:{text}"


def member(experiment_id: str, name: str) -> str:
    """A sorted-set member that names something of an experiment."""
    return counted(experiment_id) + name


def split_member(text: bytes) -> tuple[str, str]:
    """The experiment and the name in a member."""
    size, _, rest = text.partition(b":")
    cut = int(size)
    return rest[:cut].decode(), rest[cut:].decode()


class TenantKeys:
    """The keys of one tenant."""

    def __init__(self, prefix: str, tenant: str) -> None:
        # Quoted, since a brace in a tenant's name would end the hash tag.
        self._base = f"{{{prefix}/{quote(tenant, safe='')}}}:"

    @cached_property
    def meta(self) -> str:
        return f"{self._base}meta"

    @cached_property
    def outbox(self) -> str:
        return f"{self._base}outbox"

    @cached_property
    def live(self) -> str:
        return f"{self._base}live"

    @cached_property
    def archived(self) -> str:
        return f"{self._base}archived"

    @cached_property
    def names(self) -> str:
        return f"{self._base}names"

    @cached_property
    def due(self) -> str:
        return f"{self._base}due"

    @cached_property
    def closed(self) -> str:
        return f"{self._base}closed"

    @cached_property
    def idle(self) -> str:
        return f"{self._base}idle"

    @cached_property
    def messages(self) -> str:
        return f"{self._base}messages"

    @cached_property
    def states(self) -> str:
        return f"{self._base}states"

    @cached_property
    def unsent(self) -> str:
        return f"{self._base}unsent"

    @cached_property
    def settled(self) -> str:
        return f"{self._base}settled"

    def experiment(self, experiment_id: str) -> str:
        return f"{self._base}x:{experiment_id}"

    def deliveries(self, experiment_id: str) -> str:
        return f"{self._base}d:{experiment_id}"

    def revisions(self, experiment_id: str) -> str:
        return f"{self._base}r:{experiment_id}"

    def revision_code(self, experiment_id: str) -> str:
        return f"{self._base}c:{experiment_id}"

    def advices(self, experiment_id: str) -> str:
        return f"{self._base}a:{experiment_id}"

    def idempotency(self, experiment_id: str) -> str:
        return f"{self._base}i:{experiment_id}"

    def buckets(self, experiment_id: str, step: str, block_ms: int) -> str:
        return f"{self._base}b:{step}{block_ms}:{experiment_id}"

    def sets(self, experiment_id: str) -> str:
        return f"{self._base}n:{experiment_id}"

    def groups(self, scope: ThetaAddress) -> str:
        return f"{self._base}k:{counted(scope.experiment_id)}{scope.name}"

    def group(self, scope: ThetaAddress, key: str) -> str:
        return f"{self._base}g:{counted(scope.experiment_id)}{counted(scope.name)}{key}"


class Keys:
    """The keys of an installation."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.tenants = f"{prefix}:tenants"
        self.hourly = f"{prefix}:hourly"
        self.webhooks = f"{prefix}:webhooks"
        self.senders = f"{prefix}:senders"
        self.pulse = f"{prefix}:pulse"

    def of(self, tenant: str) -> TenantKeys:
        return TenantKeys(self._prefix, tenant)

    def tenant(self, experiment_id: str) -> str:
        return f"{self._prefix}:tenant:{experiment_id}"

    def claim(self, work: str) -> str:
        return f"{self._prefix}:claim:{work}"

    def window(self, window: str) -> str:
        return f"{self._prefix}:window:{window}"
