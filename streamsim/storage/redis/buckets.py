"""Numbers of calls by minute and hour in Redis: minutes in one hash per hour, hours in one per day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from operator import add
from typing import Final

import msgspec

from streamsim.dates import HOUR_MS
from streamsim.storage.contract.buckets import KEPT_MS, STEP_MS, Bucket, Buckets, Counted, Counts, Step
from streamsim.storage.redis.connection import Arg, RedisConnection
from streamsim.storage.redis.keys import TenantKeys

_BLOCK_MS: Final[dict[Step, int]] = {"minute": HOUR_MS, "hour": 24 * HOUR_MS}


def encode(
    buckets: Mapping[Counted, Counts], tenant: TenantKeys, at: Callable[[str], int]
) -> list[list[Arg]]:
    """For each hash the arguments of commit.lua. :param at: the place of a key among KEYS."""
    blocks: dict[tuple[str, Step, int], dict[str, Counts]] = {}
    for (experiment_id, minute_ms, arm), one in buckets.items():
        for step, size in _BLOCK_MS.items():
            start_ms = minute_ms // STEP_MS[step] * STEP_MS[step]
            rows = blocks.setdefault((experiment_id, step, start_ms // size * size), {})
            field = f"{start_ms}:{arm}"
            rows[field] = one if field not in rows else _sum(rows[field], one)
    args: list[list[Arg]] = []
    for (experiment_id, step, block_ms), rows in blocks.items():
        gone_ms = block_ms + _BLOCK_MS[step] + KEPT_MS[step]
        place = at(tenant.buckets(experiment_id, step, block_ms))
        block: list[Arg] = [f"{place} {gone_ms} {len(rows)}"]
        for field, one in rows.items():
            block += (field, _numbers(one))
        args.append(block)
    return args


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(*map(add, msgspec.structs.astuple(one), msgspec.structs.astuple(other)))


def _numbers(counts: Counts) -> str:
    """As commit.lua adds them: of decisions alone their number, which is one addition."""
    decisions, rewards, numbers, total, squares, errors = msgspec.structs.astuple(counts)
    if not (rewards or errors):
        return str(decisions)
    return f"{decisions} {rewards} {numbers} {total!r} {squares!r} {errors}"


async def read(
    connection: RedisConnection, tenant: TenantKeys, experiment_id: str, step: Step, from_ms: int, to_ms: int
) -> Buckets:
    """`DecisionStore.buckets` of one experiment."""
    size = _BLOCK_MS[step]
    blocks = range(from_ms // size * size, to_ms, size)
    (since, actions, rewards), *hashes = await asyncio.gather(
        connection.command("HMGET", tenant.experiment(experiment_id), "buckets", "actions", "rewards"),
        *(
            connection.command("HGETALL", tenant.buckets(experiment_id, step, block_ms))
            for block_ms in blocks
        ),
    )
    rows = []
    for flat in hashes:
        fields = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        for field, text in fields:
            start, _, arm = field.decode().partition(":")
            decisions, came, numbers, total, squares, errors = text.split()
            counts = Counts(
                int(decisions), int(came), int(numbers), float(total), float(squares), int(errors)
            )
            if from_ms <= int(start) < to_ms:
                rows.append(Bucket(int(start), arm, counts))
    rows.sort(key=lambda row: row[:2])
    none_yet = since is None and int(actions or 0) + int(rewards or 0) > 0
    return Buckets(None if none_yet else int(since or 0), rows)
