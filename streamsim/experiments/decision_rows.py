"""Decisions with the rewards that came for them: one row each, newest first, as JSON, JSON lines or CSV."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from streamsim import values
from streamsim.decisions.gathering import added
from streamsim.errors import BadRequest, TooLarge
from streamsim.experiments.logs import DISORDER_MS, Iso, LogFormat, LogQuery, Reader, cell, lines
from streamsim.storage.contract.logs import LogRow, LogStore

COLUMNS: Final = (
    *("date", "exp_id", "id", "advice_id", "context", "action", "propensity", "probabilities", "decided_by"),
    *("revision", "reward", "delay_ms", "rewards"),
)
_AT_ONCE: Final = 500
_PART_BYTES: Final = 1 << 20
_ARRIVAL_BYTES: Final = 100
MAX_HELD_BYTES: Final = 64 << 20
"""Of rewards whose decisions were not read yet."""


class _Logged(msgspec.Struct):
    """What is read of a row of the reward log."""

    reward: msgspec.Raw = msgspec.Raw(b"null")
    advice_id: str | None = None
    timeout: bool = False
    late: bool = False
    part: bool = False
    parts: int = 0
    metrics: dict[str, float] | None = None


_parse = msgspec.json.Decoder(_Logged).decode


class _Arrival(NamedTuple):
    date_ms: int
    logged: _Logged


class _Arrivals:
    """The reward log, read newest first as far as is needed, and what of it has no decision yet.

    :param wanted: the advice ids that matter; None for all.
    """

    def __init__(self, store: LogStore, experiment_id: str, wanted: Collection[str] | None = None) -> None:
        self._reader = Reader(store, experiment_id, LogQuery("reward"))
        self._wanted = wanted
        self._found: dict[str, list[_Arrival]] = {}
        self._held = 0
        self._oldest_ms: int | None = None

    async def reach(self, date_ms: int) -> None:
        """Read all rewards that can be of decisions from a date on. :raises TooLarge: there are too many."""
        while self._reader.more and (self._oldest_ms is None or self._oldest_ms > date_ms - DISORDER_MS):
            for row in await self._reader.read(_AT_ONCE, _PART_BYTES):
                self._oldest_ms = row.date_ms
                self._add(row)
            self._check()

    def take(self, rows: Sequence[LogRow]) -> None:
        """Rows of the reward log that are all there are of the wanted ones, oldest first.

        :raises TooLarge:
        """
        for row in rows[::-1]:
            self._add(row)
        self._check()

    def _check(self) -> None:
        """:raises TooLarge: more is held than may be."""
        if self._held > MAX_HELD_BYTES:
            raise TooLarge(f"rewards hold over {MAX_HELD_BYTES} bytes: read smaller pages, by limit")

    def _add(self, row: LogRow) -> None:
        logged = _parse(row.data)
        advice = logged.advice_id
        if advice is None or (self._wanted is not None and advice not in self._wanted):
            return
        logged.reward = logged.reward.copy()  # and not a view of the row
        self._found.setdefault(advice, []).append(_Arrival(row.date_ms, logged))
        self._held += len(logged.reward) + _ARRIVAL_BYTES

    def of(self, advice: str) -> list[_Arrival]:
        """The rewards of a decision, oldest first; they are given once."""
        found = self._found.pop(advice, [])
        self._held -= sum(len(one.logged.reward) + _ARRIVAL_BYTES for one in found)
        return found[::-1]


async def page(
    store: LogStore, experiment_id: str, query: LogQuery, form: LogFormat, limit: int, iso: Iso
) -> tuple[bytes, str | None]:
    """At most `limit` decisions, and the position to go on `before` if there may be more.

    :raises BadRequest: for a `before` that is no position.
    """
    reader = Reader(store, experiment_id, query)
    rows = await reader.page(limit)
    decisions = [(row, msgspec.json.decode(row.data)) for row in rows]
    wanted = {advice for _, one in decisions if isinstance(advice := one.get("advice_id"), str)}
    arrivals = _Arrivals(store, experiment_id, wanted)
    rewards = await store.rewards_of(experiment_id, wanted) if wanted else []
    if rewards is not None:
        arrivals.take(rewards)
    elif rows:
        await arrivals.reach(min(row.date_ms for row in rows))
    shown = [_shown(experiment_id, row, logged, arrivals, iso) for row, logged in decisions]
    write = _WRITERS[form]()
    return write.begin() + write.rows(shown) + write.end(), reader.before if reader.more else None


async def whole(
    store: LogStore, experiment_id: str, query: LogQuery, form: LogFormat, iso: Iso
) -> AsyncGenerator[bytes, None]:
    """All decisions in parts.

    :raises BadRequest: before the first part, for a `before` that is no position. :raises TooLarge:
    """
    reader, arrivals = Reader(store, experiment_id, query), _Arrivals(store, experiment_id)
    write = _WRITERS[form]()
    held = write.begin()
    while reader.more:
        rows = await reader.read(_AT_ONCE, _PART_BYTES)
        if not rows:
            continue
        await arrivals.reach(min(row.date_ms for row in rows))
        held += write.rows(
            [_shown(experiment_id, row, msgspec.json.decode(row.data), arrivals, iso) for row in rows]
        )
        if len(held) >= _PART_BYTES:
            yield held
            held = b""
    yield held + write.end()


def _shown(
    experiment_id: str, row: LogRow, logged: dict[str, Any], arrivals: _Arrivals, iso: Iso
) -> dict[str, Any]:
    """A decision. `reward` and `delay_ms`: what counts for it, and when it came to that; absent if nothing
    did."""
    shown = {"date": iso(row.date_ms), "exp_id": experiment_id, "id": row.id, **logged}
    advice = logged.get("advice_id")
    came = arrivals.of(advice) if isinstance(advice, str) else []
    counted = [one for one in came if not one.logged.late and not one.logged.part]
    if counted:
        reward = msgspec.json.decode(counted[0].logged.reward)
        try:
            for one in counted[1:]:
                reward = added(reward, msgspec.json.decode(one.logged.reward))
            shown["reward"] = reward
        except BadRequest:
            pass  # rewards learnt from one by one that have no sum; they are all in `rewards`
        shown["delay_ms"] = counted[-1].date_ms - row.date_ms
    shown["rewards"] = [_arrived(one, iso) for one in came]
    return shown


def _arrived(one: _Arrival, iso: Iso) -> dict[str, Any]:
    marks = {name: True for name in ("timeout", "late", "part") if getattr(one.logged, name)}
    parts: dict[str, Any] = {"parts": one.logged.parts} if one.logged.parts else {}
    if one.logged.metrics:
        parts["metrics"] = one.logged.metrics
    return {"date": iso(one.date_ms), "reward": one.logged.reward, **marks, **parts}


class _Json:
    """A JSON array."""

    def __init__(self) -> None:
        self._first = True

    def begin(self) -> bytes:
        return b"["

    def rows(self, rows: Iterable[dict[str, Any]]) -> bytes:
        text = b",".join(map(values.dump, rows))
        joined = text if self._first or not text else b"," + text
        self._first = self._first and not text
        return joined

    def end(self) -> bytes:
        return b"]"


class _Lines(_Json):
    """A JSON object for each line."""

    def begin(self) -> bytes:
        return b""

    def rows(self, rows: Iterable[dict[str, Any]]) -> bytes:
        return b"".join(values.dump(row) + b"\n" for row in rows)

    def end(self) -> bytes:
        return b""


class _Csv(_Lines):
    """A header and a line for each row."""

    def begin(self) -> bytes:
        return lines([list(COLUMNS)])

    def rows(self, rows: Iterable[dict[str, Any]]) -> bytes:
        return lines([cell(row.get(name)) for name in COLUMNS] for row in rows)


_WRITERS: Final[dict[LogFormat, Callable[[], _Json]]] = {"json": _Json, "jsonl": _Lines, "csv": _Csv}
