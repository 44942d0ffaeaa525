"""Commit: every precondition, and all or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from streamsim.storage.contract.decisions import (
    Amendment,
    Committed,
    Redemption,
    Stale,
    Summary,
    ThetaRows,
)
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import (
    HOUR,
    NOW,
    advice,
    committed,
    experiment,
    group,
    log,
    record,
    redeem,
    row,
    transaction,
    whole,
)

# One of every effect, on e1.
EFFECTS: dict[str, Any] = {
    "deletes": [row(key="old", value="1")],
    "writes": {row(): b'{"n":2}', row(key="new", value="1"): b'{"n":1}'},
    "logs": [log("fresh"), log("fresh-reward", "reward")],
    "advices": [advice("issued")],
    "redemptions": [redeem("open")],
    "idempotency": [record("unused")],
}


async def prepare(store: Store) -> int:
    """The state that EFFECTS starts from; the theta version it has."""
    versions = await committed(
        store,
        writes={row(): b'{"n":1}', row(key="old", value="1"): b"{}"},
        logs=[log("first")],
        advices=[advice("open"), advice("taken")],
        idempotency=[record("used", "other body")],
    )
    await committed(store, redemptions=[redeem("taken", "timeout")])
    return versions["e1"]


async def everything(store: Store) -> tuple[Any, ...]:
    """All that a commit on e1 could have changed."""
    return (
        await store.decisions.read_theta(whole()),
        await store.decisions.theta_names("e1"),
        [
            await store.logs.read_log("e1", kind, limit=100)
            for kind in ("action", "reward", "manual", "theta")
        ],
        await store.decisions.peek("e1", ["open", "taken", "issued"], ["used", "unused"], NOW),
        await store.decisions.summary("e1"),
    )


def test_commit_applies_every_effect(run: Any, store: Store) -> None:
    async def body() -> None:
        first = await prepare(store)
        answer = await store.decisions.commit(
            transaction(reads={row(): first, row(key="new", value="1"): 0}, **EFFECTS)
        )
        assert isinstance(answer, Committed)
        version = answer.versions["e1"]
        assert answer == Committed({"e1": version})
        assert version > first > 0
        rows = {("", ""): (b'{"n":2}', version), ("new", "1"): (b'{"n":1}', version)}
        assert await store.decisions.read_theta(whole()) == ThetaRows(version, rows)
        assert [r.id for r in await store.logs.read_log("e1", "action", limit=9)] == ["fresh", "first"]
        assert [r.id for r in await store.logs.read_log("e1", "reward", limit=9)] == ["fresh-reward"]
        advices, records = await store.decisions.peek(
            "e1", ["open", "taken", "issued"], ["used", "unused"], NOW
        )
        by = {id: one.redeemed_by for id, one in advices.items()}
        assert by == {"open": "reward", "taken": "timeout", "issued": None}
        assert records == {"used": record("used", "other body"), "unused": record("unused")}
        assert await store.decisions.summary("e1") == Summary(2, NOW, 1, NOW)

    run(body())


REFUSALS: dict[str, dict[str, Any]] = {
    "revision": {"revision": 2},
    "revision zero": {"revision": 0},
    "tenant": {"tenant": "bob"},
    "theta": {"reads": {row(): 0}},
    "theta group": {"reads": {group(key="old"): 0}},
    "theta set": {"reads": {whole(): 1 << 40}},
    "absent row": {"reads": {row(key="absent"): 7}},
    "redeemed advice": {"redemptions": [redeem("open"), redeem("taken")]},
    "unknown advice": {"redemptions": [redeem("open"), redeem("unknown")]},
    "idempotency": {"idempotency": [record("unused"), record("used")]},
    "action rows": {"at_most": {"e1": 0}},
    "redeemed and amended": {"amendments": [Amendment("e1", "taken", b"", b"1")]},
    "gathered something else": {
        "redemptions": [],
        "amendments": [Amendment("e1", "open", b"0", b"1")],
    },
    "redeemed with something else": {"redemptions": [Redemption("e1", "open", "reward", b"1")]},
}


@pytest.mark.parametrize("cause", REFUSALS)
def test_a_refused_commit_changes_nothing(run: Any, store: Store, cause: str) -> None:
    async def body() -> None:
        await prepare(store)
        before = await everything(store)
        answer = await store.decisions.commit(transaction(**(EFFECTS | REFUSALS[cause])))
        assert isinstance(answer, Stale)
        assert await everything(store) == before
        assert isinstance(await store.decisions.commit(transaction(**EFFECTS)), Committed)

    run(body())


def test_stale_lists_exactly_what_was_out_of_date(run: Any, store: Store) -> None:
    async def body() -> None:
        first = await prepare(store)
        second = (await committed(store, writes={row(): b'{"n":5}'}))["e1"]
        answer = await store.decisions.commit(
            transaction(
                "e1",
                "e2",
                reads={
                    row(): first,
                    row(key="old", value="1"): first,
                    row(key="absent"): first,
                    row("other"): 0,
                    group(key="old"): first,
                    group(): first,
                    whole(): first,
                    whole(experiment_id="e2"): 0,
                },
                redemptions=[redeem("open"), redeem("taken"), redeem("unknown")],
                idempotency=[record("used"), record("unused")],
                logs=[log("never")],
            )
        )
        known, _ = await store.decisions.peek("e1", ["taken"], [], NOW)
        assert known["taken"].redeemed_by == "timeout"
        present = {("", ""): (b'{"n":5}', second)}
        assert answer == Stale(
            theta={
                row(): ThetaRows(second, present),
                row(key="absent"): ThetaRows(0, {}),
                group(): ThetaRows(second, present),
                whole(): ThetaRows(second, present | {("old", "1"): (b"{}", first)}),
            },
            advices={"taken": known["taken"], "unknown": None},
            idempotency={"used": record("used", "other body")},
        )

    run(body())


def test_stale_names_experiments_and_tells_nothing_of_another_tenants(run: Any, store: Store) -> None:
    async def body() -> None:
        own = [row(experiment_id="b1"), group(experiment_id="b1"), whole(experiment_id="b1")]
        await committed(
            store,
            "b1",
            tenant="bob",
            writes={row(experiment_id="b1"): b'{"secret":1}'},
            advices=[advice("a", "b1")],
            idempotency=[record("k", experiment_id="b1")],
        )
        changed = await store.decisions.update_experiment(experiment("e2", name="renamed"))
        assert changed is not None
        attempt = transaction("e1", "e2", "b1", "nowhere", reads=dict.fromkeys(own, 77))
        attempt.redemptions = [redeem("a", experiment_id="b1"), redeem("zz", experiment_id="b1")]
        attempt.idempotency = [record("k", experiment_id="b1")]
        attempt.writes = {row(experiment_id="b1"): b"{}"}
        answer = await store.decisions.commit(attempt)
        assert isinstance(answer, Stale)
        assert sorted(answer.experiments) == ["b1", "e2", "nowhere"]
        assert answer == Stale(experiments=answer.experiments)
        assert (await store.decisions.read_theta(whole(experiment_id="b1"))).rows[("", "")][
            0
        ] == b'{"secret":1}'

    run(body())


def test_an_archived_experiment_refuses_commits(run: Any, store: Store) -> None:
    async def body() -> None:
        archived = await store.decisions.archive_experiment("ann", "e1", NOW)
        assert archived is not None
        for revision in (1, archived.revision):
            answer = await store.decisions.commit(transaction(revision=revision, logs=[log("late")]))
            assert answer == Stale(experiments=("e1",))
        assert await store.logs.read_log("e1", "action", limit=9) == []

    run(body())


def test_one_commit_spans_experiments_and_gives_versions_where_theta_changed(run: Any, store: Store) -> None:
    async def body() -> None:
        nested = {row(): b"{}", row(experiment_id="e2"): b'{"x":1}'}
        versions = await committed(
            store, "e1", "e2", writes=nested, logs=[log("1"), log("2", experiment_id="e2")]
        )
        assert sorted(versions) == ["e1", "e2"]
        assert await committed(store, "e1", "e2", logs=[log("3")]) == {}
        assert await committed(store, "e1", "e2", deletes=[whole("none"), row("no", "such", "row")]) == {}
        assert sorted(await committed(store, "e1", "e2", deletes=[whole(experiment_id="e2")])) == ["e2"]
        assert (await store.decisions.read_theta(row())).version == versions["e1"]
        assert [r.id for r in await store.logs.read_log("e2", "action", limit=9)] == ["2"]

    run(body())


def test_a_commit_with_reads_alone_validates_them(run: Any, store: Store) -> None:
    async def body() -> None:
        first = await prepare(store)
        before = await everything(store)
        assert await store.decisions.commit(transaction(reads={whole(): first})) == Committed({})
        assert isinstance(await store.decisions.commit(transaction(reads={whole(): first + 1})), Stale)
        assert await everything(store) == before

    run(body())


@pytest.mark.parametrize(
    "parts",
    [
        {"logs": [log("x", experiment_id="e2")]},
        {"writes": {row(experiment_id="e2"): b"{}"}},
        {"reads": {row(experiment_id="e2"): 0}},
        {"deletes": [whole(experiment_id="e2")]},
        {"advices": [advice("x", "e2")]},
        {"redemptions": [redeem("x", experiment_id="e2")]},
        {"idempotency": [record("x", experiment_id="e2")]},
        {"writes": {group(): b"{}"}},
        {"deletes": [whole()._replace(value="v")]},
        {"redemptions": [redeem("open"), redeem("open", "timeout")]},
        {"redemptions": [redeem("open")], "amendments": [Amendment("e1", "open", b"", b"1")]},
        {"amendments": [Amendment("e2", "open", b"", b"1")]},
        {"idempotency": [record("a"), record("a", "g")]},
    ],
)
def test_malformed_transactions_are_refused(run: Any, store: Store, parts: dict[str, Any]) -> None:
    async def body() -> None:
        await prepare(store)
        before = await everything(store)
        with pytest.raises(ValueError):  # noqa: PT011
            await store.decisions.commit(transaction(**({"logs": [log("never")]} | parts)))
        assert await everything(store) == before

    run(body())


def test_a_log_row_appended_twice_is_kept_once_and_counted_once(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(store, logs=[log("a", data=b"1"), log("b", "reward")])
        await committed(store, "e1", "e2", logs=[log("a", data=b"2"), log("b", "reward"), log("c"), log("c")])
        await committed(store, "e2", logs=[log("a", experiment_id="e2")])
        rows = await store.logs.read_log("e1", "action", limit=9)
        assert [(r.id, r.data) for r in rows] == [("c", b"{}"), ("a", b"1")]
        assert await store.logs.read_log("e2", "action", limit=9) == []
        assert await store.decisions.summary("e1") == Summary(2, NOW, 1, NOW)
        assert await store.decisions.summary("e2") == Summary()

    run(body())


def test_summary_counts_actions_and_rewards_and_keeps_the_latest_date(run: Any, store: Store) -> None:
    async def body() -> None:
        assert await store.decisions.summary("e1") == Summary() == await store.decisions.summary("unknown")
        await committed(store, logs=[log(f"a{i}", date_ms=NOW + i) for i in range(40)])
        await committed(store, logs=[log("late", date_ms=NOW - HOUR), log("m", "manual"), log("t", "theta")])
        assert await store.decisions.summary("e1") == Summary(41, NOW + 39, 0, None)
        await committed(
            store, "e1", "e2", logs=[log("r", "reward"), log("x", "reward", "e2"), log("s", "simulation")]
        )
        assert await store.decisions.summary("e1") == Summary(41, NOW + 39, 1, NOW)
        assert await store.decisions.summary("e2") == Summary(0, None, 1, NOW)

    run(body())


def test_two_experiments_may_use_the_same_advice_id_and_idempotency_key(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(
            store,
            "e1",
            "e2",
            advices=[advice("a"), advice("a", "e2")],
            idempotency=[record("k", "one"), record("k", "two", experiment_id="e2")],
        )
        await committed(store, redemptions=[redeem("a")])
        (open_one, records) = await store.decisions.peek("e2", ["a"], ["k"], NOW)
        assert open_one["a"].redeemed_by is None
        assert records["k"].fingerprint == "two"
        await committed(store, "e2", redemptions=[redeem("a", "timeout", "e2")])

    run(body())
