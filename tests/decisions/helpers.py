"""What tests of one folder share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from streamsim.decisions.wire import Call
from streamsim.decisions.worker import PolicyWorker
from streamsim.storage.contract.decisions import Committed, Experiment, Stale, ThetaAddress, Transaction
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


class Held:
    """Holds the next commit of a process's store back until it is let go; counts the batches that ran."""

    def __init__(self, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go, self.twice = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None
        self.ran = 0
        self.batches: list[int] = []
        self.early: list[int] = []
        self._commit, self._run = store.commit, PolicyWorker.run
        monkeypatch.setattr(store, "commit", self.commit)
        held = self

        async def run(worker: PolicyWorker, *arguments: Any) -> Any:
            held.batches.append(len(arguments[1]))
            held.early.append(arguments[2])
            done = await held._run(worker, *arguments)
            held.ran += 1
            if held.ran == 2:
                held.twice.set()
            return done

        monkeypatch.setattr(PolicyWorker, "run", run)

    async def commit(self, transaction: Transaction) -> Committed | Stale:
        if not self.begun.is_set():
            self.begun.set()
            await self.go.wait()
            if self.error is not None:
                raise self.error
        result: Committed | Stale = await self._commit(transaction)
        return result
