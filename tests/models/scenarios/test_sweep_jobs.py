"""Sweeps as jobs: the numbers of one that was waited for, whoever works on them and whatever is killed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from streamsim.jobs.jobs import Jobs
from streamsim.services import Services
from tests.application import Caller, Clock
from tests.models.conftest import MANAGER, example
from tests.patience import PATIENCE_S
from tests.servers import wait_until
from tests.support import Client, Server, request_headers

# So many that no machine has done them before the server is killed.
RUNS = 3000
BASE = {"scenario_manager": MANAGER, "scenario": "base", "equations": ["customers"]}
DRAWN = {"contact_rate": {"distribution": "normal", "mean": 10, "sd": 1}}
BACKGROUND = {**BASE, "parameters": DRAWN, "runs": 300, "seed": 5, "everyRun": True, "background": True}


def another(services: Services, clock: Clock) -> Jobs:
    """The jobs as another process has them."""
    kinds = services.jobs.kinds.values()
    return Jobs(services.store.jobs, services.settings.jobs, clock, kinds)


async def started(ann: Caller) -> str:
    """The path of a sweep job that waits."""
    answer = await ann.post("/sweep", BACKGROUND)
    assert (answer.status, answer.body["state"], answer.body["runs"]) == (202, "waiting", 300)
    return answer.headers["location"]


async def until(ann: Caller, path: str, *states: str) -> dict[str, Any]:
    while (job := (await ann.get(path)).body)["state"] not in states:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    found: dict[str, Any] = job
    return found


@pytest.mark.gen_test
async def test_a_sweep_in_the_background_is_a_job_with_events(
    customers: Caller, bob: Caller, services: Services
) -> None:
    path = await started(customers)
    assert (await bob.get(path)).status == (await bob.get(f"{path}/events")).status == 404
    services.jobs.start(0.02)
    answer = await AsyncHTTPClient().fetch(
        f"{customers.url}{path}/events",
        headers=request_headers(customers.cookies, None),
        request_timeout=PATIENCE_S,
    )
    events = [part.split("\n") for part in answer.body.decode().split("\n\n") if part]
    told = [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in events]
    assert [kind for kind, _ in told] == ["progress"] * (len(told) - 1) + ["end"]
    done = [event["progress"]["done"] for _, event in told]
    assert (done, done[-1]) == (sorted(done), 300)
    job = (await customers.get(path)).body
    waited_for = (await customers.post("/sweep", {**BACKGROUND, "background": False})).body
    assert (job["state"], job["kind"], job["result"]) == ("done", "sweep", waited_for)


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_jobs_of_both_kinds_are_listed_newest_first_by_page(customers: Caller, bob: Caller) -> None:
    experiment = (await customers.post("/exp", {"name": "coin"})).body["id"]
    await customers.post(f"/eval/{experiment}/simulations", {"N": 10})
    path = await started(customers)
    first = await customers.get("/jobs", limit=1)
    assert [(one["kind"], one["id"]) for one in first.body] == [("sweep", path.rpartition("/")[2])]
    (after,) = (await customers.get("/jobs", limit=1, before=first.body[0]["id"])).body
    assert (after["kind"], after["experiment"]) == ("simulation", experiment)
    assert first.headers["link"].endswith('rel="next"')
    assert (await bob.get("/jobs")).body == []


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_another_process_goes_on_with_the_parts_that_are_missing(
    customers: Caller, services: Services, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await started(customers)
    begun: list[int] = []
    computed: list[int] = []
    closed = False
    stopped = asyncio.Event()
    pool, jobs = services.sweeps._pool, services.store.jobs
    compute = pool.run

    async def counted(model: Any, entry: Any, calls: int) -> Any:
        if len(begun) == 3 and not closed:
            stopped.set()
            await asyncio.Event().wait()  # until the work is cancelled
        begun.append(calls)
        answer = await compute(model, entry, calls)
        computed.append(calls)
        return answer

    monkeypatch.setattr(pool, "run", counted)
    first, second = another(services, clock), another(services, clock)
    first.start(0.02)
    await stopped.wait()
    while len(await jobs.parts(path.rpartition("/")[2])) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await first.close()
    closed = True
    assert (await customers.get(path)).body["state"] == "waiting"
    second.start(0.02)
    job = await until(customers, path, "done")
    await second.close()
    assert sum(computed) == 300  # none twice
    assert job["attempts"] == 2
    monkeypatch.undo()
    waited_for = (await customers.post("/sweep", {**BACKGROUND, "background": False})).body
    assert job["result"] == waited_for


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_cancelled_sweep_stops_on_the_process_that_works_on_it(
    customers: Caller, services: Services, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def endless(*_: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(services.sweeps._pool, "run", endless)
    path = await started(customers)
    working = another(services, clock)
    working.start(0.02)
    await begun.wait()
    assert (await customers.get(path)).body["state"] == "running"
    assert (await customers.delete(path)).body == {"status": "success", "job": "cancelled"}
    assert (await customers.get(path)).body["state"] == "cancelled"
    while working.busy:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await working.close()
    assert (await customers.delete(path)).body == {"status": "success", "job": "removed"}
    assert (await customers.get(path)).status == 404


@pytest.mark.durable
def test_a_sweep_is_seen_by_every_process_and_outlives_them(tmp_path: Path) -> None:
    with Server(tmp_path, processes=2, settings={"jobs.lease_s": 1, "models.runners": 1}) as server:
        client = server.admin()
        files = example("customer_acquisition.py")
        assert client.post("/models", {"name": "customers", "files": files}).status == 201
        body = {**BACKGROUND, "runs": RUNS, "everyRun": False}
        path = client.post("/sweep", body).headers["location"]
        seen: list[int] = []

        def some(client: Client) -> bool:
            seen.append(client.get(path).body["progress"]["done"])
            return 0 < seen[-1] < RUNS

        wait_until(lambda: some(client), "the beginning of the sweep")
        server.kill()
        server.start()
        clients = [server.admin() for _ in range(6)]  # of one port: some reach either process
        assert all(one.get(path).body["id"] == path.rpartition("/")[2] for one in clients)
        client = clients[0]
        wait_until(lambda: client.get(path).body["state"] == "done", "the end of the sweep")
        job = client.get(path).body
        assert (job["progress"], job["attempts"] > 1) == ({"done": RUNS, "total": RUNS}, True)
        assert job["result"] == client.post("/sweep", {**body, "background": False}).body
