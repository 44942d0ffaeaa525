"""I1-I5 and I9 while parts of a production installation are killed under load.

`make faults` runs the long form: each fault again and again for a minute, and MongoDB away for 20 s.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.faults.conftest import LONG, Installation
from tests.faults.load import Load
from tests.harm import GUARDED, decide, learn
from tests.servers import aside, wait_until
from tests.support import Server

pytestmark = pytest.mark.serial

FAULTS_S = 60.0 if LONG else 0.0
AWAY_S = 20.0 if LONG else 1.5
REDIS_AWAY_S = 1.0
Fault = Callable[[Load, int], Awaitable[None]]


def under_load(run: Run, installation: Installation, name: str, fault: Fault) -> Load:
    """Meet a fault in the middle of the load, in the long form again and again; then check everything."""
    load, experiment = installation.load(name)

    async def play() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run())
            await load.reach(100)
            until, times = time.monotonic() + FAULTS_S, 0
            while times == 0 or time.monotonic() < until:
                await fault(load, times)
                await load.reach(100)
                times += 1
            load.stop()

    run(play())
    installation.check(load, experiment)
    return load


async def again(server: Server) -> None:
    """Bring a killed server back. The test that looks for children of its zygote comes before all these."""
    await aside(server.kill)  # takes leave of the process
    server.executed_zygotes = False
    await aside(server.start)


def only(load: Load, *ends: tuple[int, str]) -> bool:
    """Whether calls ended well or in one of these ways."""
    return load.statuses.keys() <= {(200, ""), (409, "conflict"), *ends}


def test_a_killed_sandbox_worker_costs_at_most_its_own_call(run: Run, installation: Installation) -> None:
    before = {server: workers(server) for server in installation.servers}

    async def fault(load: Load, times: int) -> None:
        for server in installation.servers:
            found = workers(server) - before[server]
            assert found, "no server runs the experiment's code"
            for worker in found:
                os.kill(worker, signal.SIGKILL)

    load = under_load(run, installation, "worker", fault)
    assert only(load, (422, "policy_crashed")), load.statuses


def test_a_killed_server_takes_nothing_with_it(run: Run, installation: Installation) -> None:
    async def fault(load: Load, times: int) -> None:
        server = installation.servers[1 + times % 2]
        os.kill(pid(server), signal.SIGKILL)
        await load.reach(100)  # the others go on
        await again(server)

    load = under_load(run, installation, "server", fault)
    assert only(load, (0, "")), load.statuses
    assert load.statuses[0, ""] > 0, "the server was killed between calls"


def test_a_drainer_killed_in_mid_batch_loses_and_repeats_no_row(run: Run, installation: Installation) -> None:
    async def fault(load: Load, times: int) -> None:
        mongo, server = installation.mongo, installation.servers[1 + times % 2]
        assert mongo.process is not None
        # A MongoDB that does not answer holds every drainer where it is: between the insert and its end.
        mongo.process.send_signal(signal.SIGSTOP)
        try:
            await load.reach(200)
            await aside(wait_until, lambda: installation.held() > 0, "a drainer in mid-batch")
            os.kill(pid(server), signal.SIGKILL)
        finally:
            mongo.process.send_signal(signal.SIGCONT)
        await again(server)

    load = under_load(run, installation, "drainer", fault)
    assert only(load, (0, "")), load.statuses


def test_a_killed_redis_comes_back_with_all_that_was_acknowledged(
    run: Run, installation: Installation
) -> None:
    async def fault(load: Load, times: int) -> None:
        await aside(installation.redis.kill)
        await asyncio.sleep(REDIS_AWAY_S)
        await aside(installation.redis.start)

    load = under_load(run, installation, "redis", fault)
    # A call waits for Redis up to 5 s, which it does not have to here; those in flight are repeated.
    assert only(load, (503, "unavailable")), load.statuses


def test_while_mongodb_is_away_every_call_succeeds_and_its_rows_follow(
    run: Run, installation: Installation
) -> None:
    async def fault(load: Load, times: int) -> None:
        await aside(installation.mongo.stop)
        await asyncio.sleep(AWAY_S)
        await load.reach(100)
        assert only(load), load.statuses
        assert installation.waiting() > 0
        await aside(installation.mongo.start)

    load, experiment = installation.load("mongo")

    async def play() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run())
            await load.reach(100)
            await fault(load, 0)
            await load.reach(100)
            load.stop()

    run(play())
    assert only(load), load.statuses
    wait_until(lambda: installation.waiting() == 0, "the outbox is empty though nobody reads")
    installation.check(load, experiment)


def test_harm_trips_a_guardrail_in_every_process_while_the_one_that_it_came_to_is_killed(
    run: Run, installation: Installation
) -> None:
    random.seed(3)
    took: list[float] = []
    tripped: list[str] = []

    async def fault(load: Load, times: int) -> None:
        made = await aside(guarded, installation, times)
        killed = installation.servers[1 + times % 2]
        clients = {server: server.client() for server in installation.servers}
        decided = [await aside(decide, client, made, 300) for client in clients.values()]
        assert all({row["action"]["arm"] for row in rows} == {"a", "b"} for rows in decided)
        for rows in decided:
            await aside(learn, clients[killed], made, rows)
        os.kill(pid(killed), signal.SIGKILL)
        began = time.monotonic()
        rest = [client for server, client in clients.items() if server is not killed]

        def served() -> set[str]:
            return {row["action"]["arm"] for client in rest for row in decide(client, made, 10)}

        await aside(wait_until, lambda: served() == {"a"}, "no process serves b")
        took.append(time.monotonic() - began)
        await again(killed)
        # The one that was away acts on it, too, with its first call.
        rows = await aside(decide, killed.client(), made, 30)
        assert {row["action"]["arm"] for row in rows} == {"a"}
        tripped.append(made["id"])

    load = under_load(run, installation, "guardrail", fault)
    assert only(load, (0, "")), load.statuses
    for experiment in tripped:
        rows = installation.admin.get(f"/stats/{experiment}/log").body
        assert [row["guardrail"]["arm"] for row in rows] == ["b"]
    within = sum(one <= 1 for one in took)
    print(f"off in every process after {max(took):.2f} s at most; within a second in {within} of {len(took)}")


def guarded(installation: Installation, number: int) -> dict[str, Any]:
    """A new experiment with a guardrail; its id and key."""
    made: dict[str, Any] = installation.admin.post("/exp", {"name": f"guarded {number}", **GUARDED}).body
    return made


def pid(server: Server) -> int:
    assert server.process is not None
    return server.process.pid


def workers(server: Server) -> set[int]:
    """Processes two steps and more below a server: those that its zygotes forked."""
    found = set[int]()
    for child in children(pid(server)):
        found |= descendants(child)
    return found


def descendants(process: int) -> set[int]:
    below = children(process)
    return below.union(*map(descendants, below))


def children(process: int) -> set[int]:
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    except FileNotFoundError:
        return set()
    return {int(one) for one in listed.split()}
