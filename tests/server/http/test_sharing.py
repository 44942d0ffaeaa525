"""Where several tenants ask, their requests begin in turn, and who asks little waits for no flood."""

from __future__ import annotations

import asyncio

import pytest

from streamsim.server.http import sharing
from streamsim.server.http.server import FastServer
from streamsim.server.http.sharing import _APART_S as APART_S
from streamsim.server.http.sharing import _BESIDE_S as BESIDE_S
from streamsim.server.http.sharing import _PAUSES as PAUSES
from streamsim.server.http.sharing import TOGETHER_S, Sharing
from streamsim.waiting import Lately
from tests.application import Caller
from tests.sandbox.host.conftest import until
from tests.support import Answer

FLOOD = 60


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


class Request:
    """Writes down when it begins."""

    def __init__(self, name: str, order: list[str], expensive: bool) -> None:
        self._name, self._order, self._expensive = name, order, expensive

    def begin(self) -> bool:
        self._order.append(self._name)
        return self._expensive


class Asking:
    """Tenants whose requests come, and the order in which they begin; `-` is a turn of the loop."""

    def __init__(self, clock: Clock, lately: Lately | None = None) -> None:
        self.order: list[str] = []
        self.sharing = Sharing(lately or Lately(clock), clock)

    def ask(self, tenant: str, many: int = 1, *, expensive: bool = True) -> None:
        for _ in range(many):
            request = Request(tenant, self.order, expensive)
            if self.sharing.begins(tenant):
                request.begin()
            else:
                self.sharing.wait(tenant, request)

    async def began(self, turns: int) -> str:
        """What began until so many turns of the loop later."""
        for _ in range(turns):
            await asyncio.sleep(0)
            self.order.append("-")
        begun = "".join(self.order)
        self.order.clear()
        return begun


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.gen_test
async def test_nobody_waits_unless_several_asked_lately(clock: Clock) -> None:
    lately = Lately(clock)
    asked = Sharing(lately, clock)
    needed = []
    for tenant in ("", "ann", "ann", "bob"):
        if tenant:
            lately.asked(tenant)
        needed.append(asked.needed)
    clock.at += TOGETHER_S / 2
    lately.asked("bob")
    needed.append(asked.needed)
    clock.at += TOGETHER_S / 2
    lately.asked("bob")
    assert [*needed, asked.needed] == [False, False, False, True, True, False]


@pytest.mark.gen_test
async def test_those_of_tenants_with_many_begin_in_turn(clock: Clock) -> None:
    asking = Asking(clock)
    asking.ask("a", 4)
    asking.ask("b", 4)
    assert await asking.began(1) == "ab" + "ababab-"


@pytest.mark.gen_test
async def test_beside_one_of_another_that_is_under_way_only_one_begins(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_REST_S", 60.0)
    asking = Asking(clock)
    asking.ask("a", 4)
    asking.ask("b")
    assert await asking.began(4 * PAUSES) == "ab" + "a-" + "-" * (4 * PAUSES - 1)
    # Its next may come at once.
    asking.sharing.answered("b")
    assert await asking.began(PAUSES + 1) == "-" * PAUSES + "a-"


@pytest.mark.gen_test
async def test_those_that_wait_for_one_of_another_wait_for_a_while(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_REST_S", 0.0)
    asking = Asking(clock)
    asking.ask("a", 4)
    asking.ask("b")
    await until(lambda: len(asking.order) == 5)
    assert asking.order == list("abaaa")


@pytest.mark.gen_test
async def test_those_of_one_that_is_beside_nobody_do_not_rest(clock: Clock) -> None:
    asking = Asking(clock)
    asking.ask("b", 2)
    assert await asking.began(2) == "bb--"


@pytest.mark.gen_test
async def test_who_asks_again_and_again_but_one_at_a_time_keeps_those_turns(clock: Clock) -> None:
    asking = Asking(clock)
    asking.ask("a", 5)
    asking.ask("b")
    begun = await asking.began(1)
    for _ in range(3):
        clock.at += 1.5 * APART_S
        asking.sharing.answered("b")
        begun += await asking.began(1)
        asking.ask("b")
        asking.ask("a")
        begun += await asking.began(PAUSES)
    assert begun == "ab" + "a-" + ("-b" + "-" * (PAUSES - 1) + "a-") * 3


@pytest.mark.gen_test
async def test_a_flood_of_which_the_loop_sees_one_at_a_time_waits_as_well(clock: Clock) -> None:
    asking = Asking(clock)
    asking.ask("b")
    asking.ask("a")
    begun = await asking.began(1)
    for tenant in ("a", "b"):
        asking.sharing.answered(tenant)
    for _ in range(2):
        clock.at += APART_S / 2
        asking.ask("a")
        begun += await asking.began(PAUSES + 1)
    assert begun == "ba-" + ("a-" + "-" * PAUSES) * 2


@pytest.mark.gen_test
async def test_what_needs_no_handler_begins_together_also_beside_another(clock: Clock) -> None:
    asking = Asking(clock)
    asking.ask("a", 4, expensive=False)
    asking.ask("b")
    assert await asking.began(1) == "ab" + "aaa-"


@pytest.mark.gen_test
async def test_who_asks_much_stands_back_for_another_also_a_moment_after_its_answer(clock: Clock) -> None:
    lately = Lately(clock)
    asking = Asking(clock, lately)
    seen = []

    def see() -> None:
        seen.append([lately.stands_back(one) for one in "ab"])

    for tenant, many in (("a", 3), ("b", 1)):
        asking.ask(tenant, many)
        see()
    asking.sharing.answered("b")
    see()
    clock.at += 2 * BESIDE_S
    see()
    assert seen == [[False, False], [True, False], [True, False], [False, False]]


@pytest.mark.gen_test
async def test_after_a_moment_the_others_is_taken_to_be_answered(clock: Clock) -> None:
    asking = Asking(clock)
    asking.ask("a", 4)
    asking.ask("b")
    clock.at += 2 * BESIDE_S
    assert await asking.began(1) == "ab" + "aaa-"


@pytest.mark.gen_test
async def test_who_asked_long_ago_is_forgotten(clock: Clock) -> None:
    asking = Asking(clock)
    for number in range(100):
        clock.at += 2 * BESIDE_S
        asking.ask(f"at 2001:db8::{number}")
    assert len(asking.sharing._began._at) == 1


@pytest.mark.gen_test
async def test_a_flood_of_one_user_holds_nobody_up(ann: Caller, bob: Caller) -> None:
    anns, bobs = await ann.experiment("hers"), await bob.experiment("his")

    def flood() -> list[asyncio.Task[Answer]]:
        return [asyncio.ensure_future(ann.get(f"/exp/{anns['id']}")) for _ in range(FLOOD)]

    await asyncio.gather(*flood())  # her connections are there
    waiting = flood()
    await asyncio.sleep(0)
    answer = await bob.get(f"/exp/{bobs['id']}")
    left = sum(not one.done() for one in waiting)
    assert answer.status == 200, answer
    assert {(await one).status for one in waiting} == {200}
    assert left > FLOOD / 2


@pytest.mark.gen_test
async def test_who_left_while_waiting_holds_nobody_up(ann: Caller, bob: Caller) -> None:
    anns = await ann.experiment("hers")
    await bob.experiment("his")
    flood = [asyncio.ensure_future(ann.get(f"/exp/{anns['id']}")) for _ in range(FLOOD)]
    await asyncio.sleep(0)
    for one in flood[: FLOOD // 2]:
        one.cancel()
    answers = await asyncio.gather(*flood, bob.get("/exp"), return_exceptions=True)
    left = sum(isinstance(one, asyncio.CancelledError) for one in answers)
    assert left == FLOOD // 2
    assert [one.status for one in answers if not isinstance(one, BaseException)] == [200] * (FLOOD + 1 - left)


@pytest.mark.gen_test
async def test_nobody_is_under_way_once_all_are_answered_or_gone(
    ann: Caller, bob: Caller, http_server: FastServer
) -> None:
    made = await ann.experiment("hers", get_action="self.action['arm'] = 'a'")
    await bob.experiment("his")
    decided = f"/getaction/{made['id']}?key={made['key']}"
    paths = [f"/exp/{made['id']}", decided, "/nowhere", f"{decided}&context=%7B"]
    for path in paths * 3:
        await asyncio.gather(ann.get(path), bob.get("/exp"))
        left = asyncio.ensure_future(ann.get(path))
        await bob.get("/exp")
        left.cancel()
    shared = http_server.sharing
    await until(lambda: not shared._under_way)
    assert not shared._waiting
