"""Numbers of calls by minute and hour in Redis: minutes in one hash per hour, hours in one per day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from streamsim.dates import HOUR_MS
from streamsim.storage.contract.buckets import KEPT_MS, STEP_MS, Bucket, Buckets, Counted, Counts, Step
from streamsim.storage.redis.connection import Arg, RedisConnection
from streamsim.storage.redis.keys import TenantKeys

_BLOCK_MS: Final[dict[Step, int]] = {"minute": HOUR_MS, "hour": 24 * HOUR_MS}


def encode(
    buckets: Mapping[Counted, Counts], tenant: TenantKeys, at: Callable[[str], int]
) -> list[list[Arg]]:
    """For each hash the arguments of commit.lua. :param at: the place of a key among KEYS."""
    blocks: dict[tuple[str, Step, int], list[Arg]] = {}
    for (experiment_id, minute_ms, arm), one in buckets.items():
        sums = f"{one.reward_sum!r} {one.reward_squares!r}"
        more = f"{one.decisions} {one.rewards} {one.numbers} {sums} {one.errors}"
        for step, size in _BLOCK_MS.items():
            start_ms = minute_ms // STEP_MS[step] * STEP_MS[step]
            fields = blocks.setdefault((experiment_id, step, start_ms // size * size), [])
            fields += (f"{start_ms}:{arm}", more)
    args: list[list[Arg]] = []
    for (experiment_id, step, block_ms), fields in blocks.items():
        gone_ms = block_ms + _BLOCK_MS[step] + KEPT_MS[step]
        place = at(tenant.buckets(experiment_id, step, block_ms))
        args.append([f"{place} {gone_ms} {len(fields) // 2}", *fields])
    return args


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
