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
