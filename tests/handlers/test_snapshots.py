"""Snapshots of theta, one for each hour, whichever process makes them."""

from __future__ import annotations

from typing import Any

import pytest

from streamsim.dates import HOUR_MS
from streamsim.server.upkeep import Upkeep
from streamsim.services import Services
from tests.application import Caller, Clock
from tests.handlers.test_stats import DATE, used


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_hourly_theta_has_one_snapshot_per_hour(ann: Caller, services: Services, clock: Clock) -> None:
    clock.ahead_ms = HOUR_MS - clock() % HOUR_MS  # the beginning of an hour
    experiment = await used(ann, 1)
    other = await used_other(ann)
    jobs, another_process = Upkeep(services, clock), Upkeep(services, clock)
    assert await jobs.snapshots() == 0
    for one in (experiment, other):
        await ann.put(f"/exp/{one['id']}", {"hourly_theta": True})
    assert await jobs.snapshots() == 2
    assert await jobs.snapshots() == await another_process.snapshots() == 0
    await reward(ann, experiment)
    clock.ahead_ms += 59 * 60_000
    assert await another_process.snapshots() == 0
    clock.ahead_ms += 60_000
    assert await another_process.snapshots() == 2
    assert await jobs.snapshots() == 0
    rows = (await ann.get(f"/stats/{experiment['id']}/hourlytheta")).body
    assert [row["theta"] for row in rows] == [{"arm:a": {"n": 2}}, {"arm:a": {"n": 1}}]
    assert all(DATE.fullmatch(row["date"]) and row["exp_id"] == experiment["id"] for row in rows)
    assert len((await ann.get(f"/stats/{experiment['id']}/hourlytheta", limit=1)).body) == 1
    named = (await ann.get(f"/stats/{other['id']}/hourlytheta")).body
    assert [(row["theta"], row["named"]) for row in named] == [({}, {"special": {"x": 1}})] * 2


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_snapshot_of_a_process_that_died_over_it_is_made_by_another(
    ann: Caller, services: Services, clock: Clock
) -> None:
    clock.ahead_ms = HOUR_MS - clock() % HOUR_MS  # the beginning of an hour
    experiment = await ann.experiment(hourly_theta=True)
    hour = clock() // HOUR_MS
    work = f"theta:{experiment['id']}:{hour}"
    assert await services.store.decisions.claim(work, "a process that died", clock(), clock() + 60_000)
    jobs = Upkeep(services, clock)
    assert await jobs.snapshots() == 0
    clock.ahead_ms += 60_001
    assert await jobs.snapshots() == 1


async def used_other(client: Caller) -> dict[str, Any]:
    experiment = await client.experiment("other", set_reward="self.set_theta({'x': 1}, name='special')")
    await reward(client, experiment)
    return experiment


async def reward(client: Caller, experiment: dict[str, Any]) -> None:
    answer = await client.get(f"/setreward/{experiment['id']}", key=experiment["key"], reward=1)
    assert answer.status == 200
