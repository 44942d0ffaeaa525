"""Live numbers of experiments: one look at the store for all who watch, at most one a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, Literal

import msgspec

from streamsim import values
from streamsim.decisions.arms import arm_of
from streamsim.storage.contract.decisions import Experiment, Summary
from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.contract.store import Store

log = logging.getLogger("streamsim.watching")

NEWEST: Final = 1000
"""So many of the newest decisions, and of the newest rewards, are told."""
EVERY_S: Final = 1.0
BYTES_A_SECOND: Final = 1 << 17
"""About so much is sent to all who watch one experiment: the more there are, the rarer it is."""
LONGEST_S: Final = 30.0
_SLACK: Final = 50
_BEHIND: Final = 8
"""So many events wait for a watcher; who is further behind gets all numbers anew."""

Kind = Literal["action", "reward"]
Event = dict[str, Any]


class Watching:
    """Who watches which experiment in this process."""

    def __init__(self, store: Store, iso: Callable[[int], str]) -> None:
        self._store = store
        self._iso = iso
        self._watched: dict[str, _Watched] = {}

    async def events(self, experiment: Experiment) -> AsyncGenerator[bytes | None, None]:
        """What there is, then what comes, as JSON; None about once a second while nothing does.

        An event has `summary`, and `decisions` as [date, arm] and `rewards` as [date, arm, number or null],
        oldest first; `all` says whether they are all that is told, or what came since the event before.

        :raises StoreUnavailable: at the beginning.
        """
        one = self._watched.get(experiment.id)
        if one is None:
            one = self._watched[experiment.id] = _Watched(self._store, experiment, self._iso)
        queue: asyncio.Queue[bytes] = asyncio.Queue(_BEHIND)
        one.watchers.append(queue)
        try:
            await one.begin()
            # What was told meanwhile is in what follows.
            while not queue.empty():
                queue.get_nowait()
            yield one.snapshot()
            while True:
                try:
                    yield await asyncio.wait_for(queue.get(), EVERY_S)
                except TimeoutError:
                    yield None
        finally:
            one.watchers.remove(queue)
            if not one.watchers and self._watched.get(experiment.id) is one:
                del self._watched[experiment.id]
                await one.close()

    async def close(self) -> None:
        """End all looks at the store."""
        for one in [*self._watched.values()]:
            await one.close()


class _Watched:
    """One experiment that somebody watches. After the first look there is at most one read in a second: of
    its counters, or of what one of its logs has more by them."""

    def __init__(self, store: Store, experiment: Experiment, iso: Callable[[int], str]) -> None:
        self.watchers: list[asyncio.Queue[bytes]] = []
        self._store = store
        self._id = experiment.id
        field = experiment.properties.get("arm_field")
        self._arm_field = field if isinstance(field, str) else None
        self._iso = iso
        self._summary = Summary()
        self._rows: dict[Kind, deque[list[Any]]] = {
            "action": deque(maxlen=NEWEST),
            "reward": deque(maxlen=NEWEST),
        }
        self._seen: dict[Kind, str] = {"action": "", "reward": ""}
        self._more: dict[Kind, int] = {"action": 0, "reward": 0}
        self._sent = 0
        self._begun: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Look once, for all who come at that time."""
        if self._begun is None or (
            self._begun.done() and (self._begun.cancelled() or self._begun.exception())
        ):
            self._begun = asyncio.create_task(self._first())
        await asyncio.shield(self._begun)

    async def _first(self) -> None:
        self._summary = await self._store.decisions.summary(self._id)
        self._more = {"action": self._summary.action_calls, "reward": self._summary.reward_calls}
        for kind in ("action", "reward"):
            await self._read(kind)
        self._task = asyncio.create_task(self._go_on())

    async def close(self) -> None:
        """Look no more."""
        for task in (self._begun, self._task):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, StoreUnavailable):
                    await task

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(pause_s(self._sent))
            self._sent = 0
            try:
                await self._look()
            except StoreUnavailable:
                continue
            except Exception:
                log.exception("bug in what is watched")

    async def _look(self) -> None:
        kind: Kind
        for kind, name in (("action", "decisions"), ("reward", "rewards")):
            if self._more[kind]:
                fresh = await self._read(kind)
                if fresh:
                    self._tell({name: fresh})
                return
        summary = await self._store.decisions.summary(self._id)
        if summary != self._summary:
            self._more["action"] = max(summary.action_calls - self._summary.action_calls, 0)
            self._more["reward"] = max(summary.reward_calls - self._summary.reward_calls, 0)
            self._summary = summary
            self._tell({})

    async def _read(self, kind: Kind) -> list[list[Any]]:
        """The rows that came since, at most the newest `NEWEST`."""
        more, seen = self._more[kind], self._seen[kind]
        # Rows may have come since the counters were read; those known already are passed over.
        limit = min(more + _SLACK, NEWEST) if seen else NEWEST
        page = await self._store.logs.read_log(self._id, kind, limit=limit) if more else []
        if limit < NEWEST and len(page) == limit and all(row.position != seen for row in page):
            # So many came that this page does not reach back to those known: the next one shall.
            self._more[kind] = NEWEST
            return []
        self._more[kind] = 0
        fresh = []
        for row in page:
            if row.position == seen:
                break
            fresh.append(self._shown(kind, row))
        if page:
            self._seen[kind] = page[0].position
        fresh.reverse()
        self._rows[kind].extend(fresh)
        return fresh

    def _shown(self, kind: Kind, row: LogRow) -> list[Any]:
        data = msgspec.json.decode(row.data)
        try:
            arm = arm_of(data.get("action"), self._arm_field, data.get("probabilities"))
        except values.InvalidValue:
            arm = values.dump(data.get("action")).decode()
        shown = [self._iso(row.date_ms), arm[:200]]
        return shown if kind == "action" else [*shown, _number(data.get("reward"))]

    def snapshot(self) -> bytes:
        """All that is told."""
        rows = {"decisions": [*self._rows["action"]], "rewards": [*self._rows["reward"]]}
        return values.dump({"all": True, "summary": self._counters(), **rows})

    def _tell(self, more: Event) -> None:
        event = values.dump(
            {"all": False, "summary": self._counters(), "decisions": [], "rewards": [], **more}
        )
        self._sent = len(event) * len(self.watchers)
        for queue in self.watchers:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(self.snapshot())
            else:
                queue.put_nowait(event)

    def _counters(self) -> Event:
        found, last = self._summary, self._date
        return {
            "get_action_calls": found.action_calls,
            "last_added_get_action": last(found.last_action_ms),
            "set_reward_calls": found.reward_calls,
            "last_added_set_reward": last(found.last_reward_ms),
        }

    def _date(self, date_ms: int | None) -> str | None:
        return None if date_ms is None else self._iso(date_ms)


def pause_s(sent: int) -> float:
    """How long the store is not looked at after so many bytes were sent to all who watch an experiment."""
    return min(max(EVERY_S, sent / BYTES_A_SECOND), LONGEST_S)


def _number(reward: object) -> float | None:
    """A reward as a number: itself, or the only number in it."""
    if isinstance(reward, int | float):
        return float(reward)
    if isinstance(reward, dict):
        found = [one for one in reward.values() if isinstance(one, int | float)]
        return float(found[0]) if len(found) == 1 else None
    return None
