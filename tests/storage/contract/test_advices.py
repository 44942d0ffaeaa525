"""Advices and idempotency records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from streamsim.storage.contract.decisions import (
    Advice,
    Amendment,
    Committed,
    IdempotencyRecord,
    NewAdvice,
    Redemption,
    Stale,
)
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import (
    HOUR,
    NOW,
    ODD,
    ODD_NAMES,
    advice,
    committed,
    experiment,
    log,
    record,
    redeem,
    row,
    transaction,
)


async def open_ids(store: Store, *ids: str, experiment_id: str = "e1") -> set[str]:
    known, _ = await store.decisions.peek(experiment_id, ids, [], NOW)
    return {id for id, one in known.items() if one.redeemed_by is None}


def test_an_issued_advice_is_open_and_kept_to_the_byte(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(
            store, advices=[NewAdvice("e1", id, NOW + i, ODD, b"[ ]") for i, id in enumerate(ODD_NAMES)]
        )
        known, records = await store.decisions.peek("e1", [*ODD_NAMES, "unknown"], [], NOW)
        assert known == {id: Advice("e1", id, NOW + i, ODD, b"[ ]", None) for i, id in enumerate(ODD_NAMES)}
        assert records == {}
        assert await store.decisions.peek("e2", ODD_NAMES, [], NOW) == ({}, {})
        assert await store.decisions.peek("unknown", ODD_NAMES, ["k"], NOW) == ({}, {})

    run(body())


def test_an_advice_is_redeemed_once_under_50_concurrent_commits(
    run: Any, make_store: Callable[[], Store]
) -> None:
    stores = [make_store(), make_store()]

    async def body() -> None:
        await stores[0].decisions.create_experiment(experiment())
        await committed(stores[0], advices=[advice("a"), advice("b")])
        attempts = [
            transaction(
                redemptions=[redeem("a", "timeout" if i % 3 == 0 else "reward")],
                writes={row(): b'{"by":%d}' % i},
                logs=[log(f"r{i}", "reward")],
            )
            for i in range(50)
        ]
        answers = await asyncio.gather(
            *(stores[i % 2].decisions.commit(one) for i, one in enumerate(attempts))
        )
        (winner,) = [i for i, answer in enumerate(answers) if isinstance(answer, Committed)]
        known, _ = await stores[1].decisions.peek("e1", ["a"], [], NOW)
        assert known["a"].redeemed_by == attempts[winner].redemptions[0].by
        assert all(answer == Stale(advices=dict(known)) for i, answer in enumerate(answers) if i != winner)
        assert [r.id for r in await stores[0].logs.read_log("e1", "reward", limit=99)] == [f"r{winner}"]
        assert (await stores[0].decisions.read_theta(row())).rows[("", "")][0] == b'{"by":%d}' % winner
        assert await open_ids(stores[0], "a", "b") == {"b"}

    run(body())


def test_what_an_advice_gathers_loses_nothing_under_concurrent_commits_and_closes_whole(
    run: Any, make_store: Callable[[], Store]
) -> None:
    store, other = make_store(), make_store()

    async def add(n: int) -> bool:
        """Add 1 to what it has gathered; False once it is closed."""
        using = (store, other)[n % 2].decisions
        while True:
            found = (await using.peek("e1", ["a"], [], NOW))[0]["a"]
            if found.redeemed_by is not None:
                return False
            more = b"%d" % (int(found.gathered or b"0") + 1)
            one = transaction(amendments=[Amendment("e1", "a", found.gathered, more)])
            if isinstance(await using.commit(one), Committed):
                return True

    async def close() -> int:
        while True:
            found = (await other.decisions.peek("e1", ["a"], [], NOW))[0]["a"]
            one = transaction(redemptions=[Redemption("e1", "a", "timeout", found.gathered)])
            if isinstance(await other.decisions.commit(one), Committed):
                return int(found.gathered or b"0")

    async def body() -> None:
        await store.decisions.create_experiment(experiment())
        await committed(store, advices=[advice("a")])
        added = [asyncio.ensure_future(add(n)) for n in range(40)]
        await asyncio.wait(added, return_when=asyncio.FIRST_COMPLETED)
        closed = await close()
        assert sum(await asyncio.gather(*added)) == closed > 0
        (found,) = (await store.decisions.peek("e1", ["a"], [], NOW))[0].values()
        assert (found.gathered, found.redeemed_by) == (b"%d" % closed, "timeout")
        assert (found.context, found.action) == (advice("a").context, advice("a").action)

    run(body())


def test_an_advice_issued_again_stays_as_it_was(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(store, advices=[advice("a")])
        await committed(store, redemptions=[redeem("a")])
        before = await store.decisions.peek("e1", ["a"], [], NOW)
        await committed(store, advices=[advice("a", expires_ms=NOW + 1)])
        assert await store.decisions.peek("e1", ["a"], [], NOW) == before
        assert isinstance(await store.decisions.commit(transaction(redemptions=[redeem("a")])), Stale)

    run(body())


def test_many_advices_are_issued_and_redeemed_in_one_commit(run: Any, store: Store) -> None:
    async def body() -> None:
        ids = [f"a{i}" for i in range(100)]
        await committed(store, advices=[advice(id) for id in ids])
        await committed(
            store, redemptions=[redeem(id, "timeout" if int(id[1:]) % 2 else "reward") for id in ids[:70]]
        )
        known, _ = await store.decisions.peek("e1", ids, [], NOW)
        by = [known[id].redeemed_by for id in ids]
        assert by == ["reward", "timeout"] * 35 + [None] * 30
        answer = await store.decisions.commit(transaction(redemptions=[redeem(id) for id in ids]))
        assert isinstance(answer, Stale)
        assert answer.advices == {id: known[id] for id in ids[:70]}

    run(body())


def test_due_advices_are_open_expired_and_soonest_first(run: Any, store: Store) -> None:
    async def body() -> None:
        assert await store.decisions.due_advices(NOW + HOUR, 10) == []
        await committed(store, advices=[advice(f"a{i}", expires_ms=NOW + i) for i in (3, 1, 4, 5)])
        await committed(store, "b1", tenant="bob", advices=[advice("b2", "b1", NOW + 2)])
        await committed(store, redemptions=[redeem("a4")])
        due = await store.decisions.due_advices(NOW + 4, 10)
        assert [(one.experiment_id, one.id) for one in due] == [("e1", "a1"), ("b1", "b2"), ("e1", "a3")]
        assert due[0] == Advice("e1", "a1", NOW + 1, advice("a1").context, advice("a1").action, None)
        assert [one.id for one in await store.decisions.due_advices(NOW + 4, 2)] == ["a1", "b2"]
        assert [one.id for one in await store.decisions.due_advices(NOW + 5, 10)] == ["a1", "b2", "a3", "a5"]
        await committed(store, redemptions=[redeem("a1", "timeout")])
        assert [one.id for one in await store.decisions.due_advices(NOW + 4, 10)] == ["b2", "a3"]

    run(body())


def test_advices_of_an_archived_experiment_never_time_out(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(store, "e1", "e2", advices=[advice("a", expires_ms=NOW), advice("b", "e2", NOW)])
        await store.decisions.archive_experiment("ann", "e1", NOW)
        assert [one.id for one in await store.decisions.due_advices(NOW + HOUR, 10)] == ["b"]

    run(body())


def test_dropped_advices_are_forgotten_and_never_time_out(run: Any, store: Store) -> None:
    async def body() -> None:
        ids = [f"a{i}" for i in range(30)]
        await committed(store, advices=[advice(id, expires_ms=NOW) for id in ids])
        await committed(store, "e2", advices=[advice("b", "e2", NOW + 1)])
        await committed(store, redemptions=[redeem("a0")])
        # The first of this commit are issued after the drop, so they stay.
        await committed(store, drops=["e1"], advices=[advice("c", expires_ms=NOW + 2)])
        assert (await store.decisions.peek("e1", [*ids, "c"], [], NOW))[0].keys() == {"c"}
        refused = await store.decisions.commit(transaction(redemptions=[redeem("a0"), redeem("a1")]))
        assert refused == Stale(advices={"a0": None, "a1": None})
        # Of 30 that would be due before them, none is in their way.
        assert [one.id for one in await store.decisions.due_advices(NOW + HOUR, 5)] == ["b", "c"]
        await store.forget(NOW + 2 * HOUR, 0, 100)
        assert [one.id for one in await store.decisions.due_advices(NOW + HOUR, 5)] == ["b", "c"]

    run(body())


def test_a_refused_commit_drops_nothing(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(store, advices=[advice("a")])
        refused = await store.decisions.commit(transaction(drops=["e1"], reads={row(): 7}))
        assert isinstance(refused, Stale)
        assert await open_ids(store, "a") == {"a"}

    run(body())


def test_an_idempotency_key_is_recorded_once(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(store, idempotency=[record("k", "f1")])
        for fingerprint in ("f1", "f2"):
            attempt = transaction(idempotency=[record("k", fingerprint)], logs=[log("again")])
            assert await store.decisions.commit(attempt) == Stale(idempotency={"k": record("k", "f1")})
        assert await store.logs.read_log("e1", "action", limit=9) == []
        assert await store.decisions.peek("e1", [], ["k", "l"], NOW) == ({}, {"k": record("k", "f1")})
        assert await store.decisions.peek("e2", [], ["k"], NOW) == ({}, {})

    run(body())


def test_of_many_commits_with_one_idempotency_key_one_wins(run: Any, store: Store) -> None:
    async def body() -> None:
        attempts = [transaction(idempotency=[record("k", f"f{i}")], logs=[log(f"r{i}")]) for i in range(20)]
        answers = await asyncio.gather(*(store.decisions.commit(one) for one in attempts))
        (winner,) = [i for i, answer in enumerate(answers) if isinstance(answer, Committed)]
        expected = Stale(idempotency={"k": record("k", f"f{winner}")})
        assert all(answer == expected for i, answer in enumerate(answers) if i != winner)
        assert [r.id for r in await store.logs.read_log("e1", "action", limit=99)] == [f"r{winner}"]

    run(body())


def test_an_expired_idempotency_record_is_not_live(run: Any, store: Store) -> None:
    async def body() -> None:
        end = NOW + HOUR
        await committed(store, idempotency=[record("k", "old", end)])
        assert await store.decisions.peek("e1", [], ["k"], end - 1) == ({}, {"k": record("k", "old", end)})
        assert await store.decisions.peek("e1", [], ["k"], end) == ({}, {})
        again = record("k", "new", end + HOUR)
        stale = Stale(idempotency={"k": record("k", "old", end)})
        assert await store.decisions.commit(transaction(idempotency=[again], now_ms=end - 1)) == stale
        await committed(store, idempotency=[again], now_ms=end)
        assert await store.decisions.peek("e1", [], ["k"], end) == ({}, {"k": again})

    run(body())


def test_idempotency_keys_and_answers_are_kept_to_the_byte(run: Any, store: Store) -> None:
    async def body() -> None:
        keys = [*ODD_NAMES, "with\0nul", "with"]
        records = {key: IdempotencyRecord("e1", key, "f" * 64, ODD, NOW + HOUR) for key in keys}
        await committed(store, idempotency=list(records.values()))
        assert await store.decisions.peek("e1", [], keys, NOW) == ({}, records)

    run(body())


def test_forget_drops_records_expired_and_advices_settled_long_ago(run: Any, store: Store) -> None:
    async def body() -> None:
        late = NOW + 10 * HOUR
        await committed(
            store, "e1", "e2", advices=[advice("redeemed"), advice("open"), advice("archived", "e2")]
        )
        await committed(store, advices=[advice("recent", expires_ms=late), advice("long", expires_ms=late)])
        await committed(store, redemptions=[redeem("redeemed"), redeem("recent")])
        await committed(store, idempotency=[record("k"), record("kept", expires_ms=late + 1)])
        await store.decisions.archive_experiment("ann", "e2", NOW)
        await store.forget(NOW, 0, 100)
        assert (
            len((await store.decisions.peek("e1", ["redeemed", "open", "recent", "long"], [], NOW))[0]) == 4
        )
        await store.forget(late, 8 * HOUR, 100)
        known, records = await store.decisions.peek(
            "e1", ["redeemed", "open", "recent", "long"], ["k", "kept"], NOW
        )
        assert sorted(known) == ["long", "open", "recent"]
        assert sorted(records) == ["kept"]
        assert (await store.decisions.peek("e2", ["archived"], [], NOW))[0] == {}
        assert [one.id for one in await store.decisions.due_advices(late, 9)] == ["open", "long"]

    run(body())


def test_forget_drops_at_most_its_limit(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(store, advices=[advice(f"a{i}", expires_ms=NOW) for i in range(10)])
        await committed(store, redemptions=[redeem(f"a{i}") for i in range(10)])
        assert await store.forget(NOW + HOUR, 0, 4) == 4
        known, _ = await store.decisions.peek("e1", [f"a{i}" for i in range(10)], [], NOW)
        assert len(known) == 6
        assert await store.forget(NOW + HOUR, 0, 100) == 6
        assert await store.forget(NOW + HOUR, 0, 100) == 0

    run(body())
