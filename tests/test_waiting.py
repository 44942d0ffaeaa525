"""Turns and room: tenants are served in turn, whatever any of them wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from streamsim.waiting import APART_S, HOLD_MOST_S, HOLD_S, Refusals, Room, Turns


async def _waiters(room: Room, order: list[str], tenants: str) -> list[asyncio.Task[None]]:
    async def use(tenant: str) -> None:
        async with room.place(tenant):
            order.append(tenant)

    tasks = [asyncio.create_task(use(tenant)) for tenant in tenants]
    await asyncio.sleep(0)
    return tasks


def _run(scenario: Awaitable[None]) -> None:
    async def whole() -> None:
        await scenario

    asyncio.run(whole())


def test_whoever_comes_last_waits_for_one_of_each_other_tenant() -> None:
    async def scenario() -> None:
        room, order = Room(1), list[str]()
        await room.take("a")
        tasks = await _waiters(room, order, "aaaaaabbc")
        room.free("a")
        await asyncio.gather(*tasks)
        assert "".join(order) == "abcabaaaa"

    _run(scenario())


def test_a_tenant_at_its_share_waits_while_there_is_room_for_others() -> None:
    async def scenario() -> None:
        room, order = Room(3, share=2), list[str]()
        await room.take("a")
        await room.take("a")
        tasks = await _waiters(room, order, "aab")
        await tasks[2]
        assert order == ["b"]
        assert room.full("a")
        assert not room.full("b")
        assert room.waiting("a") == 2
        room.free("a")
        await asyncio.gather(*tasks)
        assert order == ["b", "a", "a"]

    _run(scenario())


def test_while_others_came_lately_a_tenant_has_its_part_and_then_its_share_again() -> None:
    async def scenario() -> None:
        room = Room(4, share=3, lately=4)
        for _ in range(3):
            await room.take("a")
        assert room.full("a")
        await room.take("b")
        room.free("b")
        room.free("a")
        assert room.full("a")  # has two of four, as "b" would
        assert not room.full("b")
        room.free("a")
        for _ in range(3):
            assert not room.full("a")
            await room.take("a")
            room.free("a")
        assert not room.full("a")
        await room.take("a")
        assert not room.full("a")  # none of the last four was another's
        await room.take("a")
        assert room.full("a")

    _run(scenario())


def test_only_some_places_are_parted_among_those_who_came_lately() -> None:
    async def scenario() -> None:
        room = Room(4, share=3, lately=4, parted=2)
        await room.take("a")
        await room.take("a")
        await room.take("b")
        room.free("a")
        assert room.full("a")
        room.free("a")
        assert not room.full("a")
        assert room.full("b")

    _run(scenario())


def test_what_the_service_does_for_itself_takes_nothing_from_a_tenants_share() -> None:
    async def scenario() -> None:
        room = Room(4, share=3, lately=4)
        await room.take("")
        room.free("")
        for _ in range(3):
            assert not room.full("a")
            await room.take("a")

    _run(scenario())


def test_callers_that_give_up_lose_no_place() -> None:
    async def scenario() -> None:
        room, order = Room(1), list[str]()
        await room.take("a")
        tasks = await _waiters(room, order, "bbc")
        tasks[1].cancel()
        room.free("a")  # the first has its turn,
        tasks[0].cancel()  # and leaves before it knows
        await asyncio.wait(tasks)
        assert order == ["c"]
        assert not room.full("a")
        assert room.waiting("b") == room.waiting("c") == 0

    _run(scenario())


def test_a_turn_passes_by_those_who_have_just_given_up() -> None:
    async def scenario() -> None:
        room, order = Room(1), list[str]()
        await room.take("a")
        tasks = await _waiters(room, order, "bbcd")
        for task in (tasks[0], tasks[1], tasks[2]):
            task.cancel()  # which they learn when the loop goes on
        room.free("a")
        await asyncio.wait(tasks)
        assert order == ["d"]
        assert not room.full("a")

    _run(scenario())


def test_nobody_is_given_a_turn_that_may_not_have_it() -> None:
    async def scenario() -> None:
        turns = Turns()
        tasks = [asyncio.create_task(turns.wait(tenant)) for tenant in "ab"]
        await asyncio.sleep(0)
        assert turns.give(lambda tenant: tenant == "b") == "b"
        assert turns.give(lambda tenant: tenant == "b") is None
        assert turns.tenants == ["a"]
        assert turns.give() == "a"
        await asyncio.gather(*tasks)

    _run(scenario())


def test_refusals_of_one_caller_leave_one_by_one_and_those_of_others_do_not_wait_for_them() -> None:
    now = [100.0]
    refusals = Refusals(lambda: now[0])
    together = [refusals.hold_s("ann") for _ in range(5)]
    assert together == pytest.approx([HOLD_S + n * APART_S for n in range(5)])
    assert refusals.hold_s("bob") == pytest.approx(HOLD_S)
    now[0] += 10
    assert refusals.hold_s("ann") == pytest.approx(HOLD_S)


def test_no_refusal_is_held_back_for_ever_and_callers_are_forgotten() -> None:
    now = [100.0]
    refusals = Refusals(lambda: now[0])
    assert max(refusals.hold_s("ann") for _ in range(1000)) == pytest.approx(HOLD_MOST_S)
    for number in range(20_000):
        now[0] += 0.001
        refusals.hold_s(f"caller {number}")
    assert len(refusals._next) < 2500
