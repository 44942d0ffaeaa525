"""Processes for whole runs: who has one, and that those whose run takes long stand back."""

from __future__ import annotations

import asyncio
import os

import pytest

from streamsim import processors
from streamsim.models import runners
from streamsim.models.runners import Runners
from streamsim.models.scenarios import _no_model
from streamsim.services import Services


@pytest.mark.gen_test
async def test_a_process_whose_run_takes_long_stands_back_and_stays_there(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A run that is longer than `LONG_S`, and one that is not.
    for long_s, tenant, nice in ((0.0, "ann", 9), (3600.0, "bob", 0)):
        monkeypatch.setattr(runners, "LONG_S", long_s)
        looked = asyncio.Event()
        async with services.scenarios._runners.lend([_no_model(tenant)]) as worker:
            asyncio.get_running_loop().call_later(0.01, looked.set)
            await looked.wait()
            assert os.getpriority(os.PRIO_PROCESS, worker.pid) == nice
        async with services.scenarios._runners.lend([_no_model(tenant)]) as again:
            assert again is worker
            assert os.getpriority(os.PRIO_PROCESS, again.pid) == nice


@pytest.mark.gen_test
async def test_a_process_between_two_runs_is_not_called_long(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "LONG_S", 0.01)
    ended = asyncio.Event()
    async with services.scenarios._runners.lend([_no_model("ann")]) as worker:
        pass
    asyncio.get_running_loop().call_later(0.05, ended.set)
    await ended.wait()
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == 0


@pytest.mark.gen_test
async def test_while_others_run_models_too_a_tenant_has_its_part_of_the_processors(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "ALL", (0, 1))
    lent = Runners(services.models._workers, 2)
    async with lent.lend([_no_model("ann")]), lent.lend([_no_model("ann")]):
        pass  # alone she has both
    await _lent(lent, "bob")
    async with lent.lend([_no_model("ann")]):
        second = asyncio.ensure_future(_lent(lent, "ann"))
        await asyncio.sleep(0)
        assert lent._room.waiting("ann") == 1
        await _lent(lent, "bob")
        assert lent._room.waiting("ann") == 1
    await second
    lent.close()


async def _lent(lent: Runners, tenant: str) -> None:
    async with lent.lend([_no_model(tenant)]):
        pass
