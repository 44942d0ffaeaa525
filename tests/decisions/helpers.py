"""What tests of one folder share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from streamsim.decisions.wire import Call
from streamsim.decisions.worker import PolicyWorker
from streamsim.storage.contract.decisions import Experiment, ThetaAddress
from tests.decisions.conftest import Bench

COUNT = """
stored = self.get_theta(key="n", value="all")
self.set_theta({"n": stored.get("n", 0) + 1}, key="n", value="all")
"""


SHOW = 'self.action["n"] = self.get_theta(key="n", value="all").get("n", 0)'


def count(bench: Bench, id: str = "e1") -> int:
    rows = bench.run(bench.store.decisions.read_theta(ThetaAddress(id, "_theta", "n", "all"))).rows
    return sum(json.loads(data)["n"] for data, _ in rows.values())


class Early:
    """What workers were given early: how many calls at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parts: list[int] = []
        self.begun = asyncio.Event()
        given = PolicyWorker.run_early

        def run_early(worker: PolicyWorker, experiment: Experiment, calls: Sequence[Call]) -> bool:
            began = given(worker, experiment, calls)
            if began:
                self.parts.append(len(calls))
                self.begun.set()
            return began

        monkeypatch.setattr(PolicyWorker, "run_early", run_early)
