"""Revisions of experiments in Redis, with the tenant's other keys: their code apart from what lists show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec

from streamsim.storage.contract.revisions import MAX_REVISION_BYTES, MAX_REVISIONS, Revision
from streamsim.storage.redis.connection import Arg, RedisConnection
from streamsim.storage.redis.keys import Keys, TenantKeys


class _Record(msgspec.Struct, frozen=True):
    """What a list shows of a revision."""

    date_ms: int
    user: str
    note: str


_decode = msgspec.json.Decoder(_Record).decode
_decode_code: Final = msgspec.json.Decoder(dict[str, str]).decode


def revision_keys(keys: TenantKeys, experiment_id: str) -> list[str]:
    """The keys that revisions of an experiment are written to."""
    return [keys.revisions(experiment_id), keys.revision_code(experiment_id)]


def revision_args(revisions: Iterable[Revision]) -> list[Arg]:
    """Most that are kept, most bytes, how many follow, and of each: number, record, code."""
    some = list(revisions)
    args: list[Arg] = [MAX_REVISIONS, MAX_REVISION_BYTES, len(some)]
    for one in some:
        record = _Record(one.date_ms, one.user, one.note)
        args += (one.revision, msgspec.json.encode(record), msgspec.json.encode(one.code))
    return args


class RedisRevisions:
    """A `RevisionStore`.

    :param tenant_of: the tenant of an experiment.
    """

    def __init__(
        self, connection: RedisConnection, keys: Keys, tenant_of: Callable[[str], Awaitable[str | None]]
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._tenant_of = tenant_of

    async def list_revisions(self, experiment_id: str) -> list[Revision]:
        tenant = await self._tenant_of(experiment_id)
        if tenant is None:
            return []
        records, _ = revision_keys(self._keys.of(tenant), experiment_id)
        found = await self._connection.command("HGETALL", records)
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        shown = [_revision(experiment_id, int(number), record, {}) for number, record in pairs]
        return sorted(shown, key=lambda one: one.revision, reverse=True)

    async def has_revisions(self, experiment_id: str) -> bool:
        tenant = await self._tenant_of(experiment_id)
        if tenant is None:
            return False
        records, _ = revision_keys(self._keys.of(tenant), experiment_id)
        return bool(await self._connection.command("EXISTS", records))

    async def get_revision(self, experiment_id: str, revision: int) -> Revision | None:
        tenant = await self._tenant_of(experiment_id)
        if tenant is None:
            return None
        records, code = revision_keys(self._keys.of(tenant), experiment_id)
        # The code is gone before its record, and is never written anew.
        record = await self._connection.command("HGET", records, revision)
        text = None if record is None else await self._connection.command("HGET", code, revision)
        return None if text is None else _revision(experiment_id, revision, record, _decode_code(text))

    async def restore(self, one: Revision) -> None:
        """Store it, as it is."""
        tenant = await self._tenant_of(one.experiment_id)
        if tenant is None:
            raise KeyError(one.experiment_id)
        records, code = revision_keys(self._keys.of(tenant), one.experiment_id)
        number, record, text = revision_args([one])[3:]
        await self._connection.command("HSET", code, number, text)
        await self._connection.command("HSET", records, number, record)


def _revision(experiment_id: str, number: int, record: bytes, code: dict[str, str]) -> Revision:
    found = _decode(record)
    return Revision(
        experiment_id=experiment_id,
        revision=number,
        date_ms=found.date_ms,
        user=found.user,
        note=found.note,
        code=code,
    )
