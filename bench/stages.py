"""`python -m bench.stages`, part of `make bench`: where the processor's time of a decision goes, on SQLite.

The server's first thread does HTTP and the lane, its others the store. In batches of 64 HTTP costs next to
nothing for each decision, so that what the first thread takes there is called the lane's; what it takes
beyond that for a decision that comes by itself is called HTTP's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from bench import cpu
from bench.calls import Bare, create, used_by
from bench.load import measure, request
from tests.support import Server

POLICIES: Final = {"E-greedy": "e-greedy", "LinUCB": "linucb", "LinTS": "lints"}
CONNECTIONS: Final = 64
BATCH: Final = 64
_BATCHING: Final = 4
"""Connections that send batches, so that while some are answered others are decided."""


class Measured(NamedTuple):
    """Decisions per second, and microseconds of processor time for each."""

    rate: float
    first_us: float
    store_us: float
    worker_us: float


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.stages", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument(
        "--rounds", type=int, default=3, help="measurements of each kind; medians are printed"
    )
    options = parser.parse_args()
    table(options.seconds, options.rounds)


def table(seconds: float, rounds: int) -> None:
    """Measure one server process, and print its table."""
    columns = ("decisions/s", "of bare", "HTTP us", "lane us", "store us", "worker us", "all us")
    print(f"{'processor time of a decision':32}" + "".join(f"{name:>12}" for name in columns))
    with tempfile.TemporaryDirectory(prefix="streamsim-stages-") as folder, Server(Path(folder)) as server:
        for policy, slug in POLICIES.items():
            experiment = create(server.admin(), slug)
            singles, batches = requests(experiment)
            answer = measure(server.port, singles, 1, 0.5).first_answer
            with Bare(answer) as bare:
                found = [
                    (
                        measured(server, singles, CONNECTIONS, 1, seconds),
                        measured(server, batches, _BATCHING, BATCH, seconds),
                        measure(bare.port, singles, CONNECTIONS, seconds).rate,
                    )
                    for _ in range(rounds)
                ]
            single, batch = (median([one[kind] for one in found]) for kind in (0, 1))
            rate = statistics.median(one[2] for one in found)
            http_us = max(0.0, single.first_us - batch.first_us)
            row(f"{policy}, single x{CONNECTIONS}", single, rate, http_us)
            row(f"{policy}, batches of {BATCH}", batch, rate, 0.0)


def requests(experiment: dict[str, str]) -> tuple[list[bytes], list[bytes]]:
    """Requests of one decision each, and of a batch each, with features that vary."""
    contexts = [
        {"customer": i, "country": "NL", "features": [20 + i % 50, i % 7 / 7, i % 2]} for i in range(200)
    ]
    path = f"/getaction/{experiment['id']}"
    singles = [
        request("GET", f"{path}?key={experiment['key']}&context={quote(json.dumps(context))}")
        for context in contexts
    ]
    batches = []
    for start in range(0, 192, BATCH):
        body = {"key": experiment["key"], "contexts": contexts[start : start + BATCH]}
        batches.append(request("POST", path, json.dumps(body).encode()))
    return singles, batches


def measured(
    server: Server, requests: list[bytes], connections: int, decisions: int, seconds: float
) -> Measured:
    """Send requests of so many decisions each."""
    assert server.process is not None
    pid = server.process.pid
    threads, workers = cpu.threads(pid), used_by(server).workers
    result = measure(server.port, requests, connections, seconds)
    each_us = 1e6 / (decisions * len(result.latencies_s))
    after = cpu.threads(pid)
    return Measured(
        result.rate * decisions,
        (after.first - threads.first) * each_us,
        (after.others - threads.others) * each_us,
        (used_by(server).workers - workers) * each_us,
    )


def median(rounds: list[Measured]) -> Measured:
    """Of each figure by itself."""
    return Measured(*(statistics.median(figures) for figures in zip(*rounds, strict=True)))


def row(title: str, one: Measured, bare: float, http_us: float) -> None:
    """Print one line of the table."""
    total_us = one.first_us + one.store_us + one.worker_us
    figures = (http_us, one.first_us - http_us, one.store_us, one.worker_us, total_us)
    print(
        f"{title:32}{one.rate:12.0f}{one.rate / bare:12.2f}"
        + "".join(f"{figure:12.0f}" for figure in figures),
        flush=True,
    )


if __name__ == "__main__":
    main()
