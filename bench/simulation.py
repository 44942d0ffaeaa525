"""`python -m bench.simulation`: what simulations cost, and what they cost live decisions.

1. Simulated draws beside two bare loops of the same four compiled pieces on dicts in one process, timed in
   turn by CPU time. "bare" has one namespace and hands out its dicts themselves, so that a piece sees the
   variables of another, and changes theta by changing what it got; "apart" makes a namespace for each piece
   and copies the dicts.
2. Replications on two workers beside one.
3. Latency of getaction with and without a simulation of a million draws.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.load import Result, measure, request
from streamsim.config import EvaluationSettings
from streamsim.decisions.wire import PIECES
from streamsim.evaluation.pools import LocalPool
from streamsim.evaluation.replicated import replicated
from streamsim.evaluation.requests import Replications
from streamsim.evaluation.wire import SimulationLoad
from streamsim.evaluation.workers import BatchWorkers
from streamsim.experiments import catalogue
from streamsim.programs.experiment import namespace
from streamsim.programs.simulate import Program
from streamsim.programs.theta import copied
from streamsim.sandbox.host.pool import Limits
from streamsim.sandbox.worker.clock import Clock
from tests.support import Server

ENTRIES = {entry.slug: entry for entry in catalogue.entries()}
POLICIES = {"e-greedy": 1000, "bernoulli-thompson": 600, "linucb": 150}

DRAWS = 10_000  # of a replication


class Bare:
    """`self` of policy code, with nothing behind it but dicts."""

    def __init__(self, apart: bool) -> None:
        self.theta: dict[str, dict[str, dict[str, Any]]] = {}
        self.apart = apart

    def get_theta(self, key: str, value: str | None = None) -> dict[str, Any]:
        group = self.theta.get(key, {})
        if self.apart:
            return copied(group if value is None else group.get(value, {}))  # type: ignore[no-any-return]
        return group if value is None else group.get(value, {})

    def set_theta(self, thetas: Any, key: str, value: str) -> None:
        self.theta.setdefault(key, {}).setdefault(value, {}).update(thetas.get_dict())


class Silent:
    """A channel that leads nowhere."""

    clock = Clock()

    def progress(self, finished: int) -> None:
        """Nobody listens."""


def bare_s(code: dict[str, str], draws: int, apart: bool) -> float:
    """CPU seconds of a draw in a bare loop."""
    own: Any = Bare(apart)
    names = {**namespace(object), "self": own}  # type: ignore[arg-type]
    context, action, reward, learn = (compile(code[piece], f"<{piece}>", "exec") for piece in PIECES)
    random.seed(1)
    np.random.seed(1)
    began = time.process_time()
    for _ in range(draws):
        own.context, own.action, own.reward = {}, {}, {}
        for piece in (context, action, reward, learn):
            exec(piece, names.copy() if apart else names)
    return (time.process_time() - began) / draws


def simulated_s(code: dict[str, str], draws: int, curve: bool = False) -> float:
    """CPU seconds of a draw in the program that sandboxed workers run. `curve`: with the sums of a job."""
    program = Program(("e", code, {}, 1), Silent())  # type: ignore[arg-type]
    began = time.process_time()
    assert program.handle((draws, False, curve)).draws == draws
    return (time.process_time() - began) / draws


def costs(rounds: int) -> None:
    """Print part 1: the least time of each, and the median of the ratios of neighbours in time."""
    print(
        f"{'one draw':18}{'bare us':>9}{'apart us':>9}{'ours us':>9}{'job us':>8}{'/ bare':>8}{'/ apart':>9}"
    )
    for slug, draws in POLICIES.items():
        code = ENTRIES[slug].code
        found = [
            (
                bare_s(code, draws, False),
                simulated_s(code, draws),
                bare_s(code, draws, True),
                simulated_s(code, draws, True),
            )
            for _ in range(rounds)
        ]
        bare, ours, apart, job = (1e6 * min(times[place] for times in found) for place in range(4))
        to_bare = statistics.median(times[1] / times[0] for times in found)
        to_apart = statistics.median(times[1] / times[2] for times in found)
        print(
            f"{slug:18}{bare:9.1f}{apart:9.1f}{ours:9.1f}{job:8.1f}{to_bare:8.2f}{to_apart:9.2f}", flush=True
        )


async def speed(workers: int, replications: int, draws: int) -> float:
    """Seconds of so many replications on so many workers; the zygote is started before."""
    batch = BatchWorkers(EvaluationSettings(workers=workers), Limits())
    load = {"x": SimulationLoad("e", ENTRIES["e-greedy"].code, {}, 1)}
    nest: Any = None
    try:
        for count in (1, replications):
            wanted = Replications(draws=draws, replications=count, seed=1, theta="empty")
            began = time.perf_counter()
            await replicated(LocalPool(batch), load, nest, wanted, identity="bench")
        return time.perf_counter() - began
    finally:
        await batch.close()


def scaling(rounds: int) -> None:
    """Print part 2."""
    ones, twos = [], []
    for _ in range(rounds):
        ones.append(asyncio.run(speed(1, 64, DRAWS)))
        twos.append(asyncio.run(speed(2, 64, DRAWS)))
    one, two = statistics.median(ones), statistics.median(twos)
    ratio = statistics.median(a / b for a, b in zip(ones, twos, strict=True))
    print(
        f"64 replications of {DRAWS:,} draws: 1 worker {one:.2f} s, 2 workers {two:.2f} s, ratio {ratio:.2f}",
        flush=True,
    )


def latency(seconds: float, rounds: int) -> None:
    """Print part 3."""
    with (
        tempfile.TemporaryDirectory(prefix="streamsim-bench-") as folder,
        Server(Path(folder), settings={"evaluation.job_draws": 10**12}) as server,
    ):
        client = server.admin()
        made = client.post("/exp", {"name": "live", **ENTRIES["e-greedy"].code}).body
        calls = [request("GET", f"/getaction/{made['id']}?key={made['key']}")]
        measure(server.port, calls, 1, 1.0)
        quiet, loaded = list[Result](), list[Result]()
        for _ in range(rounds):
            quiet.append(measure(server.port, calls, 1, seconds))
            job = client.post(f"/eval/{made['id']}/simulations", {"N": 1_000_000}).headers["location"]
            while client.get(job).body["state"] != "running":
                time.sleep(0.05)
            time.sleep(0.5)
            loaded.append(measure(server.port, calls, 1, seconds))
            assert client.get(job).body["state"] == "running"
            client.delete(job)
            while client.get(job).body["state"] == "running":
                time.sleep(0.05)
        for name, results in (("alone", quiet), ("beside a simulation", loaded)):
            p50, p99 = (statistics.median(r.quantile_ms(q) for r in results) for q in (0.5, 0.99))
            print(f"getaction {name:24} p50 {p50:6.2f} ms  p99 {p99:6.2f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement of latency")
    options = parser.parse_args()
    costs(20 * options.rounds)
    scaling(options.rounds)
    latency(options.seconds, options.rounds)


if __name__ == "__main__":
    main()
