"""Copies a whole installation from one backend to another, and checks what it copied.

A migration that was interrupted goes on where it was: it leaves a note in the target, and restoring a record
a second time changes nothing. At the end everything is read again on both sides and compared.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import msgspec

from streamsim.storage.contract.migration import Migratable, Record, Source

_AT_ONCE_RECORDS = 500
_AT_ONCE_BYTES = 4 * 1024 * 1024
_SHARED = "users, models, runs and jobs"
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_MODULUS = 1 << 256


class MigrationFailed(Exception):
    """The target is in use, or what was copied is not what was there; the message says which."""


class _Note(msgspec.Struct):
    """How far a migration came: whether all that belongs to no experiment is there; the last experiment."""

    shared: bool = False
    # By this name in notes that migrations have left.
    experiment_id: str = msgspec.field(default="", name="experiment")


async def migrate(source: Source, target: Migratable, say: Callable[[str], None]) -> dict[str, int]:
    """Copy everything; the number of records by kind, e.g. `{"User": 3, "LogRecord": 12000}`.

    Both stores are open, and no server uses either.

    :param say: is told in a sentence what was done.
    :raises MigrationFailed: the target has contents that no interrupted migration left, or differs at last.
    :raises StoreUnavailable:
    """
    note = await _begin(target, say)
    experiments = await source.experiments()
    if not note.shared:
        await _copy(source.export(), target)
        note.shared = True
        await target.note(msgspec.json.encode(note).decode())
        say(f"copied {_SHARED}")
    for number, experiment_id in enumerate(experiments, 1):
        if experiment_id > note.experiment_id:
            await _copy(source.export_experiment(experiment_id), target)
            note.experiment_id = experiment_id
            await target.note(msgspec.json.encode(note).decode())
            say(f"copied experiment {number} of {len(experiments)}: {experiment_id}")
    counts = await _compare(source, target, experiments, say)
    await target.note("")
    return dict(counts)


async def _begin(target: Migratable, say: Callable[[str], None]) -> _Note:
    text = await target.note()
    if text:
        note = msgspec.json.decode(text, type=_Note)
        say(f"going on after {note.experiment_id or (_SHARED if note.shared else 'the start')}")
        return note
    if await target.experiments():
        raise MigrationFailed("the target has experiments; a migration needs an empty installation")
    async with aclosing(target.export()) as records:
        async for record in records:
            kind = type(record).__name__.removesuffix("Record").lower()
            raise MigrationFailed(f"the target has a {kind}; a migration needs an empty installation")
    note = _Note()
    await target.note(msgspec.json.encode(note).decode())
    return note


async def _copy(records: AsyncIterator[Record], target: Migratable) -> None:
    waiting: list[Record] = []
    size = 0
    async for record in records:
        waiting.append(record)
        size += len(_encode(record))
        if len(waiting) >= _AT_ONCE_RECORDS or size >= _AT_ONCE_BYTES:
            await target.restore(waiting)
            waiting, size = [], 0
    if waiting:
        await target.restore(waiting)


async def _compare(
    source: Source, target: Migratable, experiments: list[str], say: Callable[[str], None]
) -> Counter[str]:
    found = await target.experiments()
    if found != experiments:
        differing = sorted(set(found) ^ set(experiments))
        raise MigrationFailed(f"these experiments are on one side only: {', '.join(differing[:10])}")
    counts = await _same(_SHARED, source.export(), target.export())
    for experiment_id in experiments:
        counts += await _same(
            f"experiment {experiment_id}",
            source.export_experiment(experiment_id),
            target.export_experiment(experiment_id),
        )
    say(f"compared {counts.total()} records")
    return counts


async def _same(what: str, one: AsyncIterator[Record], other: AsyncIterator[Record]) -> Counter[str]:
    expected, found = await _digest(one), await _digest(other)
    for kind in sorted(expected.keys() | found.keys()):
        if expected.get(kind) != found.get(kind):
            numbers = [side[kind][0] if kind in side else 0 for side in (expected, found)]
            raise MigrationFailed(
                f"{what}: the {kind} records differ ({numbers[0]} in the source, {numbers[1]} in the target);"
                " was a server running?"
            )
    return Counter({kind: number for kind, (number, _) in expected.items()})


async def _digest(records: AsyncIterator[Record]) -> dict[str, tuple[int, int]]:
    """By kind, how many records there are and the sum of their hashes, which no order changes."""
    result: dict[str, tuple[int, int]] = {}
    async for record in records:
        kind = type(record).__name__
        number, total = result.get(kind, (0, 0))
        value = int.from_bytes(hashlib.sha256(_encode(record)).digest())
        result[kind] = (number + 1, (total + value) % _MODULUS)
    return result
