"""A decision service on real parts: the shared sandbox, a new installation per test, a clock to turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from streamsim import config, dates
from streamsim.config import LaneSettings
from streamsim.decisions.calls import Reward
from streamsim.decisions.decisions import Decisions
from streamsim.sandbox.host.pool import Limits, Sandbox
from streamsim.server.compose import make_store
from streamsim.storage.contract.decisions import Experiment
from streamsim.storage.contract.logs import LogKind
from streamsim.storage.contract.store import Store
from tests.backends import Storage

LIMITS = Limits(cpu_ms=300, wall_ms=2000, grace_ms=1000, memory_bytes=64 << 20)


class Bench:
    """Experiments and calls on one installation; `more()` is a second server process on it."""

    def __init__(self, folder: Path, storage: Storage, run: Callable[..., Any], sandbox: Sandbox) -> None:
        self.now_ms = dates.now_ms()
        self.run = run
        self.sandbox = sandbox
        self.settings = config.load(overrides={"storage.data": str(folder)} | storage)
        self.stores: list[Store] = []
        self.processes: list[Decisions] = []
        self.refused = 0
        self.batches: list[int] = []
        self.decisions = self.more()
        self.store = self.stores[0]

    def more(self, ahead_ms: int = 0, **lane: Any) -> Decisions:
        """A server process whose clock is ahead of the others' by so much."""
        store = make_store(self.settings)
        self.run(store.open())
        decisions = Decisions(
            store.decisions,
            self.sandbox,
            logs=store.logs,
            lane=LaneSettings(**lane),
            limits=LIMITS,
            now_ms=lambda: self.now_ms + ahead_ms,
            observe=self._observe,
        )
        self.stores.append(store)
        self.processes.append(decisions)
        return decisions

    def _observe(self, calls: int, refused: bool) -> None:
        self.batches.append(calls)
        self.refused += refused

    def close(self) -> None:
        for decisions in self.processes:
            self.run(decisions.close())
        for store in self.stores:
            self.run(store.close())

    def experiment(
        self,
        get_action: str = "",
        set_reward: str = "",
        id: str = "e1",
        tenant: str = "ann",
        **properties: Any,
    ) -> str:
        code = {"get_context": "", "get_action": get_action, "get_reward": "", "set_reward": set_reward}
        self.run(
            self.store.decisions.create_experiment(
                Experiment(
                    id=id,
                    key="k",
                    tenant=tenant,
                    name=f"name of {id}",
                    code=code,
                    properties=properties,
                    created_ms=self.now_ms,
                    modified_ms=self.now_ms,
                )
            )
        )
        return id

    def decide(self, context: dict[str, Any] | None = None, id: str = "e1") -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run(self.decisions.get_action(id, "k", context or {})))
        return answer

    def reward(self, reward: Any = 1, id: str = "e1", **fields: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run(self.learn(self.decisions, reward, id, **fields)))
        return answer

    @staticmethod
    async def learn(decisions: Decisions, reward: Any = 1, id: str = "e1", **fields: Any) -> bytes:
        return await decisions.set_reward(id, "k", Reward(reward, **fields))

    def log(self, kind: LogKind, id: str = "e1") -> list[dict[str, Any]]:
        """All rows of a log, oldest first."""
        rows = self.run(self.store.logs.read_log(id, kind, limit=100_000))
        return [json.loads(row.data) for row in reversed(rows)]


@pytest.fixture
def run(io_loop: IOLoop) -> Callable[..., Any]:
    """Runs a coroutine to its end on the loop of the shared sandbox."""
    return lambda coroutine: io_loop.run_sync(lambda: coroutine)


@pytest.fixture
def bench(tmp_path: Path, storage: Storage, run: Callable[..., Any], sandbox: Sandbox) -> Iterator[Bench]:
    bench = Bench(tmp_path, storage, run, sandbox)
    yield bench
    bench.close()
