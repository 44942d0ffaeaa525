"""Experiments: names, revisions, tenants, lists."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from streamsim.storage.contract.decisions import Experiment, Stale
from streamsim.storage.contract.errors import DuplicateName
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import HOUR, NOW, ODD_NAMES, committed, experiment, log, row, transaction


def changed(one: Experiment, **changes: Any) -> Experiment:
    return msgspec.structs.replace(one, **changes)


def test_an_experiment_comes_back_as_it_was_stored(run: Any, store: Store) -> None:
    async def body() -> None:
        odd = "\n".join(ODD_NAMES) + "\tx = 'with\0nul'\n"
        one = experiment(
            "id-9",
            name=odd,
            code=dict.fromkeys(("get_context", "get_action", "get_reward", "set_reward"), odd),
            properties={
                "hourly_theta": True,
                "advice_id": False,
                "delta_hours": 2**63 - 1,
                "default_reward": {"$set": {"a.b": [1, 1.5, None, True, "1", -(2**63)]}, odd: ""},
                "note": None,
                "text": odd,
            },
            key="é:{}",
            created_ms=1,
            modified_ms=2,
        )
        await store.decisions.create_experiment(one)
        found = await store.decisions.get_experiment("id-9")
        assert found == one
        assert found is not None
        assert repr(found.properties) == repr(one.properties)  # True is not 1
        assert await store.decisions.get_experiment("id-") is None
        assert await store.decisions.get_experiment("") is None

    run(body())


def test_a_tenant_has_one_live_experiment_of_a_name(run: Any, store: Store) -> None:
    async def body() -> None:
        with pytest.raises(DuplicateName):
            await store.decisions.create_experiment(experiment("e9", name="name of e1"))
        assert await store.decisions.get_experiment("e9") is None
        await store.decisions.create_experiment(experiment("b9", name="name of e1", tenant="bob"))
        await store.decisions.create_experiment(experiment("e9", name="Name of e1"))
        await store.decisions.archive_experiment("ann", "e1", NOW)
        await store.decisions.create_experiment(experiment("e10", name="name of e1"))
        await store.decisions.archive_experiment("ann", "e10", NOW)
        await store.decisions.create_experiment(experiment("e11", name="name of e1"))

    run(body())


def test_of_concurrent_creations_with_one_name_one_wins(run: Any, store: Store) -> None:
    async def body() -> None:
        many = [store.decisions.create_experiment(experiment(f"n{i}", name="same")) for i in range(10)]
        outcomes = await asyncio.gather(*many, return_exceptions=True)
        assert [type(one) for one in outcomes if one is not None] == [DuplicateName] * 9
        (winner,) = [f"n{i}" for i, one in enumerate(outcomes) if one is None]
        live = [one.id for one in await store.decisions.list_experiments("ann", limit=99)]
        assert sorted(live) == sorted(["e1", "e2", winner])

    run(body())


def test_an_update_replaces_the_experiment_and_raises_its_revision(run: Any, store: Store) -> None:
    async def body() -> None:
        new = experiment(
            "e1", name="new", key="k2", code={"get_action": "x"}, properties={"a": 1}, modified_ms=NOW + 5
        )
        answer = await store.decisions.update_experiment(changed(new, created_ms=3))
        assert answer == changed(new, revision=2)
        assert await store.decisions.get_experiment("e1") == answer
        again = await store.decisions.update_experiment(answer)
        assert again == changed(new, revision=3)

    run(body())


def test_an_update_of_another_revision_tenant_or_state_changes_nothing(run: Any, store: Store) -> None:
    async def body() -> None:
        first = await store.decisions.get_experiment("e1")
        assert first is not None
        for wrong in (
            changed(first, revision=0, name="x"),
            changed(first, revision=2, name="x"),
            changed(first, tenant="bob", name="x"),
            changed(first, id="unknown", name="x"),
        ):
            assert await store.decisions.update_experiment(wrong) is None
        assert await store.decisions.get_experiment("e1") == first
        archived = await store.decisions.archive_experiment("ann", "e1", NOW + 9)
        assert archived is not None
        for revision in (1, archived.revision):
            assert (
                await store.decisions.update_experiment(changed(archived, archived=False, revision=revision))
                is None
            )
        assert await store.decisions.get_experiment("e1") == archived

    run(body())


def test_an_update_to_a_taken_name_is_refused(run: Any, store: Store) -> None:
    async def body() -> None:
        first = experiment("e1")
        with pytest.raises(DuplicateName):
            await store.decisions.update_experiment(changed(first, name="name of e2"))
        assert await store.decisions.get_experiment("e1") == first
        assert await store.decisions.update_experiment(changed(first, name="other")) == changed(
            first, name="other", revision=2
        )
        freed = await store.decisions.update_experiment(changed(experiment("e2"), name="name of e1"))
        assert freed is not None
        await store.decisions.create_experiment(experiment("e3", name="name of e2"))

    run(body())


def test_of_concurrent_updates_of_one_revision_one_wins(run: Any, store: Store) -> None:
    async def body() -> None:
        first = experiment("e1")
        answers = await asyncio.gather(
            *(
                store.decisions.update_experiment(changed(first, code={"get_action": f"{i}"}))
                for i in range(10)
            )
        )
        (winner,) = [one for one in answers if one is not None]
        assert winner.revision == 2
        assert await store.decisions.get_experiment("e1") == winner

    run(body())


def test_an_edit_refuses_commits_of_the_old_revision(run: Any, store: Store) -> None:
    async def body() -> None:
        await committed(store, writes={row(): b'{"kept":1}'})
        assert (
            await store.decisions.update_experiment(experiment("e1", code={"get_action": "new"})) is not None
        )
        assert await store.decisions.commit(transaction(logs=[log("old")])) == Stale(experiments=("e1",))
        assert await committed(store, revision=2, logs=[log("new")]) == {}
        assert [r.id for r in await store.logs.read_log("e1", "action", limit=9)] == ["new"]
        assert (await store.decisions.read_theta(row())).rows[("", "")][0] == b'{"kept":1}'

    run(body())


def test_archiving_marks_it_once_and_only_for_its_tenant(run: Any, store: Store) -> None:
    async def body() -> None:
        assert await store.decisions.archive_experiment("bob", "e1", NOW) is None
        assert await store.decisions.archive_experiment("ann", "unknown", NOW) is None
        assert await store.decisions.get_experiment("e1") == experiment("e1")
        archived = await store.decisions.archive_experiment("ann", "e1", NOW + HOUR)
        assert archived == experiment("e1", revision=2, archived=True, modified_ms=NOW + HOUR)
        assert await store.decisions.get_experiment("e1") == archived
        assert await store.decisions.archive_experiment("ann", "e1", NOW) is None

    run(body())


def test_lists_are_pages_of_a_tenants_live_experiments_by_id(run: Any, store: Store) -> None:
    async def body() -> None:
        ids = ["a", "aa", "Z", "zz", "_", "é", "\U0001f600", "0"]
        for id in ids:
            await store.decisions.create_experiment(experiment(id, tenant="cyn"))
        await store.decisions.archive_experiment("cyn", "aa", NOW)
        expected = sorted(set(ids) - {"aa"})
        listed = await store.decisions.list_experiments("cyn", limit=99)
        assert [one.id for one in listed] == expected
        assert listed[0] == experiment(expected[0], tenant="cyn")
        pages: list[Any] = []
        after = ""
        while page := await store.decisions.list_experiments("cyn", limit=3, after=after):
            assert len(page) <= 3
            assert len(pages) <= len(expected)
            pages += [one.id for one in page]
            after = page[-1].id
        assert pages == expected
        assert [one.id for one in await store.decisions.list_experiments("cyn", limit=1, after="zz")] == ["é"]
        assert await store.decisions.list_experiments("nobody", limit=9) == []
        assert [one.id for one in await store.decisions.list_experiments("bob", limit=9)] == ["b1"]

    run(body())
