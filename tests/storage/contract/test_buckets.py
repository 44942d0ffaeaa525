"""Numbers of calls by minute and hour, as commits keep them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from streamsim.storage.contract.buckets import KEPT_MS, MINUTE_MS, MOST_READ, REST, STEP_MS, Counted, Counts
from streamsim.storage.contract.decisions import Stale, Summary
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.contract.migration import ExperimentRecord
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import HOUR, NOW, committed, experiment, log, transaction

HOUR_START = NOW // HOUR * HOUR


def _at(minute: int, arm: str, experiment_id: str = "e1") -> Counted:
    return Counted(experiment_id, HOUR_START + minute * MINUTE_MS, arm)


def test_commits_add_to_the_minute_and_to_the_hour(run: Any, store: Store) -> None:
    async def body() -> None:
        first = {_at(1, "a"): Counts(decisions=2), _at(1, REST): Counts(errors=1)}
        await committed(store, logs=[log("a1")], buckets=first)
        second = {_at(1, "a"): Counts(1, 2, 1, 0.1, 0.01), _at(60, "a"): Counts(5)}
        second |= {_at(2, "a:é{}"): Counts(0, 1, 1, -0.25, 0.0625), _at(3, "a"): Counts(4)}
        await committed(store, logs=[log("a2")], buckets=second)
        read = store.decisions.buckets
        minutes = await read(["e1", "e2", "unknown"], "minute", HOUR_START, HOUR_START + 60 * MINUTE_MS)
        assert minutes.keys() == {"e1", "e2"}
        assert minutes["e2"].rows == []
        assert minutes["e2"].since_ms == 0 == minutes["e1"].since_ms
        assert minutes["e1"].rows == [
            (HOUR_START + MINUTE_MS, REST, Counts(errors=1)),
            (HOUR_START + MINUTE_MS, "a", Counts(3, 2, 1, 0.1, 0.01)),
            (HOUR_START + 2 * MINUTE_MS, "a:é{}", Counts(0, 1, 1, -0.25, 0.0625)),
            (HOUR_START + 3 * MINUTE_MS, "a", Counts(4)),
        ]
        hours = (await read(["e1"], "hour", HOUR_START, HOUR_START + 2 * HOUR))["e1"].rows
        assert hours == [
            (HOUR_START, REST, Counts(errors=1)),
            (HOUR_START, "a", Counts(7, 2, 1, 0.1, 0.01)),
            (HOUR_START, "a:é{}", Counts(0, 1, 1, -0.25, 0.0625)),
            (HOUR_START + HOUR, "a", Counts(5)),
        ]
        late = (await read(["e1"], "minute", HOUR_START + 2 * MINUTE_MS, HOUR_START + HOUR + 1))["e1"].rows
        assert [row.start_ms - HOUR_START for row in late] == [2 * MINUTE_MS, 3 * MINUTE_MS, HOUR]

    run(body())


def test_a_refused_commit_counts_nothing(run: Any, store: Store) -> None:
    async def body() -> None:
        refused = transaction(revision=7, logs=[log("a1")], buckets={_at(0, "a"): Counts(1)})
        assert isinstance(await store.decisions.commit(refused), Stale)
        assert (await store.decisions.buckets(["e1"], "hour", HOUR_START, NOW))["e1"].rows == []

    run(body())


def test_two_stores_counting_at_once_lose_nothing(run: Any, make_store: Callable[[], Store]) -> None:
    stores = [make_store(), make_store()]
    chance = random.Random(5)
    expected: Counter[tuple[int, str]] = Counter()
    plans = []
    for number in range(8):
        plan = [(chance.randrange(3), chance.choice("abc"), chance.randrange(1, 5)) for _ in range(15)]
        plans.append((number, plan))
        for minute, arm, count in plan:
            expected[HOUR_START + minute * MINUTE_MS, arm] += count

    async def client(number: int, plan: list[tuple[int, str, int]]) -> None:
        for place, (minute, arm, count) in enumerate(plan):
            counts = {_at(minute, arm): Counts(count, count, count, float(count), float(count * count))}
            await committed(stores[number % 2], logs=[log(f"{number}-{place}")], buckets=counts)

    async def body() -> None:
        await stores[0].decisions.create_experiment(experiment())
        await asyncio.gather(*(client(*one) for one in plans))
        for step in ("minute", "hour"):
            rows = (await stores[1].decisions.buckets(["e1"], step, HOUR_START, HOUR_START + HOUR))["e1"].rows
            found = {(row.start_ms, row.arm): row.counts.decisions for row in rows}
            if step == "minute":
                assert found == expected
            assert sum(found.values()) == expected.total()
            assert sum(row.counts.reward_sum for row in rows) == expected.total()

    run(body())


def test_buckets_are_forgotten_when_they_are_older_than_they_are_kept(run: Any, store: Store) -> None:
    async def body() -> None:
        old, older = NOW - KEPT_MS["minute"] - 3 * HOUR, NOW - KEPT_MS["hour"] - 48 * HOUR
        times = [at // MINUTE_MS * MINUTE_MS for at in (older, old, NOW)]
        for n, at in enumerate(times):
            await committed(store, logs=[log(f"a{n}")], buckets={Counted("e1", at, "a"): Counts(1)})
        while await store.forget(NOW, HOUR, 1):
            pass
        await asyncio.sleep(0)
        minutes = (await store.decisions.buckets(["e1"], "minute", old - HOUR, NOW + 1))["e1"].rows
        hours = (await store.decisions.buckets(["e1"], "hour", older - HOUR, NOW + 1))["e1"].rows
        assert [row.start_ms for row in minutes] == [times[2]]
        assert [row.start_ms for row in hours] == [at // HOUR * HOUR for at in times[1:]]

    run(body())


def test_what_came_before_buckets_were_kept_is_told_of(run: Any, store: Store) -> None:
    async def body() -> None:
        counted = Summary(action_calls=5, last_action_ms=NOW - HOUR)
        await store.migration.restore([ExperimentRecord(experiment("old"), counted)])
        empty = (await store.decisions.buckets(["old"], "hour", HOUR_START, NOW + HOUR))["old"]
        assert (empty.since_ms, empty.rows) == (None, [])
        for n in range(2):
            row = LogRow("old", "action", f"a{n}", NOW + n, b"{}")
            await committed(store, "old", logs=[row], buckets={_at(0, "a", "old"): Counts(1)})
        found = (await store.decisions.buckets(["old"], "hour", HOUR_START, NOW + HOUR))["old"]
        assert found.since_ms == NOW
        assert [row.counts.decisions for row in found.rows] == [2]

    run(body())


def test_a_range_of_too_many_buckets_is_refused(run: Any, store: Store) -> None:
    for step, length_ms in STEP_MS.items():
        most_ms = MOST_READ * length_ms
        assert run(store.decisions.buckets([], step, 0, most_ms)) == {}
        with pytest.raises(ValueError, match="20,000 buckets"):
            run(store.decisions.buckets([], step, 0, most_ms + 1))
