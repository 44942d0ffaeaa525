"""Evaluations leave a processor to decisions while there are any, and have it again after them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from streamsim.decisions import decisions
from streamsim.services import Services
from tests.application import Caller

OWN = os.sched_getaffinity(0)


@pytest.fixture
def process() -> Iterator[int]:
    """A process that waits for its end, in place of one that evaluates."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        yield running.pid
        running.kill()


@pytest.mark.skipif(len(OWN) < 2, reason="one processor")
@pytest.mark.gen_test
async def test_the_first_decision_after_a_pause_has_evaluations_make_way_until_the_next_pause(
    ann: Caller, services: Services, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await ann.experiment(get_action="self.action['arm'] = 'a'")
    priority = services.evaluations.workers.priority
    priority.lower(process, "bob")
    monkeypatch.setattr(decisions, "DECIDING_S", 600.0)
    for _ in range(2):
        assert os.sched_getaffinity(process) == OWN
        assert (await ann.get(f"/getaction/{made['id']}", key=made["key"])).status == 200
        assert services.decisions.deciding
        assert os.sched_getaffinity(process) == OWN - {min(OWN)}
        # As if the call had come so much earlier.
        services.decisions._deadline -= 600.0
        assert not services.decisions.deciding
        priority.make_way()
    priority.ended(process)
