"""What is stored of runs: each is a journal of what was done to it, from which it can be brought back."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from streamsim.errors import NotFound, TooManyRequests
from streamsim.storage.contract.runs import Append, Run, RunQuery, RunStore
from streamsim.values import JsonObject

EXPIRED_AT_ONCE: Final = 200
UNKNOWN: Final = "expecting a valid instance id to be given"
UNKNOWN_RUN: Final = "there is no such run"
ID_BYTES: Final = {"instance": 16, "run": 18}

Entry = JsonObject
"""What was done, as the model program takes it: `{"op": name, ...}`."""
Kind = Literal["instance", "run"]

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(JsonObject).decode


class RunJournal:
    """The stored runs of all tenants. Dates are those of `now_ms`: milliseconds since 1970 UTC."""

    def __init__(self, store: RunStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self.now_ms: Final = now_ms

    async def create(
        self,
        tenant: str,
        kind: Kind,
        models: dict[str, int],
        *,
        count: int = 1,
        idle_ms: int = 0,
        most: int | None = None,
        project: str = "",
        model: str = "",
        metadata: bytes = b"{}",
    ) -> list[Run]:
        """New runs with empty journals, each with a random id and seed.

        :param models: name -> version of each model that they may use.
        :param idle_ms: how long after its last access a run expires; 0 is never.
        :raises TooManyRequests: the tenant would have more than `most` of this kind.
        """
        now_ms = self.now_ms()
        if most is not None and await self._store.count_runs(tenant, kind, now_ms) + count > most:
            raise TooManyRequests(f"at most {most} at a time: stop some, or let them time out")
        runs = [
            Run(
                id=secrets.token_hex(ID_BYTES[kind]),
                tenant=tenant,
                kind=kind,
                project=project,
                model=model,
                models=models,
                seed=secrets.randbits(32),
                created_ms=now_ms,
                modified_ms=now_ms,
                expires_ms=now_ms + idle_ms if idle_ms else 0,
                idle_ms=idle_ms,
                metadata=metadata,
            )
            for _ in range(count)
        ]
        await self._store.create_runs(runs)
        return runs

    async def get(self, tenant: str, run: str, kind: Kind = "instance") -> Run:
        """The run; an access, which moves its expiry.

        :raises NotFound: unknown, another tenant's, or of the other kind.
        """
        return _owned(await self._store.touch(run, self.now_ms()), tenant, kind)

    async def look(self, tenant: str, run: str, kind: Kind = "instance") -> Run:
        """The run, for a request that goes on to write to it, which is the access. :raises NotFound:"""
        return _owned(await self._store.get_run(run, self.now_ms()), tenant, kind)

    async def entries(self, run: Run, first: int | None = None) -> list[Entry]:
        """Its entries from a position on; by default those that are needed to bring it back."""
        texts = await self._store.entries(run.id, run.base if first is None else first)
        return [decode(text) for text in texts]

    async def append(
        self,
        run: str,
        expected: int,
        entries: Sequence[Entry],
        restart: bool = False,
        variables: dict[str, bytes] | None = None,
        metadata: bytes | None = None,
    ) -> Run | None:
        """Append to a journal that has `expected` entries; the run afterwards, None if it has others.

        :param restart: the first of the entries begins anew, and what was before is dropped.
        :param variables: name -> JSON text of what was recorded. :param metadata: replaces the run's.
        """
        texts = list(map(encode, entries))
        change = Append(run, expected, self.now_ms(), texts, restart, variables or {}, metadata)
        return await self._store.append(change)

    async def copy(self, run: Run, metadata: bytes) -> Run:
        """A new run with the journal, the seed and the recorded variables of another.

        :param metadata: the copy's own.
        """
        entries = await self._store.entries(run.id, run.base)
        now_ms = self.now_ms()
        copied = msgspec.structs.replace(
            run,
            id=secrets.token_hex(ID_BYTES[run.kind]),
            base=0,
            length=len(entries),
            metadata=metadata,
            created_ms=now_ms,
            modified_ms=now_ms,
            expires_ms=now_ms + run.idle_ms if run.idle_ms else 0,
        )
        await self._store.copy_run(copied, run.id, entries)
        return copied

    async def delete(self, runs: Sequence[str]) -> int:
        """Remove runs with everything of them; how many there were."""
        return await self._store.delete_runs(runs)

    async def expired(self) -> list[str]:
        """Ids of runs that timed out, at most `EXPIRED_AT_ONCE`."""
        return await self._store.expired_runs(self.now_ms(), EXPIRED_AT_ONCE)

    async def count(self, tenant: str | None, kind: Kind) -> int:
        """How many live runs there are, of one tenant or of all."""
        return await self._store.count_runs(tenant, kind, self.now_ms())

    async def page(self, query: RunQuery) -> tuple[list[Run], int]:
        """The runs of a page of a query, and how many runs meet the query in all."""
        return await self._store.list_runs(query)

    async def find(
        self, query: RunQuery, names: Sequence[str]
    ) -> tuple[list[tuple[Run, dict[str, bytes]]], int]:
        """The runs of a page of a query, each with recorded variables, and how many meet the query in all.

        :param names: of the variables; their values are JSON text.
        """
        return await self._store.find_variables(query, names)

    async def recorded(self, run: str, names: Sequence[str]) -> dict[str, bytes]:
        """The recorded variables of a run, of these names, as JSON text by name."""
        return (await self._store.variables([run], names))[run]


def _owned(run: Run | None, tenant: str, kind: Kind) -> Run:
    if run is None or run.tenant != tenant or run.kind != kind:
        raise NotFound(UNKNOWN_RUN if kind == "run" else UNKNOWN)
    return run
