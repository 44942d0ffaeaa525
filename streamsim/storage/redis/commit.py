"""A transaction as the keys and arguments of commit.lua, and its answer read back."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, NamedTuple

from streamsim.storage.contract.decisions import (
    Committed,
    Stale,
    ThetaAddress,
    ThetaRows,
    Transaction,
)
from streamsim.storage.contract.errors import OutcomeUnknown, StoreUnavailable
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.redis import buckets as redis_buckets
from streamsim.storage.redis.connection import Arg
from streamsim.storage.redis.keys import TenantKeys, member
from streamsim.storage.redis.records import (
    STATE,
    pack_advice,
    pack_log,
    pack_record,
    unpack_advice,
    unpack_record,
    unpack_row,
)
from streamsim.storage.redis.writers import Writer

# A MongoDB document holds at most 16 MiB, and a row has more in it than its data.
MAX_ROW_BYTES = 15 * 1024 * 1024


class HighWater(NamedTuple):
    """The most log rows of a tenant, and bytes of them, that may wait for MongoDB."""

    rows: int = 200_000
    bytes: int = 256 * 1024 * 1024


DEFAULT_HIGH_WATER = HighWater()


def encode(
    transaction: Transaction,
    tenant: TenantKeys,
    high_water: HighWater,
    groups: dict[ThetaAddress, list[str]],
    writer: Writer,
) -> tuple[list[str], list[Arg]]:
    """KEYS and ARGV of commit.lua. Encoded once, a commit may be sent any number of times and happens once.

    :param groups: for each set that the transaction deletes, the keys of its groups.
    :param writer: whose next commit this is.
    """
    places: dict[str, int] = {}

    def at(key: str) -> int:
        return places.setdefault(key, len(places) + 1)

    for key in (tenant.meta, tenant.outbox, tenant.due, tenant.closed, tenant.idle):
        at(key)
    writer.serial += 1
    logs = _distinct(transaction.logs)
    blob = pack_log(logs) if logs else b""
    if len(blob) > MAX_ROW_BYTES and any(len(row.data) > MAX_ROW_BYTES for row in logs):
        raise ValueError(f"a log row has at most {MAX_ROW_BYTES} bytes")
    closed, amended = transaction.redemptions, transaction.amendments
    parts: tuple[Sized, ...] = (closed, amended, transaction.idempotency, transaction.deletes)
    groups_written = _by_group(transaction)
    some = logs, groups_written, transaction.advices, any(parts), transaction.drops, transaction.buckets
    effects = any(some)
    counts = (len(transaction.revisions), len(transaction.reads), *map(len, parts))
    head = (transaction.now_ms, 1 if effects else 0, *high_water, len(logs), len(blob), *counts)
    buckets = redis_buckets.encode(transaction.buckets, tenant, at)
    rest = (len(groups_written), len(transaction.drops), len(transaction.advices), len(buckets))
    args: list[Arg] = [_numbers(*head, *rest, f"w:{writer.name}", writer.serial), blob]

    order: dict[str, int] = {}
    for experiment_id, revision in transaction.revisions.items():
        order[experiment_id] = len(order) + 1
        most = transaction.at_most.get(experiment_id, -1)
        counts_of = _counts(logs, experiment_id)
        args.append(_numbers(at(tenant.experiment(experiment_id)), revision, *counts_of, most))

    for scope, version in transaction.reads.items():
        place = order[scope.experiment_id]
        if scope.key is None:
            args += (_numbers(place, "s", at(tenant.sets(scope.experiment_id)), version), scope.name)
        elif scope.value is None:
            group = at(tenant.group(scope, scope.key))
            args += (_numbers(place, "g", at(tenant.groups(scope)), version, group), scope.key)
        else:
            args += (_numbers(place, "r", at(tenant.group(scope, scope.key)), version), scope.value)

    for redemption in transaction.redemptions:
        place, state = order[redemption.experiment_id], STATE[redemption.by].decode()
        bound = redemption.gathered is not None
        args.append(_numbers(place, at(tenant.advices(redemption.experiment_id)), state, int(bound)))
        args += (redemption.id, member(redemption.experiment_id, redemption.id))
        if redemption.gathered is not None:
            args.append(redemption.gathered)

    for amendment in transaction.amendments:
        hash_place = at(tenant.advices(amendment.experiment_id))
        args.append(_numbers(order[amendment.experiment_id], hash_place))
        args += (amendment.id, amendment.before, amendment.gathered)

    for record in transaction.idempotency:
        hash_place = at(tenant.idempotency(record.experiment_id))
        args.append(_numbers(order[record.experiment_id], hash_place, record.expires_ms))
        args += (record.key, pack_record(record), member(record.experiment_id, record.key))

    for scope in transaction.deletes:
        level = "s" if scope.key is None else "g" if scope.value is None else "r"
        keys = groups[scope] if scope.key is None else [scope.key]
        places_of_groups = [at(tenant.group(scope, name)) for name in keys]
        args.append(
            _numbers(level, at(tenant.sets(scope.experiment_id)), at(tenant.groups(scope)), *places_of_groups)
        )
        args += (scope.name, *keys)
        if scope.value is not None:
            args.append(scope.value)

    for scope, pairs in groups_written.items():
        key = scope.key or ""
        group, all_groups = at(tenant.group(scope, key)), at(tenant.groups(scope))
        args.append(_numbers(at(tenant.sets(scope.experiment_id)), all_groups, group, len(pairs) // 2))
        args += (scope.name, key, *pairs)

    args += (_numbers(at(tenant.advices(experiment_id))) for experiment_id in transaction.drops)

    for advice in transaction.advices:
        args.append(_numbers(at(tenant.advices(advice.experiment_id)), advice.expires_ms))
        args += (advice.id, pack_advice(advice), member(advice.experiment_id, advice.id))

    for block in buckets:
        args += block
    return list(places), args


def _numbers(*numbers: int | str) -> str:
    """Short things in one argument: each argument costs the driver more than it weighs."""
    return " ".join(map(str, numbers))


def _by_group(transaction: Transaction) -> dict[ThetaAddress, list[Arg]]:
    """For each group that is written, values and JSON texts in turn."""
    groups: dict[ThetaAddress, list[Arg]] = {}
    for scope, data in transaction.writes.items():
        groups.setdefault(scope._replace(value=None), []).extend((scope.value or "", data))
    return groups


def _distinct(logs: list[LogRow]) -> list[LogRow]:
    """The first row of each id."""
    rows: dict[str, LogRow] = {}
    for row in logs:
        rows.setdefault(row.id, row)
    return list(rows.values())


def _counts(logs: list[LogRow], experiment_id: str) -> tuple[int, int, int, int]:
    """Number of rows and latest date of the action and of the reward log."""
    actions = [row.date_ms for row in logs if row.kind == "action" and row.experiment_id == experiment_id]
    rewards = [row.date_ms for row in logs if row.kind == "reward" and row.experiment_id == experiment_id]
    return len(actions), max(actions, default=0), len(rewards), max(rewards, default=0)


def decode_committed(transaction: Transaction, outcome: bytes) -> Committed:
    """From "<version> <a 0 or 1 for each delete>"."""
    version, _, rest = outcome.partition(b" ")
    changed = {scope.experiment_id for scope in transaction.writes}
    for scope, flag in zip(transaction.deletes, rest, strict=True):
        if flag == ord("1"):
            changed.add(scope.experiment_id)
    return Committed(dict.fromkeys(changed, int(version)))


def decode_stale(transaction: Transaction, answer: list[Any], sets: dict[ThetaAddress, ThetaRows]) -> Stale:
    """From what commit.lua says.

    :param sets: fresh rows of the stale sets, which the script leaves to the caller.
    """
    _, experiments, reads, advices, records, full = answer
    ids = list(transaction.revisions)
    theta = dict(sets)
    scopes = list(transaction.reads)
    for place, version, *rest in reads:
        scope = scopes[place - 1]
        if scope.key is not None:
            theta[scope] = theta_rows(version, {scope.key: rest[0]})
    known = {}
    for place, *rest in advices:
        one = (*transaction.redemptions, *transaction.amendments)[place - 1]
        record = rest[0] if rest else None
        known[one.id] = unpack_advice(one.experiment_id, one.id, record) if record else None
    used = {}
    for place, record in records:
        wanted = transaction.idempotency[place - 1]
        used[wanted.key] = unpack_record(wanted.experiment_id, wanted.key, record)
    names = (tuple(ids[place - 1] for place in places) for places in (experiments, full))
    return Stale(next(names), theta, known, used, next(names))


def refusal(answer: list[Any]) -> StoreUnavailable:
    """From what commit.lua says when nothing of the transaction is wrong."""
    kind, *rest = answer
    if kind == 2:
        rows, size = rest
        waiting = f"{rows} log rows of {size} bytes"
        return StoreUnavailable(f"{waiting} wait for MongoDB, which is as much as may wait")
    return OutcomeUnknown("Redis got the commit again after it was given up")


def stale_sets(transaction: Transaction, answer: list[Any]) -> list[ThetaAddress]:
    """The sets among the stale reads."""
    scopes = list(transaction.reads)
    return [scopes[place - 1] for place, *_ in answer[2] if scopes[place - 1].key is None]


def theta_rows(version: bytes, groups: dict[str, list[bytes]]) -> ThetaRows:
    """From a version and, for each key, fields and values in turn."""
    rows = {}
    for key, flat in groups.items():
        pairs = iter(flat)
        for value, row in zip(pairs, pairs, strict=True):
            rows[key, value.decode()] = unpack_row(row)
    return ThetaRows(int(version), rows)
