"""Deliveries to webhooks: stored with their change, taken by one, settled once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from streamsim.storage.contract.decisions import Experiment
from streamsim.storage.contract.deliveries import Delivery
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import HOUR, NOW, experiment


def delivery(id: str, experiment_id: str = "e1", **changes: Any) -> Delivery:
    fields: dict[str, Any] = {
        "experiment_id": experiment_id,
        "id": id,
        "event": "state",
        "url": "https://example.com/a?b=%20c",
        "body": '{"é": "\\u0000 \U0001f600"}'.encode(),
        "created_ms": NOW,
        "due_ms": NOW,
    }
    return Delivery(**(fields | changes))


async def paused(store: Store, *deliveries: Delivery) -> Experiment | None:
    """Edit e1, with deliveries."""
    found = await store.decisions.get_experiment("e1")
    assert found is not None
    changed = msgspec.structs.replace(found, properties={"state": "paused"})
    return await store.decisions.update_experiment(changed, deliveries)


def test_a_delivery_is_stored_with_the_edit_that_causes_it_and_read_back_whole(
    run: Any, store: Store
) -> None:
    async def body() -> None:
        first, second = delivery("one"), delivery("two", created_ms=NOW + 1)
        assert await paused(store, first, second) is not None
        assert await store.deliveries.list_deliveries("e1", limit=9) == [second, first]
        assert await store.deliveries.list_deliveries("e1", limit=1) == [second]
        assert await store.deliveries.list_deliveries("e2", limit=9) == []
        assert await store.deliveries.list_deliveries("unknown", limit=9) == []

    run(body())


def test_an_edit_that_is_refused_leaves_no_delivery(run: Any, store: Store) -> None:
    async def body() -> None:
        old = experiment("e1", revision=7)
        assert await store.decisions.update_experiment(old, [delivery("one")]) is None
        assert await store.decisions.archive_experiment("bob", "e1", NOW, [delivery("two")]) is None
        assert await store.deliveries.list_deliveries("e1", limit=9) == []

    run(body())


def test_a_delivery_is_stored_with_an_archiving_and_outlives_the_experiment(run: Any, store: Store) -> None:
    async def body() -> None:
        assert await store.decisions.archive_experiment("ann", "e1", NOW, [delivery("one")]) is not None
        await store.deliveries.enqueue("ann", [delivery("two", "e2")])
        taken = await store.deliveries.take_deliveries(NOW, NOW + HOUR, 9)
        assert sorted(one.id for one in taken) == ["one", "two"]

    run(body())


def test_of_two_deliveries_of_one_id_the_first_stays(run: Any, store: Store) -> None:
    async def body() -> None:
        first = delivery("one", body=b"{}")
        some = [first, delivery("two", "e2")]
        assert await store.deliveries.enqueue("ann", some) == 2
        assert await store.deliveries.enqueue("ann", [delivery("one"), delivery("three")]) == 1
        assert await paused(store, delivery("one")) is not None
        listed = await store.deliveries.list_deliveries("e1", limit=9)
        assert {one.id: one.body for one in listed}["one"] == b"{}"
        assert len(listed) == 2

    run(body())


def test_what_is_due_is_taken_soonest_first_and_comes_due_again(run: Any, store: Store) -> None:
    async def body() -> None:
        dates = {"late": NOW + 2 * HOUR, "second": NOW + 1, "first": NOW}
        await store.deliveries.enqueue("ann", [delivery(id, due_ms=date) for id, date in dates.items()])
        taken = await store.deliveries.take_deliveries(NOW + 1, NOW + HOUR, 9)
        assert [one.id for one in taken] == ["first", "second"]
        assert taken[0] == delivery("first", attempts=1, due_ms=NOW + HOUR)
        assert await store.deliveries.take_deliveries(NOW + HOUR - 1, NOW + 3 * HOUR, 9) == []
        again = await store.deliveries.take_deliveries(NOW + HOUR, NOW + 3 * HOUR, 1)
        assert [one.attempts for one in again] == [2]

    run(body())


def test_each_delivery_is_taken_by_one_of_many(run: Any, make_store: Callable[[], Store]) -> None:
    stores = [make_store(), make_store()]

    async def body() -> None:
        await stores[0].decisions.create_experiment(experiment("e1"))
        await stores[0].deliveries.enqueue("ann", [delivery(f"d{n}") for n in range(40)])
        looks = (stores[n % 2].deliveries.take_deliveries(NOW, NOW + HOUR, 5) for n in range(20))
        taken = [one.id for some in await asyncio.gather(*looks) for one in some]
        assert sorted(taken) == sorted(f"d{n}" for n in range(40))

    run(body())


def test_an_attempt_is_settled_by_who_took_it_last_and_once(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.deliveries.enqueue("ann", [delivery("one")])
        (first,) = await store.deliveries.take_deliveries(NOW, NOW + 10, 9)
        (second,) = await store.deliveries.take_deliveries(NOW + 10, NOW + HOUR, 9)
        settle = store.deliveries.settle_delivery
        assert not await settle(first, "delivered", NOW + 11)
        assert await settle(second, "waiting", NOW + 11, due_ms=NOW + 20, error="refused: a b")
        (listed,) = await store.deliveries.list_deliveries("e1", limit=9)
        assert (listed.state, listed.error, listed.due_ms) == ("waiting", "refused: a b", NOW + 20)
        assert await store.deliveries.take_deliveries(NOW + 19, NOW + HOUR, 9) == []
        (third,) = await store.deliveries.take_deliveries(NOW + 20, NOW + HOUR, 9)
        assert (third.attempts, third.error) == (3, "refused: a b")
        assert await settle(third, "delivered", NOW + 21)
        assert not await settle(third, "failed", NOW + 22)
        (listed,) = await store.deliveries.list_deliveries("e1", limit=9)
        assert (listed.state, listed.error, listed.modified_ms) == ("delivered", "", NOW + 21)
        assert await store.deliveries.take_deliveries(NOW + 9 * HOUR, NOW + 10 * HOUR, 9) == []
        assert not await settle(delivery("unknown", attempts=1), "failed", NOW)

    run(body())


def test_settled_deliveries_are_forgotten_and_waiting_ones_never(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.deliveries.enqueue("ann", [delivery(f"d{n}") for n in range(4)])
        taken = await store.deliveries.take_deliveries(NOW, NOW + HOUR, 3)
        for number, one in enumerate(taken):
            assert await store.deliveries.settle_delivery(one, "failed", NOW + number, error="no")
        assert await store.deliveries.forget_deliveries(NOW, 9) == 0
        assert await store.deliveries.forget_deliveries(NOW + 2, 1) == 1
        assert await store.deliveries.forget_deliveries(NOW + 2, 9) == 1
        assert len(await store.deliveries.list_deliveries("e1", limit=9)) == 2
        assert await store.deliveries.forget_deliveries(NOW + HOUR, 9) == 1
        assert [one.state for one in await store.deliveries.list_deliveries("e1", limit=9)] == ["waiting"]

    run(body())


def test_experiments_with_webhooks_are_found_in_order(run: Any, store: Store) -> None:
    hooked = {"webhooks": [{"url": "https://example.com"}]}

    async def body() -> None:
        for id in ("h3", "h1", "h2"):
            await store.decisions.create_experiment(experiment(id, properties=hooked))
        found = await store.decisions.webhook_experiments(limit=2)
        assert [one.id for one in found] == ["h1", "h2"]
        assert [one.id for one in await store.decisions.webhook_experiments(limit=2, after="h2")] == ["h3"]
        await store.decisions.archive_experiment("ann", "h1", NOW)
        await store.decisions.update_experiment(experiment("h2", properties={}))
        await store.decisions.update_experiment(experiment("e2", properties=hooked))
        assert [one.id for one in await store.decisions.webhook_experiments(limit=9)] == ["e2", "h3"]

    run(body())
