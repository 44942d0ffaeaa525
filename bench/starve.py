"""`python -m bench.starve`: what a user's flood costs another: latency alone and beside it, and refusals."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.flooding import Flooding
from bench.floods import FAST, FLOODS, Flood, User
from streamsim import slices
from streamsim.decisions.decisions import DECIDING_S
from tests.support import Server


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.starve", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument("--flood", choices=FLOODS, action="append", help="this one alone; may be repeated")
    options = parser.parse_args()
    table(options.seconds, options.flood or list(FLOODS))


def table(seconds: float, names: list[str]) -> None:
    """Each flood on a server of its own."""
    heading("resource")
    for name in names:
        settings = {"server.drain_s": 1}
        with (
            tempfile.TemporaryDirectory(prefix="streamsim-starve-") as folder,
            Server(Path(folder), settings=settings) as server,
        ):
            row(server, name, seconds)


def heading(first: str, second: str = "flood") -> None:
    """Print the names of the columns."""
    # The victim's clock is on another machine, as it were: what computes here does not stop it. So it is not
    # on a processor either that is left to long calls.
    slices.ask(slices.SHORTEST_S)
    columns = "".join(f"{name:>10}" for name in ("p50 ms", "p99 ms", "beside", "beside", "refused"))
    print(f"{first:16}{second:26}{columns}")


def row(server: Server, name: str, seconds: float) -> None:
    """Measure another user of a server alone and beside a flood, and print it."""
    flood = FLOODS[name]
    victim = User(server, "victim", flood, [FAST])
    measured(victim, flood, 0.5)
    alone = measured(victim, flood, seconds, flood.pause_s)
    with Flooding(server, name):
        # What it did first, such as to decide, is over.
        time.sleep(DECIDING_S + 0.5)
        beside = measured(victim, flood, seconds, flood.pause_s)
    print_row(flood.resource, name, alone, beside)


def print_row(
    first: str, second: str, alone: tuple[list[float], int], beside: tuple[list[float], int]
) -> None:
    """What was measured alone and beside something, by `measured`."""
    figures = "".join(f"{quantile(some, q):10.1f}" for some in (alone[0], beside[0]) for q in (0.5, 0.99))
    print(f"{first:16}{second:26}{figures}{beside[1]:10}", flush=True)


def measured(victim: User, flood: Flood, seconds: float, pause_s: float = 0.0) -> tuple[list[float], int]:
    """Latencies in ms of the victim's requests, one after the other, and how many had no 2xx."""
    until = time.monotonic() + seconds
    return measured_while(victim, flood, lambda: time.monotonic() < until, pause_s)


def measured_while(
    victim: User, flood: Flood, more: Callable[[], bool], pause_s: float = 0.0
) -> tuple[list[float], int]:
    """As `measured`, as long as there is `more`, with a pause after each request."""
    latencies, refused = list[float](), 0
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    while not latencies or more():
        method, path, body = flood.victim(victim.experiments[0])
        began = time.perf_counter()
        answer = victim.client.request(method, path, body=body)
        latencies.append(1000 * (time.perf_counter() - began))
        refused += not 200 <= answer.status < 300
        if pause_s:
            time.sleep(pause_s)
    os.sched_setaffinity(0, every)
    return latencies, refused


def quantile(latencies: list[float], share: float) -> float:
    """A quantile of latencies."""
    if len(latencies) == 1:
        return latencies[0]
    return statistics.quantiles(latencies, n=100, method="inclusive")[round(share * 100) - 1]


if __name__ == "__main__":
    main()
