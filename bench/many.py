"""`python -m bench.many`, part of `make bench`: a thousand live experiments on one server process.

What each costs in memory, how long its first call after a pause takes, and how long calls take that keep a
few or all of them busy: with the default number of workers, of which idle ones end for others, and with one
each. Memory counts what processes share once. Only root may read that of confined processes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Final

from bench import cpu
from bench.calls import create, prepared
from bench.load import Result, measure
from tests.support import Server

DEFAULT_WORKERS: Final = 32
CONNECTIONS: Final = 16
FEW: Final = 20
"""Experiments that are busy while all others idle."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.many", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument("--experiments", type=int, default=1000)
    options = parser.parse_args()
    table(options.seconds, options.experiments)


def table(seconds: float, experiments: int = 1000) -> None:
    """Measure both, and print their table."""
    columns = ("workers", "server KiB", "worker KiB", "first p50", "first p99", "few p99", "all/s", "all p99")
    title = f"{experiments:,} experiments, E-greedy"
    print(f"{title:32}" + "".join(f"{name:>12}" for name in columns))
    # One user has seven of eight workers at most.
    for name, workers in (("default", DEFAULT_WORKERS), ("one each", experiments * 8 // 7 + 8)):
        with tempfile.TemporaryDirectory(prefix="streamsim-many-") as folder:
            settings = {"sandbox.workers": workers}
            with Server(Path(folder), settings=settings) as server:
                row(name, figures(server, experiments, seconds))


def figures(server: Server, experiments: int, seconds: float) -> tuple[float, ...]:
    """Measure one server; memory is of one experiment, latencies are in ms."""
    assert server.process is not None
    pid, client = server.process.pid, server.admin()
    made = [create(client, "e-greedy", f"{number}") for number in range(experiments)]
    one_each = [prepared(experiment, "e-greedy", "getaction")[0] for experiment in made]
    measure(server.port, one_each[:1], 1, 0.5)  # what the first call of all brings with it
    server_kib, below_kib = cpu.memory_kib(pid), cpu.memory_below_kib(pid)
    first = once(server, one_each[1:])
    live = len(cpu.below(pid))
    server_kib, below_kib = cpu.memory_kib(pid) - server_kib, cpu.memory_below_kib(pid) - below_kib
    workers = min(experiments, live)
    few = measure(server.port, one_each[-FEW:] * 10, CONNECTIONS, seconds)
    every = measure(server.port, one_each, CONNECTIONS, seconds)
    return (
        workers,
        server_kib / (experiments - 1),
        below_kib / max(workers - 1, 1),
        first.quantile_ms(0.5),
        first.quantile_ms(0.99),
        few.quantile_ms(0.99),
        every.rate,
        every.quantile_ms(0.99),
    )


def once(server: Server, requests: list[bytes]) -> Result:
    """Send each request once, one after the other."""
    result = Result()
    for request in requests:
        result.latencies_s += measure(server.port, [request], 1, 0.0).latencies_s
    return result


def row(title: str, figures: tuple[float, ...]) -> None:
    """Print one line of the table."""
    whole, rest = figures[:3], figures[3:]
    print(
        f"{title:32}"
        + "".join(f"{figure:12.0f}" for figure in whole)
        + "".join(f"{figure:12.1f}" for figure in rest),
        flush=True,
    )


if __name__ == "__main__":
    main()
