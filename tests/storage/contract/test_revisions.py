"""Revisions: the code that experiments had, stored in the same step as what replaces it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from streamsim.storage.contract.decisions import Experiment
from streamsim.storage.contract.errors import DuplicateName
from streamsim.storage.contract.revisions import MAX_REVISION_BYTES, MAX_REVISIONS, Revision
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import ODD_NAMES, experiment


def kept(number: int, code: str = "", experiment_id: str = "r1") -> Revision:
    return Revision(
        experiment_id=experiment_id,
        revision=number,
        date_ms=1_000 + number,
        user="ann",
        note=f"note {number}",
        code={"get_action": code or f"# {number}"},
    )


async def change(store: Store, one: Experiment, *revisions: Revision) -> Experiment | None:
    return await store.decisions.update_experiment(one, (), revisions)


def test_revisions_come_back_newest_first_and_each_with_its_code(run: Any, store: Store) -> None:
    async def body() -> None:
        odd = "\n".join(ODD_NAMES) + "\tx = 'with\0nul'\n"
        first = msgspec.structs.replace(kept(1, odd), note=odd, user="ünal")
        await store.decisions.create_experiment(experiment("r1"), [first])
        two = await change(store, experiment("r1"), kept(2))
        assert two is not None
        # Edits that leave the code keep none.
        three = await change(store, two)
        assert three is not None
        assert await change(store, three, kept(4)) is not None
        listed = await store.revisions.list_revisions("r1")
        assert list(listed) == [msgspec.structs.replace(one, code={}) for one in (kept(4), kept(2), first)]
        assert [await store.revisions.get_revision("r1", n) for n in (1, 2, 3, 4)] == [
            first,
            kept(2),
            None,
            kept(4),
        ]
        assert list(await store.revisions.list_revisions("nobody's")) == []
        assert await store.revisions.has_revisions("r1")
        assert not await store.revisions.has_revisions("nobody's")
        await store.decisions.create_experiment(experiment("r2"))
        assert not await store.revisions.has_revisions("r2")
        assert await store.revisions.get_revision("nobody's", 1) is None

    run(body())


def test_an_edit_that_is_refused_keeps_no_revision(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.decisions.create_experiment(experiment("r1"), [kept(1)])
        await store.decisions.create_experiment(experiment("r2"))
        for wrong in (experiment("r1", revision=7), experiment("r1", tenant="bob"), experiment("none")):
            assert await change(store, wrong, kept(2)) is None
        with pytest.raises(DuplicateName):
            await change(store, experiment("r1", name="name of r2"), kept(2))
        assert [one.revision for one in await store.revisions.list_revisions("r1")] == [1]
        # Nor does a number that is there get other code.
        assert await change(store, experiment("r1"), kept(1, "other"), kept(2)) is not None
        assert await store.revisions.get_revision("r1", 1) == kept(1)
        await store.decisions.archive_experiment("ann", "r1", 5)
        assert [one.revision for one in await store.revisions.list_revisions("r1")] == [2, 1]

    run(body())


def test_of_many_racing_edits_each_number_has_the_code_of_the_one_that_won(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.decisions.create_experiment(experiment("r1"), [kept(1)])
        first = await store.decisions.get_experiment("r1")
        assert first is not None

        async def edit(name: str) -> Experiment | None:
            code = {"get_action": name}
            return await change(store, msgspec.structs.replace(first, code=code), kept(2, name))

        won = [one for one in await asyncio.gather(*(edit(f"# by {n}") for n in range(8))) if one is not None]
        assert len(won) == 1
        found = await store.revisions.get_revision("r1", 2)
        assert found is not None
        assert found.code == won[0].code

    run(body())


def test_the_oldest_go_when_there_are_more_than_are_kept(run: Any, store: Store) -> None:
    async def body() -> None:
        await store.decisions.create_experiment(experiment("r1"), [kept(1)])
        one: Experiment | None = experiment("r1")
        for number in range(2, 5):
            assert one is not None
            one = await change(store, one, kept(number))
        assert one is not None
        many = [kept(number) for number in range(5, MAX_REVISIONS + 4)]
        one = await change(store, one, *many)
        numbers = [shown.revision for shown in await store.revisions.list_revisions("r1")]
        assert numbers == list(range(MAX_REVISIONS + 3, 3, -1))
        assert await store.revisions.get_revision("r1", 3) is None
        # By size too; but the newest is kept however large it is.
        assert one is not None
        large = "x" * (MAX_REVISION_BYTES // 2)
        one = await change(store, one, kept(1000, large), kept(1001, large + large))
        assert [shown.revision for shown in await store.revisions.list_revisions("r1")] == [1001]

    run(body())
