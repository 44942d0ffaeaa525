"""Plots are drawn in processes that end with whoever waits for them."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from streamsim.evaluation import drawing
from streamsim.evaluation.drawing import Drawing
from streamsim.sandbox.host.priority import Priority
from tests.patience import PATIENCE_S

LINE = {"mean": [1.0] * 200, "low": [0.5] * 200, "high": [1.5] * 200}


def _comparison(policies: int) -> bytes:
    names = [f"policy {number}" for number in range(policies)]
    pairs = [(first, second) for first in names for second in names if first < second]
    return json.dumps(
        {
            "points": list(range(1, 201)),
            "replications": 2,
            "seed": 1,
            "policies": {
                name: {"reward": LINE, "regret": LINE, "arms": {"a": [1.0] * 200}} for name in names
            },
            "differences": [
                {"first": first, "second": second, "reward": LINE, "simultaneous": LINE}
                for first, second in pairs
            ],
        }
    ).encode()


def _children() -> set[int]:
    """Processes of ours that draw."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            draws = entry.name.isdigit() and b"evaluation.drawing" in (entry / "cmdline").read_bytes()
            if draws and f"PPid:\t{os.getpid()}\n" in (entry / "status").read_text():
                found.add(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def test_whoever_leaves_ends_the_drawing_and_others_were_not_held_up() -> None:
    async def scenario() -> None:
        drawings = Drawing(Priority(19, 1, lambda: True))
        flood = [asyncio.create_task(drawings.picture("ann", _comparison(20), "svg")) for _ in range(4)]
        async with asyncio.timeout(PATIENCE_S):
            while not _children():  # noqa: ASYNC110 -- the kernel sets no event
                await asyncio.sleep(0.01)
            assert (await drawings.picture("bob", _comparison(1), "svg"))[:5] == b"<?xml"
        assert not any(task.done() for task in flood)
        for task in flood:
            task.cancel()
        await asyncio.wait(flood)
        assert _children() == set()

    asyncio.run(scenario())


def test_a_process_that_draws_sees_no_setting_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSIM_STORAGE_REDIS", "redis://:secret@host")
    assert not any(name.startswith("STREAMSIM") for name in drawing.KEPT)

    async def scenario() -> None:
        task = asyncio.create_task(
            Drawing(Priority(0, 0, lambda: False)).picture("ann", _comparison(20), "svg")
        )
        async with asyncio.timeout(PATIENCE_S):
            while not (found := _children()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert b"STREAMSIM" not in _environment(found.pop())
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(scenario())
