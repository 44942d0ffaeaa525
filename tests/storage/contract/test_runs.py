"""Models and runs on every backend."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from streamsim.storage.contract.runs import Append, Filter, Model, NameTaken, Run, RunQuery, RunStore
from tests.storage.contract.helpers import NOW, ODD

HOUR = 3_600_000


@pytest.fixture
def runs(store: Any) -> RunStore:
    found: RunStore = store.runs
    return found


def model(name: str = "m", tenant: str = "ann", managers: tuple[str, ...] = ("sm",), **changes: Any) -> Model:
    fields: dict[str, Any] = {
        "engine": "bptk",
        "main": "m.py",
        "files": {"m.py": "x = 'é'\n", "data/a.b$c.csv": ""},
        "options": ODD,
        "found": b'{"managers": {}}',
        "created_ms": NOW,
        "modified_ms": NOW,
    }
    return Model(name=name, tenant=tenant, managers=managers, **(fields | changes))


def a_run(id: str = "r1", tenant: str = "ann", **changes: Any) -> Run:
    fields: dict[str, Any] = {
        "kind": "run",
        "project": "p",
        "model": "m",
        "models": {"m": 1},
        "seed": 7,
        "created_ms": NOW,
        "modified_ms": NOW,
    }
    return Run(id=id, tenant=tenant, **(fields | changes))


def test_versions_of_a_model_count_up_and_stay(runs: RunStore, run: Any) -> None:
    async def scenario() -> None:
        first = await runs.put_model(model(), new=True)
        assert first.version == 1
        second = await runs.put_model(model(main="n.py"), new=False)
        assert await runs.get_model("ann", "m") == second
        assert await runs.get_model("ann", "m", 1) == first
        assert await runs.get_model("bob", "m") is None
        assert await runs.delete_model("ann", "m")
        assert not await runs.delete_model("ann", "m")
        assert await runs.get_model("ann", "m") is None
        assert await runs.get_model("ann", "m", 2) == second
        assert (await runs.put_model(model(), new=True)).version == 3

    run(scenario())


def test_names_and_managers_are_unique_per_tenant(runs: RunStore, run: Any) -> None:
    async def scenario() -> None:
        await runs.put_model(model("a", managers=("x", "y")), new=True)
        with pytest.raises(NameTaken):
            await runs.put_model(model("a", managers=()), new=True)
        with pytest.raises(NameTaken) as taken:
            await runs.put_model(model("b", managers=("z", "y")), new=True)
        assert (taken.value.name, taken.value.owner) == ("y", "a")
        assert await runs.get_model("ann", "b") is None
        await runs.put_model(model("a", "bob", ("x",)), new=True)
        await runs.put_model(model("a", managers=("x",)), new=False)
        await runs.put_model(model("b", managers=("y",)), new=True)
        with pytest.raises(KeyError):
            await runs.put_model(model("c"), new=False)
        assert [one.name for one in await runs.list_models("ann")] == ["a", "b"]
        assert all(one.files == {} for one in await runs.list_models("ann"))

    run(scenario())


def test_of_two_uploads_with_one_manager_one_is_refused(make_store: Any, run: Any) -> None:
    stores = [make_store().runs for _ in range(3)]

    async def scenario() -> None:
        tries = [store.put_model(model(f"m{i}"), new=True) for i, store in enumerate(stores)]
        ends = await asyncio.gather(*tries, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["Model", "NameTaken", "NameTaken"]

    run(scenario())


def test_append_is_conditional_on_the_length(runs: RunStore, run: Any) -> None:
    async def scenario() -> None:
        await runs.create_runs([a_run()])
        after = await runs.append(Append("r1", 0, NOW + 1, [b"[1]", ODD], metadata=b'{"a": 1}'))
        assert after == a_run(length=2, modified_ms=NOW + 1, metadata=b'{"a": 1}')
        assert await runs.append(Append("r1", 0, NOW, [b"[2]"], variables={"v": b"1"})) is None
        assert await runs.append(Append("none", 0, NOW, [b"[2]"])) is None
        assert await runs.entries("r1", 0) == [b"[1]", ODD]
        assert await runs.entries("r1", 1) == [ODD]
        assert await runs.entries("r1", 0, 1) == [b"[1]"]
        assert await runs.variables(["r1"]) == {"r1": {}}
        after = await runs.append(Append("r1", 2, NOW, [b"[3]"], restart=True))
        assert after is not None
        assert (after.base, after.length) == (2, 3)
        assert await runs.entries("r1", 2) == [b"[3]"]
        assert await runs.entries("r1", 0) == [b"[3]"]

    run(scenario())


def test_a_length_is_a_whole_number() -> None:
    # MongoDB compares types: true is no 1 there.
    for wrong in (True, 1.0, None):
        with pytest.raises(TypeError, match="expected must be an int"):
            Append("r1", wrong, NOW)  # type: ignore[arg-type]


def test_large_entries_are_appended_and_copied_whole(runs: RunStore, run: Any) -> None:
    async def scenario() -> None:
        # 18 MiB in all: more than one document of MongoDB takes.
        large = [bytes([ord("a") + n]) * (3 << 20) for n in range(6)]
        await runs.create_runs([a_run("r1")])
        for n, entry in enumerate(large):
            assert await runs.append(Append("r1", n, NOW + n, [entry])) is not None
        assert await runs.entries("r1", 0) == large
        assert await runs.entries("r1", 4) == large[4:]
        await runs.copy_run(a_run("r2", length=6), "r1", large)
        assert await runs.entries("r2", 0) == large
        assert await runs.append(Append("r2", 6, NOW + 9, [b"more"])) is not None
        assert (await runs.entries("r2", 5))[-1] == b"more"

    run(scenario())


def test_appends_to_many_runs_at_once_are_each_as_if_alone(runs: RunStore, run: Any) -> None:
    async def scenario() -> None:
        many = [a_run(f"r{n}", idle_ms=n % 2 * HOUR, metadata=b'{"old": 1}') for n in range(100)]
        await runs.create_runs([*many, a_run("gone", expires_ms=NOW - 1)])
        changes = [
            Append(
                f"r{n}",
                int(n % 3 == 0),
                NOW + n,
                [b"entry %d" % n],
                metadata=b'{"n": %d}' % n if n % 5 else None,
            )
            for n in range(100)
        ]
        twice = [Append("r1", 0, NOW + 500, [b"another"]), Append("r1", 0, NOW + 501, [b"one more"])]
        never = [Append("gone", 0, NOW, [b"x"]), Append("unknown", 0, NOW, [b"x"])]
        found = await asyncio.gather(*map(runs.append, [*changes, *twice, *never]))
        assert found[102:] == [None, None]
        of_r1 = [one for one in (found[1], *found[100:102]) if one is not None]
        assert [one.length for one in of_r1] == [1]
        for n, (change, after) in enumerate(zip(changes, found[:100], strict=True)):
            if n == 1:
                continue
            entries = await runs.entries(change.run, 0)
            if n % 3 == 0:  # expected an entry that is not there
                assert (after, entries) == (None, [])
                continue
            expected = msgspec.structs.replace(
                many[n],
                length=1,
                modified_ms=NOW + n,
                expires_ms=NOW + n + HOUR if n % 2 else 0,
                metadata=b'{"n": %d}' % n if n % 5 else b'{"old": 1}',
            )
            assert after == expected == await runs.get_run(change.run, NOW)
            assert entries == change.entries

    run(scenario())


def test_of_concurrent_appends_at_one_length_one_succeeds(make_store: Any, run: Any) -> None:
    stores = [make_store().runs for _ in range(4)]

    async def scenario() -> None:
        await stores[0].create_runs([a_run()])
        for length in range(10):
            tries = [store.append(Append("r1", length, NOW, [b"%d" % i])) for i, store in enumerate(stores)]
            assert sum(one is not None for one in await asyncio.gather(*tries)) == 1
        assert len(await stores[0].entries("r1", 0)) == 10

    run(scenario())


def test_expiry_moves_with_every_access(runs: RunStore, run: Any) -> None:
    async def scenario() -> None:
        await runs.create_runs([a_run(expires_ms=NOW + HOUR, idle_ms=HOUR), a_run("forever")])
        touched = await runs.touch("r1", NOW + 10)
        assert touched is not None
        assert touched.expires_ms == NOW + 10 + HOUR
        appended = await runs.append(Append("r1", 0, NOW + 20, [b"1"]))
        assert appended is not None
        assert appended.expires_ms == NOW + 20 + HOUR
        late = NOW + 20 + HOUR
        assert await runs.get_run("r1", late - 1) is not None
        assert await runs.get_run("r1", late) is None
        assert await runs.touch("r1", late) is None
        assert await runs.append(Append("r1", 1, late, [b"1"])) is None
        assert await runs.count_runs("ann", "run", late - 1) == 2
        assert await runs.count_runs(None, "run", late) == 1
        assert await runs.expired_runs(late - 1, 10) == []
        assert await runs.expired_runs(late, 10) == ["r1"]
        assert await runs.delete_runs(["r1", "none"]) == 1
        assert await runs.entries("r1", 0) == []
        assert await runs.get_run("forever", late) is not None

    run(scenario())


def test_changes_of_one_run_leave_the_others_alone(runs: RunStore, run: Any) -> None:
    async def scenario() -> None:
        ids = ["r1", "r2", "r3"]
        await runs.create_runs([a_run(id, expires_ms=NOW + HOUR, idle_ms=HOUR) for id in ids])
        for step, id in enumerate(ids):
            await runs.append(Append(id, 0, NOW + step, [id.encode()], restart=True, metadata=b'{"a": 1.5}'))
            await runs.touch(id, NOW + step)
        for step, id in enumerate(ids):
            found = await runs.get_run(id, NOW)
            assert found is not None
            assert (found.length, found.expires_ms) == (1, NOW + step + HOUR)
            assert await runs.entries(id, 0) == [id.encode()]

    run(scenario())


def test_recorded_variables_last_one_wins(runs: RunStore, run: Any) -> None:
    async def scenario() -> None:
        await runs.create_runs([a_run(), a_run("r2")])
        await runs.append(Append("r1", 0, NOW, [b"1"], variables={"a.b": b"1", "$c": ODD}))
        await runs.append(Append("r1", 1, NOW, [b"2"], variables={"a.b": b'"x"'}))
        assert await runs.variables(["r1", "r2", "none"]) == {
            "r1": {"a.b": b'"x"', "$c": ODD},
            "r2": {},
            "none": {},
        }
        assert await runs.variables(["r1"], ["$c", "no"]) == {"r1": {"$c": ODD}}

    run(scenario())


PRICES = {"r1": b"1", "r2": b"2.5", "r3": b'"high"', "r4": b"[1, 2]", "r5": b"true"}


@pytest.fixture
def priced(runs: RunStore, run: Any) -> RunStore:
    async def fill() -> None:
        made = [
            a_run(
                id,
                created_ms=NOW + index,
                metadata=b'{"saved": %s, "scope": {"k": "%d"}}' % (saved, index % 2),
            )
            for index, (id, saved) in enumerate(zip(PRICES, [b"true", b"false"] * 3, strict=False))
        ]
        await runs.create_runs([*made, a_run("none"), a_run("bobs", "bob"), a_run("other", project="q")])
        for id, price in PRICES.items():
            await runs.append(Append(id, 0, NOW, [b"1"], variables={"price": price}))

    run(fill())
    return runs


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ([("variables.price", ">", (1,))], ["r2"]),
        ([("variables.price", ">=", (1,))], ["r1", "r2", "r5"]),
        ([("variables.price", "<", (2.5,))], ["r1", "r5"]),
        ([("variables.price", "=", ("high",))], ["r3"]),
        ([("variables.price", "=", (2.5, "high"))], ["r2", "r3"]),
        ([("variables.price", "!=", (1,))], ["r2"]),
        ([("id", "=", ("r1", "r4", "bobs"))], ["r1", "r4"]),
        ([("metadata.saved", "=", (True,))], ["r1", "r3", "r5"]),
        ([("metadata.scope.k", "=", ("1",))], ["r2", "r4"]),
        ([("metadata.saved", "=", (True,)), ("variables.price", ">", (0,))], ["r1", "r5"]),
        ([("created_ms", "<=", (NOW + 1,)), ("metadata.saved", "!=", (True,))], ["none", "r2"]),
    ],
)
def test_filters_find_runs(priced: RunStore, run: Any, filters: Any, ids: list[str]) -> None:
    query = RunQuery(
        tenant="ann", kind="run", project="p", filters=tuple(Filter(*one) for one in filters), sort="id"
    )
    found, total = run(priced.list_runs(query))
    assert ([one.id for one in found], total) == (ids, len(ids))


def test_listing_is_sorted_and_paged(priced: RunStore, run: Any) -> None:
    def ids(**fields: Any) -> list[str]:
        query = RunQuery(tenant="ann", kind="run", project="p", **fields)
        found, total = run(priced.list_runs(query))
        assert total == 6
        return [one.id for one in found]

    assert ids() == ["none", "r1", "r2", "r3", "r4", "r5"]
    assert ids(descending=True, first=1, limit=2) == ["r4", "r3"]
    assert ids(sort="id", first=5) == ["r5"]
    by_price = ids(sort="variables.price")
    assert by_price.index("r1") < by_price.index("r2")


def test_variables_come_with_the_runs_of_a_query(priced: RunStore, run: Any) -> None:
    async def scenario() -> None:
        query = RunQuery(tenant="ann", kind="run", sort="variables.price", limit=2)
        listed, total = await priced.list_runs(query)
        found, count = await priced.find_variables(query)
        assert ([one for one, _ in found], count) == (listed, total)
        recorded = await priced.variables([one.id for one in listed])
        assert {one.id: variables for one, variables in found} == recorded
        assert [variables for _, variables in (await priced.find_variables(query, ["no"]))[0]] == [{}, {}]
        beyond = RunQuery(tenant="ann", kind="run", first=50)
        assert await priced.find_variables(beyond) == ([], total)
        nobodys = RunQuery(tenant="nobody", kind="run")
        assert await priced.find_variables(nobodys) == ([], 0)

    run(scenario())


def test_a_journal_that_begins_anew_forgets_what_was_recorded(runs: RunStore, run: Any) -> None:
    async def scenario() -> None:
        await runs.create_runs([a_run()])
        await runs.append(Append("r1", 0, NOW, [b"1"], variables={"a": b"1", "b": b"2"}))
        await runs.append(Append("r1", 1, NOW, [b"2"], restart=True, variables={"b": b"3"}))
        query = RunQuery(tenant="ann", kind="run", filters=(Filter("variables.a", "=", (1,)),))
        assert await runs.list_runs(query) == ([], 0)
        assert await runs.variables(["r1"]) == {"r1": {"b": b"3"}}
        await runs.append(Append("r1", 2, NOW, [b"3"], restart=True))
        assert await runs.variables(["r1"]) == {"r1": {}}

    run(scenario())


def test_a_copy_has_its_own_journal_and_variables(priced: RunStore, run: Any) -> None:
    async def scenario() -> None:
        await priced.copy_run(a_run("copy", length=2), "r2", [b"1", b"2"])
        assert await priced.entries("copy", 0) == [b"1", b"2"]
        assert await priced.variables(["copy"]) == {"copy": {"price": b"2.5"}}
        await priced.append(Append("copy", 2, NOW, [b"3"], variables={"price": b"9"}))
        assert (await priced.variables(["r2"]))["r2"] == {"price": b"2.5"}
        assert len(await priced.entries("r2", 0)) == 1

    run(scenario())
