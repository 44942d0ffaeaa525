"""Claims of work, rate windows, and the store as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import HOUR, NOW, committed, log, row


def test_a_claim_lasts_until_its_date(run: Any, store: Store) -> None:
    async def body() -> None:
        assert await store.decisions.claim("w", "one", NOW, NOW + HOUR)
        assert not await store.decisions.claim("w", "two", NOW, NOW + HOUR)
        assert not await store.decisions.claim("w", "two", NOW + HOUR - 1, NOW + 2 * HOUR)
        assert await store.decisions.claim("other", "two", NOW, NOW + HOUR)
        assert await store.decisions.claim("w", "two", NOW + HOUR, NOW + 2 * HOUR)
        assert not await store.decisions.claim("w", "one", NOW + HOUR, NOW + 2 * HOUR)

    run(body())


def test_its_owner_may_extend_a_claim_or_end_it(run: Any, store: Store) -> None:
    async def body() -> None:
        assert await store.decisions.claim("w", "one", NOW, NOW + HOUR)
        assert await store.decisions.claim("w", "one", NOW, NOW + 2 * HOUR)
        assert not await store.decisions.claim("w", "two", NOW + HOUR, NOW + 3 * HOUR)
        assert await store.decisions.claim("w", "one", NOW + HOUR, NOW + HOUR)
        assert await store.decisions.claim("w", "two", NOW + HOUR, NOW + 3 * HOUR)

    run(body())


def test_of_many_owners_one_gets_the_claim(run: Any, make_store: Callable[[], Store]) -> None:
    stores = [make_store(), make_store()]

    async def body() -> None:
        for round in range(5):
            until = NOW + HOUR * (round + 1)
            claims = (
                stores[i % 2].decisions.claim("w", f"o{i}", NOW + HOUR * round, until) for i in range(20)
            )
            assert sum(await asyncio.gather(*claims)) == 1

    run(body())


def test_hits_are_counted_in_a_window_that_the_first_one_starts(run: Any, store: Store) -> None:
    async def body() -> None:
        assert await store.decisions.hit("w", NOW, 60_000) == (1, 60_000)
        assert await store.decisions.hit("w", NOW + 20_000, 60_000) == (2, 40_000)
        assert await store.decisions.hit("other", NOW + 20_000, 60_000) == (1, 60_000)
        assert await store.decisions.hit("w", NOW + 59_999, 60_000) == (3, 1)
        assert await store.decisions.hit("w", NOW + 60_000, 60_000) == (1, 60_000)
        await store.decisions.clear_hits("w")
        await store.decisions.clear_hits("unknown")
        assert await store.decisions.hit("w", NOW + 60_001, 60_000) == (1, 60_000)
        assert await store.decisions.hit("other", NOW + 20_001, 60_000) == (2, 59_999)

    run(body())


def test_concurrent_hits_are_all_counted(run: Any, make_store: Callable[[], Store]) -> None:
    stores = [make_store(), make_store()]

    async def body() -> None:
        hits = await asyncio.gather(*(stores[i % 2].decisions.hit("w", NOW, HOUR) for i in range(60)))
        assert sorted(hits) == [(i + 1, HOUR) for i in range(60)]

    run(body())


def test_forget_keeps_windows_and_claims_that_last(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.decisions.hit("w", NOW, 2 * HOUR)
        await store.decisions.claim("c", "one", NOW, NOW + 2 * HOUR)
        await store.forget(NOW + HOUR, 0, 100)
        assert await store.decisions.hit("w", NOW + HOUR, HOUR) == (2, HOUR)
        assert not await store.decisions.claim("c", "two", NOW + HOUR, NOW + 2 * HOUR)

    run(body())


def test_a_store_answers_pings_and_describes_itself_without_credentials(run: Any, store: Store) -> None:
    run(store.ping())
    description = store.describe()
    assert description["kind"]
    assert all(isinstance(value, str) and "@" not in value for value in description.values())


def test_a_closed_store_refuses_work_and_closes_twice(run: Any, make_store: Callable[[], Store]) -> None:
    store = make_store()

    async def body() -> None:
        await store.close()
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.ping()
        with pytest.raises(StoreUnavailable):
            await store.decisions.read_theta(row())

    run(body())


def test_close_finishes_what_was_accepted(run: Any, make_store: Callable[[], Store], store: Store) -> None:
    other = make_store()

    async def body() -> None:
        work = [asyncio.ensure_future(committed(other, logs=[log(f"r{i}")])) for i in range(20)]
        await asyncio.sleep(0)  # every commit is submitted
        await other.close()
        assert await asyncio.gather(*work) == [{}] * 20
        assert len(await store.logs.read_log("e1", "action", limit=99)) == 20

    run(body())
