"""The background jobs: they survive an outage and a bug, clean up once, and end when told to."""

from __future__ import annotations

import asyncio
import logging

import pytest

from streamsim.server.upkeep import Upkeep
from streamsim.services import Services
from streamsim.storage.contract.errors import StoreUnavailable
from tests.application import Caller, Clock

DAY_MS = 86_400_000


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"upkeep.interval_ms": 10}], indirect=True)
async def test_jobs_go_on_after_an_outage_and_after_a_bug(
    services: Services, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[Exception] = [StoreUnavailable("the disk is full"), RuntimeError("a bug")]
    went_on = asyncio.Event()

    async def time_out_advices() -> int:
        if failures:
            raise failures.pop(0)
        went_on.set()
        return 0

    monkeypatch.setattr(services.decisions, "time_out_advices", time_out_advices)
    jobs = Upkeep(services, clock)
    with caplog.at_level(logging.WARNING):
        jobs.start()
        await went_on.wait()
        await jobs.close()
    assert "the disk is full" in caplog.text
    assert "RuntimeError: a bug" in caplog.text


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_expired_sessions_are_removed_by_one_of_the_processes(
    ann: Caller, services: Services, clock: Clock
) -> None:
    await ann.post("/user/token", {"days": 1})
    jobs, another_process = Upkeep(services, clock), Upkeep(services, clock)
    assert await jobs.clean_up() == 0
    clock.ahead_ms = 2 * DAY_MS
    removed = await jobs.clean_up()
    assert removed >= 1
    assert await another_process.clean_up() == 0
    assert (await ann.get("/exp")).status == 200  # its session lasts a week


@pytest.mark.gen_test
async def test_jobs_end_at_once_when_told_to(services: Services, clock: Clock) -> None:
    jobs = Upkeep(services, clock)
    jobs.start()
    await asyncio.wait_for(jobs.close(), 30)  # the pauses between rounds are longer


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_an_experiment_whose_snapshot_fails_keeps_nobody_elses_from_being_made(
    ann: Caller, services: Services, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    learn = "self.set_theta({'x': self.reward['x']}, key='k', value=str(self.reward['n']))"
    made = [await ann.experiment(f"number {n}", set_reward=learn, hourly_theta=True) for n in range(3)]
    large = sorted(made, key=lambda one: str(one["id"]))[0]  # the first that a round comes to
    for experiment in made:
        for number in range(14 if experiment is large else 1):
            reward = {"n": number, "x": "a" * (1_000_000 if experiment is large else 3)}
            body = {"key": experiment["key"], "reward": reward}
            assert (await ann.post(f"/setreward/{experiment['id']}", body)).status == 200
    upkeep = Upkeep(services, clock)
    with caplog.at_level(logging.WARNING):
        assert await upkeep.snapshots() == 2
    assert f"snapshot of {large['id']} failed" in caplog.text
    assert 'streamsim_upkeep_failed_items_total{work="snapshot"} 1.0' in services.metrics.text().decode()
    # It waits before it is tried again; the others are done for this hour.
    caplog.clear()
    assert await upkeep.snapshots() == 0
    assert caplog.text == ""
    for experiment in made:
        rows = (await ann.get(f"/stats/{experiment['id']}/hourlytheta?limit=10")).body
        assert len(rows) == (0 if experiment is large else 1)
