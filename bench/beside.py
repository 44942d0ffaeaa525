"""`python -m bench.beside`: latency of decisions alone, and beside off-policy evaluations of a large log."""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from pathlib import Path

from bench.calls import create, prepared
from bench.load import Result, measure
from tests.support import Client, Server

CONNECTIONS = 4


def log(rows: int) -> str:
    """An uploaded log with a context, as CSV."""
    rng = random.Random(1)
    lines = [
        f"{rng.choice('ab')},{int(rng.random() < 0.3)},0.5,{rng.random():.3f},{rng.choice('xyz')}"
        for _ in range(rows)
    ]
    return "\n".join(["action,reward,propensity,context.age,context.kind", *lines])


def evaluating(client: Client, path: str, body: object, ended: threading.Event, took: list[float]) -> None:
    """Evaluate again and again."""
    while not ended.is_set():
        began = time.monotonic()
        answer = client.post(path, body)
        assert answer.status == 200, answer.body
        took.append(time.monotonic() - began)


def row(title: str, result: Result) -> None:
    """Print one line of the table."""
    figures = (result.rate, result.quantile_ms(0.5), result.quantile_ms(0.99), result.quantile_ms(0.999))
    print(f"{title:32}" + "".join(f"{figure:>11.1f}" for figure in figures), flush=True)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.beside", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="length of one measurement")
    parser.add_argument("--rows", type=int, default=100_000, help="of the log")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="streamsim-bench-") as folder, Server(Path(folder)) as server:
        client = server.admin()
        experiment = create(client, "e-greedy")
        requests = prepared(experiment, "e-greedy", "getaction")
        columns = ("req/s", "p50 ms", "p99 ms", "p99.9 ms")
        print(f"{'decisions':32}" + "".join(f"{name:>11}" for name in columns))
        row("alone", measure(server.port, requests, CONNECTIONS, options.seconds))
        code = 'self.action["arm"] = "a"\nself.action_probabilities = {"a": 0.8, "b": 0.2}'
        body = {"candidate": {"code": {"get_action": code}}, "log": log(options.rows), "format": "csv"}
        ended, took = threading.Event(), list[float]()
        path = f"/eval/{experiment['id']}/offpolicy"
        thread = threading.Thread(target=evaluating, args=(client, path, body, ended, took))
        thread.start()
        row("beside an evaluation", measure(server.port, requests, CONNECTIONS, options.seconds))
        ended.set()
        thread.join()
        print(f"evaluations of {options.rows:,} rows: {', '.join(f'{s:.1f}' for s in took)} s")


if __name__ == "__main__":
    main()
