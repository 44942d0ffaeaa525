"""Simulation jobs: made, watched, listed, cancelled; their numbers do not depend on who works on them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from streamsim.jobs.jobs import Jobs
from streamsim.services import Services
from tests.application import Caller, Clock
from tests.patience import PATIENCE_S
from tests.support import request_headers

COIN = {
    "get_action": "self.action['arm'] = random.choice(['a', 'b'])",
    "get_reward": "self.expected_rewards = {'a': 1.0, 'b': 0.25}\n"
    "self.reward['value'] = self.expected_rewards[self.action['arm']]",
    "set_reward": "t = self.get_theta()\nself.set_theta({'n': t.get('n', 0) + 1})",
}
SLOW = COIN | {"set_reward": "t = __import__('time'); t.sleep(0.05)"}


def another(services: Services, clock: Clock) -> Jobs:
    """The jobs as another process has them."""
    settings, kinds = services.settings.jobs, services.jobs.kinds.values()
    return Jobs(services.store.jobs, settings, clock, kinds)


@asynccontextmanager
async def working(services: Services, clock: Clock) -> AsyncIterator[Jobs]:
    """A process that takes on jobs, beside the one that answers."""
    jobs = another(services, clock)
    jobs.start(0.02)
    try:
        yield jobs
    finally:
        await jobs.close()


async def until(ann: Caller, path: str, *states: str) -> dict[str, Any]:
    while (job := (await ann.get(path)).body)["state"] not in states:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    found: dict[str, Any] = job
    return found


@pytest.mark.gen_test
async def test_a_job_answers_202_and_later_its_result(ann: Caller, services: Services, clock: Clock) -> None:
    experiment = await ann.experiment("coin", **COIN)
    path = f"/eval/{experiment['id']}/simulations"
    made = await ann.post(path, {"N": 400, "replications": 8, "seed": 5, "points": 20})
    assert made.status == 202
    assert made.headers["location"] == f"{path}/{made.body['id']}"
    assert (made.body["state"], made.body["progress"]) == ("waiting", {"done": 0, "total": 3200})
    assert (await ann.get(made.headers["location"])).body == made.body
    async with working(services, clock):
        job = await until(ann, made.headers["location"], "done")
    assert job["progress"] == {"done": 3200, "total": 3200}
    result = job["result"]
    assert (len(result["points"]), result["points"][0], result["points"][-1]) == (20, 1, 400)
    # 0.625 a draw; 8 times 400 of them with a deviation of 0.375 each.
    assert abs(result["reward"]["mean"][-1] - 250) < 4 * 0.375 * (400 / 8) ** 0.5
    # Reward and regret of a draw always add up to the best arm's 1.
    for place, draws in enumerate(result["points"]):
        assert result["reward"]["mean"][place] + result["regret"]["mean"][place] == pytest.approx(draws)
        assert sum(share[place] for share in result["arms"].values()) == pytest.approx(1)
    assert result["reward"]["low"][-1] < result["reward"]["mean"][-1] < result["reward"]["high"][-1]
    assert (await ann.get(f"/stats/{experiment['id']}/currenttheta")).body == {}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_job_that_was_let_go_of_is_continued_elsewhere_with_the_same_numbers(
    ann: Caller, services: Services, clock: Clock
) -> None:
    experiment = await ann.experiment("coin", **COIN)
    path = f"/eval/{experiment['id']}/simulations"
    request = {"N": 2000, "replications": 12, "seed": 9, "points": 20}
    whole = (await ann.post(path, request)).headers["location"]
    async with working(services, clock):
        expected = (await until(ann, whole, "done"))["result"]
    parted = (await ann.post(path, request)).headers["location"]
    store = services.store.jobs
    id = parted.rpartition("/")[2]
    async with working(services, clock):
        while not await store.parts(id):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    left = (await ann.get(parted)).body
    assert left["state"] == "waiting"
    assert 0 < len(await store.parts(id)) < 12
    async with working(services, clock):
        job = await until(ann, parted, "done")
    assert (job["result"], job["attempts"]) == (expected, 2)


@pytest.mark.gen_test
async def test_a_job_keeps_the_nested_experiments_of_the_moment_it_was_made(
    ann: Caller, services: Services, clock: Clock
) -> None:
    innermost = await ann.experiment("innermost", **COIN)
    inner = await ann.experiment(
        "inner",
        get_action=f"self.action = Experiment('{innermost['id']}').run_action_code(self.context)",
        set_reward=COIN["set_reward"],
    )
    await ann.get(f"/setreward/{inner['id']}", key=inner["key"], reward={"value": 1}, action={"arm": "a"})
    outer = await ann.experiment(
        "outer",
        get_action=f"inner = Experiment('{inner['id']}')\nself.action = inner.run_action_code(self.context)",
        get_reward=f"self.reward['value'] = Experiment('{inner['id']}').get_theta().get('n', 0)",
    )
    made = await ann.post(f"/eval/{outer['id']}/simulations", {"N": 30, "theta": "current"})
    await ann.get(f"/setreward/{inner['id']}", key=inner["key"], reward={"value": 1}, action={"arm": "a"})
    await ann.request("PUT", f"/exp/{inner['id']}", body={"get_action": "self.action['arm'] = 'changed'"})
    await ann.delete(f"/exp/{innermost['id']}")
    async with working(services, clock):
        job = await until(ann, made.headers["location"], "done", "failed")
    assert job["state"] == "done", job
    assert set(job["result"]["arms"]) == {"a", "b"}
    assert job["result"]["reward"]["mean"][-1] == 30


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_job_whose_process_died_is_interrupted_until_another_takes_it(
    ann: Caller, services: Services, clock: Clock
) -> None:
    experiment = await ann.experiment("coin", **COIN)
    made = (await ann.post(f"/eval/{experiment['id']}/simulations", {"N": 50})).headers["location"]
    # A process that claims and is never heard of again.
    await services.store.jobs.claim_job("dead", clock(), clock() + 10_000, kind="simulation")
    assert (await ann.get(made)).body["state"] == "running"
    clock.ahead_ms += 10_001
    assert (await ann.get(made)).body["state"] == "interrupted"
    async with working(services, clock):
        assert (await until(ann, made, "done"))["attempts"] == 2


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_job_that_kills_its_processes_again_and_again_is_given_up(
    ann: Caller, services: Services, clock: Clock
) -> None:
    experiment = await ann.experiment("coin", **COIN)
    made = (await ann.post(f"/eval/{experiment['id']}/simulations", {"N": 50})).headers["location"]
    for _ in range(3):
        await services.store.jobs.claim_job("dead", clock(), clock(), kind="simulation")
    async with working(services, clock):
        job = await until(ann, made, "failed")
    assert job["error"]["code"] == "interrupted"


@pytest.mark.gen_test
async def test_work_that_is_closed_as_it_is_woken_ends(services: Services, clock: Clock) -> None:
    for moments in range(5):  # turns of the event loop between the two
        jobs = another(services, clock)
        jobs.start(1000)
        await asyncio.sleep(0.05)
        jobs.wake()
        for _ in range(moments):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await jobs.close()


@pytest.mark.gen_test
async def test_events_tell_progress_and_the_end(ann: Caller, services: Services, clock: Clock) -> None:
    experiment = await ann.experiment("slow", **SLOW)
    request = {"N": 40, "replications": 2}
    made = (await ann.post(f"/eval/{experiment['id']}/simulations", request)).headers["location"]
    pieces: list[bytes] = []
    watching = asyncio.ensure_future(
        AsyncHTTPClient().fetch(
            f"{ann.url}{made}/events",
            headers=request_headers(ann.cookies, None),
            streaming_callback=pieces.append,
            request_timeout=PATIENCE_S,
        )
    )
    while not pieces:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    async with working(services, clock):
        answer = await watching
    assert answer.headers["Content-Type"] == "text/event-stream"
    events = [part.split("\n") for part in b"".join(pieces).decode().split("\n\n") if part]
    told = [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in events]
    assert [kind for kind, _ in told] == ["progress"] * (len(told) - 1) + ["end"]
    assert told[0][1]["state"] == "waiting"
    assert (told[-1][1]["state"], told[-1][1]["progress"]["done"]) == ("done", 80)
    done = [event["progress"]["done"] for _, event in told]
    assert done == sorted(done)
    assert any(0 < number < 80 for number in done)


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_cancelled_job_stops_and_is_removed_by_a_second_delete(
    ann: Caller, services: Services, clock: Clock
) -> None:
    experiment = await ann.experiment("slow", **SLOW)
    path = f"/eval/{experiment['id']}/simulations"
    made = (await ann.post(path, {"N": 100_000})).headers["location"]
    async with working(services, clock) as jobs:
        await until(ann, made, "running")
        assert (await ann.delete(made)).body == {"status": "success", "simulation": "cancelled"}
        assert (await ann.get(made)).body["state"] == "cancelled"
        while jobs.busy:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await ann.delete(made)).body["simulation"] == "removed"
    assert (await ann.get(made)).status == 404
    assert (await ann.get(path)).body == []


@pytest.mark.gen_test
async def test_a_job_whose_code_fails_says_where(ann: Caller, services: Services, clock: Clock) -> None:
    experiment = await ann.experiment("bad", **COIN | {"set_reward": "\n1 / 0"})
    made = (await ann.post(f"/eval/{experiment['id']}/simulations", {"N": 50})).headers["location"]
    async with working(services, clock):
        job = await until(ann, made, "failed")
    assert job["error"]["code"] == "policy_error"
    assert (job["error"]["detail"]["piece"], job["error"]["detail"]["line"]) == ("set_reward", 2)


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_jobs_are_listed_newest_first_and_are_their_owners(ann: Caller, bob: Caller) -> None:
    experiment = await ann.experiment("coin", **COIN)
    path = f"/eval/{experiment['id']}/simulations"
    ids = [(await ann.post(path, {"N": n})).body["id"] for n in (1, 2, 3)]
    assert [job["id"] for job in (await ann.get(path)).body] == ids[::-1]
    page = await ann.get(path, limit=2)
    assert [job["id"] for job in page.body] == ids[:0:-1]
    assert [job["id"] for job in (await ann.get(page.headers["link"][1:].partition(">")[0])).body] == ids[:1]
    other = await bob.experiment("mine", **COIN)
    assert (await bob.get(f"/eval/{other['id']}/simulations/{ids[0]}")).status == 404
    assert (await bob.delete(f"/eval/{other['id']}/simulations/{ids[0]}")).status == 404


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"evaluation.job_draws": 1000, "jobs.per_user": 2}], indirect=True)
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"N": 0}, "N"),
        ({"N": 1001}, "N"),
        ({"N": 101, "replications": 10}, "N"),
        ({"N": 2.5}, "N"),
        ({"replications": 0}, "replications"),
        ({"seed": -1}, "seed"),
        ({"points": 201}, "points"),
        ({"theta": 3}, "theta"),
        ({"action_field": ""}, "action_field"),
        ({"draws": 5}, "draws"),
    ],
)
async def test_bad_fields_of_a_job_are_named(ann: Caller, body: dict[str, Any], field: str) -> None:
    experiment = await ann.experiment("coin", **COIN)
    answer = await ann.post(f"/eval/{experiment['id']}/simulations", body)
    assert (answer.status, answer.body["error"]["field"]) == (400, field)


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"jobs.per_user": 2}], indirect=True)
async def test_unfinished_jobs_of_a_user_are_bounded(ann: Caller) -> None:
    experiment = await ann.experiment("coin", **COIN)
    path = f"/eval/{experiment['id']}/simulations"
    answers = [await ann.post(path, {}) for _ in range(3)]
    assert [answer.status for answer in answers] == [202, 202, 429]
    await ann.delete(answers[0].headers["location"])
    assert (await ann.post(path, {})).status == 202
