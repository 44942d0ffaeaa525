"""Theta: versions of rows, groups and sets, and what a reader may rely on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamsim.storage.contract.decisions import Stale, ThetaAddress, ThetaRows
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import ODD, ODD_NAMES, committed, group, row, transaction, whole


async def version(store: Store, scope: ThetaAddress) -> int:
    return (await store.decisions.read_theta(scope)).version


def test_what_was_never_written_has_version_zero_and_no_rows(run: Any, store: Store) -> None:
    async def body() -> None:
        for experiment in ("e1", "unknown"):
            for scope in (
                row(experiment_id=experiment),
                group(experiment_id=experiment),
                whole(experiment_id=experiment),
            ):
                assert await store.decisions.read_theta(scope) == ThetaRows(0, {})
            assert await store.decisions.theta_names(experiment) == []

    run(body())


def test_a_commit_gives_its_version_to_all_rows_groups_and_sets_it_wrote(run: Any, store: Store) -> None:
    async def body() -> None:
        k1, k2, other = row(key="k", value="1"), row(key="k", value="2"), row("other")
        first = (await committed(store, writes={k1: b"{}", other: b"{}"}))["e1"]
        second = (await committed(store, writes={k2: b'{"a":1}'}))["e1"]
        assert 0 < first < second
        assert await store.decisions.read_theta(k1) == ThetaRows(first, {("k", "1"): (b"{}", first)})
        both = {("k", "1"): (b"{}", first), ("k", "2"): (b'{"a":1}', second)}
        assert await store.decisions.read_theta(group(key="k")) == ThetaRows(second, both)
        assert await store.decisions.read_theta(whole()) == ThetaRows(second, both)
        assert await store.decisions.read_theta(whole("other")) == ThetaRows(
            first, {("", ""): (b"{}", first)}
        )
        third = (await committed(store, writes={k1: b'{"x":0}', k2: b'{"x":0}', row(): b'{"x":0}'}))["e1"]
        assert {v for _, v in (await store.decisions.read_theta(whole())).rows.values()} == {third}
        assert [await version(store, s) for s in (group(key="k"), group(), whole())] == [third] * 3

    run(body())


def test_experiments_and_names_keep_their_rows_apart(run: Any, store: Store) -> None:
    async def body() -> None:
        scopes = [row(), row("a"), row("a", "k"), row("a", "k", "v"), row("a", "", "v"), row("ak", "", "v")]
        await committed(store, writes={scope: json.dumps(scope).encode() for scope in scopes})
        await committed(store, "e2", writes={row(experiment_id="e2"): b"2"})
        for scope in scopes:
            rows = (await store.decisions.read_theta(scope)).rows
            assert {at: data for at, (data, _) in rows.items()} == {
                (scope.key, scope.value): json.dumps(scope).encode()
            }
        assert sorted((await store.decisions.read_theta(whole("a"))).rows) == [
            ("", ""),
            ("", "v"),
            ("k", ""),
            ("k", "v"),
        ]
        assert sorted((await store.decisions.read_theta(group("a", "k"))).rows) == [("k", ""), ("k", "v")]
        assert await store.decisions.theta_names("e1") == ["_theta", "a", "ak"]
        assert await store.decisions.theta_names("e2") == ["_theta"]

    run(body())


def test_versions_are_never_used_again_after_deletes(run: Any, store: Store) -> None:
    async def body() -> None:
        seen = []
        for deleted in (row(key="k", value="1"), group(key="k"), whole()):
            seen.append((await committed(store, writes={row(key="k", value="1"): b"{}"}))["e1"])
            seen.append((await committed(store, deletes=[deleted]))["e1"])
            for scope in (row(key="k", value="1"), group(key="k"), whole()):
                assert await store.decisions.read_theta(scope) == ThetaRows(0, {})
            assert await store.decisions.theta_names("e1") == []
        seen.append((await committed(store, writes={row(): b"{}"}))["e1"])
        assert seen == sorted(set(seen))

    run(body())


def test_a_delete_raises_the_version_of_what_still_has_rows(run: Any, store: Store) -> None:
    async def body() -> None:
        writes = {row(key=k, value=v): b"{}" for k in "ab" for v in "12"} | {row("other"): b"{}"}
        first = (await committed(store, writes=writes))["e1"]
        second = (await committed(store, deletes=[row(key="a", value="1")]))["e1"]
        assert await version(store, row(key="a", value="1")) == 0
        assert await version(store, row(key="a", value="2")) == first
        assert await version(store, group(key="a")) == second == await version(store, whole())
        assert await version(store, group(key="b")) == first == await version(store, whole("other"))
        third = (await committed(store, deletes=[group(key="b")]))["e1"]
        assert await version(store, group(key="b")) == 0
        assert await version(store, group(key="a")) == second
        assert await version(store, whole()) == third
        assert sorted((await store.decisions.read_theta(whole())).rows) == [("a", "2")]

    run(body())


def test_deletes_happen_before_writes(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(store, writes={row(key=k): b'{"old":1}' for k in "abc"})
        version = (await committed(store, deletes=[whole()], writes={row(key="b"): b'{"new":1}'}))["e1"]
        assert await store.decisions.read_theta(whole()) == ThetaRows(
            version, {("b", ""): (b'{"new":1}', version)}
        )
        assert await store.decisions.read_theta(group(key="b")) == ThetaRows(
            version, {("b", ""): (b'{"new":1}', version)}
        )
        for key in "ac":
            assert await store.decisions.read_theta(group(key=key)) == ThetaRows(0, {})

    run(body())


@pytest.mark.parametrize("read", [group(key="k"), whole()])
def test_a_row_added_to_a_group_that_was_read_makes_it_stale(
    run: Any, store: Store, read: ThetaAddress
) -> None:
    async def body() -> None:
        await committed(store, writes={row(key="k", value="1"): b"{}"})
        seen = await version(store, read)
        await committed(store, writes={row(key="k", value="2"): b"{}"})
        answer = await store.decisions.commit(transaction(reads={read: seen}, writes={row(): b"{}"}))
        assert answer == Stale(theta={read: await store.decisions.read_theta(read)})
        assert sorted((await store.decisions.read_theta(read)).rows) == [("k", "1"), ("k", "2")]

    run(body())


@pytest.mark.parametrize("read", [row(key="k", value="1"), group(key="k"), whole()])
def test_a_first_row_makes_an_empty_reading_stale(run: Any, store: Store, read: ThetaAddress) -> None:
    async def body() -> None:
        await committed(store, writes={row(key="k", value="1"): b"{}"})
        answer = await store.decisions.commit(
            transaction(reads={read: 0}, writes={row(key="k", value="1"): b'{"n":1}'})
        )
        assert answer == Stale(theta={read: await store.decisions.read_theta(read)})

    run(body())


@pytest.mark.parametrize("read", [row(key="k", value="1"), group(key="k"), whole()])
def test_a_row_deleted_and_written_again_makes_a_reading_stale(
    run: Any, store: Store, read: ThetaAddress
) -> None:
    async def body() -> None:
        await committed(store, writes={row(key="k", value="1"): b"{}"})
        seen = await version(store, read)
        await committed(store, deletes=[read])
        assert await store.decisions.commit(transaction(reads={read: seen})) == Stale(
            theta={read: ThetaRows(0, {})}
        )
        await committed(store, writes={row(key="k", value="1"): b"{}"})
        assert await store.decisions.commit(transaction(reads={read: seen})) == Stale(
            theta={read: await store.decisions.read_theta(read)}
        )

    run(body())


def test_a_write_elsewhere_leaves_a_reading_fresh(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(store, writes={row(key="k", value="1"): b"{}", row(key="l"): b"{}"})
        reads = {s: await version(store, s) for s in (row(key="k", value="1"), group(key="k"), row("other"))}
        await committed(store, writes={row(key="l"): b'{"n":2}', row(): b"{}"}, deletes=[group("other")])
        await committed(store, reads=reads, writes={row("other"): b"{}"})

    run(body())


def test_data_is_kept_to_the_byte(run: Any, store: Store) -> None:
    async def body() -> None:
        writes = {row(n, k, v): ODD for n in ODD_NAMES for k, v in [("", ""), ("k", n), (n, "v")]}
        writes |= {row("large"): b'{"matrix":[' + b"0.125," * 40_000 + b"1]}", row("empty"): b"{}"}
        await committed(store, writes=writes)
        for scope, data in writes.items():
            rows = (await store.decisions.read_theta(scope)).rows
            assert {at: found for at, (found, _) in rows.items()} == {(scope.key, scope.value): data}
        assert await store.decisions.theta_names("e1") == sorted([*ODD_NAMES, "large", "empty"])
        await committed(store, deletes=[whole(name) for name in ODD_NAMES])
        assert await store.decisions.theta_names("e1") == ["empty", "large"]

    run(body())


def test_a_transaction_of_many_rows_is_applied_whole(run: Any, store: Store) -> None:
    async def body() -> None:
        writes = {row(key=f"k{i % 7}", value=str(i)): b'{"i":%d}' % i for i in range(500)}
        version = (await committed(store, writes=writes))["e1"]
        assert (await store.decisions.read_theta(whole())).rows == {
            (scope.key, scope.value): (data, version) for scope, data in writes.items()
        }
        reads = dict.fromkeys(writes, version) | {row(key="k1", value="1"): 1 << 50}
        answer = await store.decisions.commit(transaction(reads=reads, deletes=[whole()]))
        assert isinstance(answer, Stale)
        assert list(answer.theta) == [row(key="k1", value="1")]

    run(body())


def test_a_scope_with_a_value_but_no_key_is_refused(run: Any, store: Store) -> None:
    with pytest.raises(ValueError, match="key"):
        run(store.decisions.read_theta(ThetaAddress("e1", "_theta", None, "v")))
