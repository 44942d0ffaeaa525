"""One tenant floods what all share: another's request is answered in its turn, and never with 429."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

import streamsim.waiting
from streamsim.experiments import turns
from streamsim.experiments.turns import Editing
from streamsim.jobs.jobs import JobDesk, Jobs
from streamsim.services import Services
from streamsim.storage.contract.jobs import Job
from streamsim.storage.sqlite.database import READERS
from streamsim.storage.sqlite.store import SQLiteStore
from tests.application import Caller, Clock
from tests.support import Answer

SLOW = 'import time\ntime.sleep(0.4)\nself.action["arm"] = "a"'
FAST = {"get_action": 'self.action["arm"] = "a"', "get_reward": 'self.reward["value"] = 1.0'}
WIDE = {"jobs.followers": 3, "evaluation.request_s": 3.0}


async def _beside(
    flood: Sequence[Awaitable[Answer]], victim: Awaitable[Answer]
) -> tuple[list[int], Answer, int]:
    """Statuses of a flood, the answer to another's later request, and how many were open after that."""
    tasks = [asyncio.ensure_future(one) for one in flood]
    await asyncio.sleep(0)
    answer = await victim
    pending = sum(not task.done() for task in tasks)
    return [(await task).status for task in tasks], answer, pending


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [WIDE], indirect=True)
async def test_slow_simulations_of_one_user(ann: Caller, bob: Caller) -> None:
    slow = await ann.experiment("slow", get_action=SLOW)
    fast = await bob.experiment("fast", **FAST)
    flood = [ann.get(f"/eval/{slow['id']}/simulate", N=100_000) for _ in range(25)]
    statuses, answer, pending = await _beside(flood, bob.get(f"/eval/{fast['id']}/simulate", N=10))
    assert answer.status == 200, answer.body
    assert pending
    assert 429 in statuses
    assert 500 not in statuses


@pytest.mark.gen_test
async def test_code_that_one_user_puts(ann: Caller, bob: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAITING", 32)
    anns, bobs = await ann.experiment("hers"), await bob.experiment("his")
    flood = [ann.put(f"/exp/{anns['id']}", {"get_action": f"x = {number}"}) for number in range(60)]
    statuses, answer, pending = await _beside(flood, bob.put(f"/exp/{bobs['id']}", FAST))
    assert answer.status == 200, answer.body
    assert pending
    # One after the other, none finds that another came between.
    assert Counter(statuses) == {200: 33, 429: 27}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_one_edit_of_a_user_at_a_time(ann: Caller, bob: Caller, services: Services) -> None:
    anns, bobs = await ann.experiment("hers"), await bob.experiment("his")
    async with services.experiments._editing.turn("ann"):
        waiting = [asyncio.ensure_future(ann.put(f"/exp/{anns['id']}", {"name": f"n{n}"})) for n in range(5)]
        waiting.append(asyncio.ensure_future(ann.post("/exp", {"name": "another"})))
        editing = services.experiments._editing
        while editing.waiting("ann") + sum(one.done() for one in waiting) < 6:  # noqa: ASYNC110 -- as below
            await asyncio.sleep(0.005)
        assert (await bob.put(f"/exp/{bobs['id']}", FAST)).status == 200
        assert not any(one.done() for one in waiting)
    assert [(await one).status for one in waiting] == [200] * 6


@pytest.mark.gen_test
async def test_between_edits_of_one_user_others_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_REST_MOST_S", 0.0)
    rests = list[float]()
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    editing = Editing()

    def noted(delay: float, callback: Any, *arguments: Any) -> asyncio.TimerHandle:
        # The loop is shared: processes of tests before may end meanwhile, which has timers of its own.
        if callback == editing._room.free:
            rests.append(delay)
        return call_later(delay, callback, *arguments)

    async def edit(user: str, times: int = 1) -> None:
        for _ in range(times):
            async with editing.turn(user):
                await asyncio.sleep(0)

    monkeypatch.setattr(loop, "call_later", noted)
    await asyncio.gather(edit("ann"), edit("ann"), edit("ann"))
    assert rests == []  # nobody else edits
    await asyncio.gather(edit("bob", 3), edit("ann"), edit("ann"))
    assert rests == [0.0]  # nothing of hers waits after the second, nor after any of his
    await edit("ann")


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [WIDE], indirect=True)
async def test_followers_of_one_users_jobs(ann: Caller, bob: Caller) -> None:
    paths = []
    for caller in (ann, bob):
        experiment = await caller.experiment("followed", **FAST)
        path = f"/eval/{experiment['id']}/simulations"
        made = await caller.post(path, {"N": 100, "replications": 1})
        paths.append(f"{path}/{made.body['id']}")
    # No job is worked on here, so their events end when the jobs are cancelled.
    asked = [asyncio.ensure_future(ann.get(f"{paths[0]}/events")) for _ in range(4)]
    ended, following = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    (refused,) = [one.result() for one in ended]
    assert refused.status == 429
    assert "jobs.followers" in refused.body["error"]["message"]
    bobs = asyncio.ensure_future(bob.get(f"{paths[1]}/events"))
    assert (await bob.delete(paths[1])).status == 200
    assert (await bobs).status == 200
    assert (await ann.delete(paths[0])).status == 200
    assert [(await one).status for one in following] == [200] * 3


class Held:
    """A kind of job that ends when it is let go."""

    name, at_once = "held", 2

    def __init__(self) -> None:
        self.begun = Counter[str]()
        self.more = asyncio.Event()
        self.go = asyncio.Event()

    async def work(self, job: Job, desk: JobDesk) -> bytes:
        self.begun[job.tenant] += 1
        self.more.set()
        await self.go.wait()
        return b"{}"

    def asked(self, spec: bytes) -> dict[str, object]:
        return {}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_jobs_of_one_user(services: Services, clock: Clock) -> None:
    kind = Held()
    jobs = Jobs(services.store.jobs, services.settings.jobs, clock, [kind])
    for _ in range(10):
        await jobs.create("ann", kind.name, {}, 1)
    jobs.start(60)
    try:
        while kind.begun != {"ann": 2}:
            kind.more.clear()
            await kind.more.wait()
        await jobs.create("bob", kind.name, {}, 1)
        while not kind.begun["bob"]:
            kind.more.clear()
            await kind.more.wait()
        assert kind.begun == {"ann": 2, "bob": 1}
        kind.go.set()
        while kind.begun["ann"] < 10:
            kind.more.clear()
            await kind.more.wait()
    finally:
        await jobs.close()


@pytest.mark.gen_test
async def test_readers_of_the_sqlite_file(ann: Caller, bob: Caller, services: Services) -> None:
    """One user's long reads, here held places, leave a reader for others."""
    assert isinstance(services.store, SQLiteStore)
    room = services.store._db._room
    for _ in range(READERS - 1):
        await room.take("ann")
    waiting = [asyncio.ensure_future(ann.get("/exp")) for _ in range(5)]
    while not room.waiting("ann"):  # noqa: ASYNC110 -- requests on their way set no event
        await asyncio.sleep(0.005)
    assert (await bob.get("/exp")).status == 200
    assert not any(one.done() for one in waiting)
    for _ in range(READERS - 1):
        room.free("ann")
    assert [(await one).status for one in waiting] == [200] * 5


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"lane.minute_bytes": 1 << 20, "login.attempts": 1}], indirect=True)
@pytest.mark.parametrize("way", ["handler", "short"])
async def test_who_asks_for_too_much_waits_for_the_refusal_and_others_do_not(
    ann: Caller, nobody: Caller, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    loud = await ann.experiment("loud", get_action='self.action["arm"] = "a" * 600_000')
    quiet = await ann.experiment("quiet", **FAST)
    for _ in range(2):
        await nobody.log_in("bob", "wrong")
        assert (await ann.get(f"/getaction/{loud['id']}", key=loud["key"])).status == 200
    for name in ("HOLD_S", "HOLD_MOST_S"):
        monkeypatch.setattr(streamsim.waiting, name, 3600.0)
    refused = asyncio.ensure_future(
        nobody.log_in("bob", "wrong")
        if way == "handler"
        else nobody.get(f"/getaction/{loud['id']}", key=loud["key"])
    )
    for _ in range(20):
        assert (await ann.get(f"/getaction/{quiet['id']}", key=quiet["key"])).status == 200
    assert not refused.done()
    refused.cancel()
