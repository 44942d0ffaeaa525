"""`python -m bench.processes`, part of `make bench`: two experiments on one server process, and on two.

The load comes from two processes of their own. Where they and the servers share few processors, decisions
per second do not show what two server processes could do. The last column does: a server process is at its
end when its first thread is busy all the time, and so many decisions a second it would then make.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

from bench import cpu
from bench.calls import create, prepared
from bench.load import Result, measure
from tests.support import Server

CONNECTIONS: Final = 128
"""To each of the two experiments: so many that batches are full (`lane.batch`) also where two processes share
them. With fewer, batches of two processes are half as large, and a decision costs them more."""


class Measured(NamedTuple):
    """Decisions per second, microseconds of the servers' first threads for each, and decisions per second
    that these threads have time for."""

    rate: float
    first_us: float
    room: float


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.processes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument(
        "--rounds", type=int, default=3, help="measurements of each kind; medians are printed"
    )
    options = parser.parse_args()
    table(options.seconds, options.rounds)


def table(seconds: float, rounds: int) -> None:
    """Measure both in turn, and print their table."""
    columns = ("decisions/s", "first us", "room for/s")
    print(f"{'two experiments, E-greedy':32}" + "".join(f"{name:>12}" for name in columns))
    with (
        tempfile.TemporaryDirectory(prefix="streamsim-processes-") as folder,
        Server(Path(folder) / "one") as one,
        Server(Path(folder) / "two", processes=2) as two,
        # Spawned: this process has threads, as of clients.
        ProcessPoolExecutor(2, get_context("spawn")) as loads,
    ):
        requests = {
            server: [prepared(create(server.admin(), "e-greedy"), "e-greedy", "getaction") for _ in range(2)]
            for server in (one, two)
        }
        found: dict[Server, list[Measured]] = {one: [], two: []}
        for _ in range(rounds):
            for server, measurements in found.items():
                measurements.append(measured(server, requests[server], loads, seconds))
    single, double = (median(found[server]) for server in (one, two))
    for title, figures in (("one process", single), ("two processes", double)):
        print(f"{title:32}" + "".join(f"{figure:12.0f}" for figure in figures))
    ratios = double.rate / single.rate, double.first_us / single.first_us, double.room / single.room
    print(f"{'two beside one':32}" + "".join(f"{ratio:12.2f}" for ratio in ratios), flush=True)


def measured(
    server: Server, requests: list[list[bytes]], loads: ProcessPoolExecutor, seconds: float
) -> Measured:
    """Decide for both experiments at once."""
    assert server.process is not None
    pids = [server.process.pid] if server.processes == 1 else server.children()
    before = [cpu.threads(pid).first for pid in pids]
    results: list[Result] = list(
        loads.map(measure, [server.port] * 2, requests, [CONNECTIONS] * 2, [seconds] * 2)
    )
    busy_s = [cpu.threads(pid).first - began for pid, began in zip(pids, before, strict=True)]
    decisions = sum(len(result.latencies_s) for result in results)
    # What it is for all, if the busiest one's share of the calls stays what it is.
    return Measured(
        sum(result.rate for result in results), 1e6 * sum(busy_s) / decisions, decisions / max(busy_s)
    )


def median(rounds: list[Measured]) -> Measured:
    """Of each figure by itself."""
    return Measured(*(statistics.median(figures) for figures in zip(*rounds, strict=True)))


if __name__ == "__main__":
    main()
