"""`make bench`: requests per second and latency of the service beside a bare Tornado handler.

Both answer the same bytes to the same client on the same machine, in turn, several rounds; what is printed is
the median over the rounds, and the ratio of the medians. One table for each storage backend; then where the
processor's time of a decision goes, two server processes beside one, and a thousand experiments; then
sessions and sweeps of simulation models beside a BptkServer, whole runs beside the libraries called directly,
how long one request holds up all others, and what one user's floods, and hostile code on each kind of
machine, cost another.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench import engines, kinds, many, models, processes, stages, stall, starve
from bench.calls import Bare, create, prepared, used_by
from bench.floods import FLOODS
from bench.load import Result, measure
from tests.backends import Storage, production
from tests.servers import MongoServer, RedisServer
from tests.support import Client, Server

POLICIES = {"E-greedy": "e-greedy", "Bernoulli Thompson": "bernoulli-thompson"}
CONNECTIONS = (16, 64, 256)
# Both sync every commit to disk before it is answered.
BACKENDS = {"sqlite": "SQLite, synchronous=FULL", "production": "Redis, appendfsync=always"}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument(
        "--rounds", type=int, default=3, help="measurements of each kind; medians are printed"
    )
    parser.add_argument(
        "--backend", choices=BACKENDS, action="append", help="measure this one alone; may be repeated"
    )
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamsim-bench-")))
        for backend in options.backend or BACKENDS:
            table(backend, BACKENDS[backend], folder / backend, options.seconds, options.rounds)
    if not options.backend:
        stages.table(options.seconds, options.rounds)
        processes.table(options.seconds, options.rounds)
        many.table(options.seconds)
        models.compare(options.seconds, options.rounds)
        engines.compare(options.rounds)
        stall.table()
        starve.table(options.seconds, list(FLOODS))
        kinds.table(kinds.ALONE_S)


def table(backend: str, title: str, folder: Path, seconds: float, rounds: int) -> None:
    """Measure one server process on one backend, and print its table."""
    with ExitStack() as stack:
        server = stack.enter_context(Server(folder, settings=storage(backend, folder, stack)))
        client = server.admin()
        columns = ("req/s", "p50 ms", "p99 ms", "bare/s", "ratio", "server us", "workers us")
        print(f"{title:32}" + "".join(f"{name:>11}" for name in columns))
        for policy, slug in POLICIES.items():
            experiment = create(client, slug)
            for call in ("getaction", "setreward"):
                requests = prepared(experiment, slug, call)
                answer = measure(server.port, requests, 1, 0.5).first_answer
                bare_port = stack.enter_context(Bare(answer)).port
                for connections in CONNECTIONS:
                    pairs, used = [], [0.0, 0.0]
                    for _ in range(rounds):
                        before = used_by(server)
                        ours = measure(server.port, requests, connections, seconds)
                        used = [one + b - a for one, a, b in zip(used, before, used_by(server), strict=True)]
                        moved(client, experiment["id"])
                        pairs.append((ours, measure(bare_port, requests, connections, seconds)))
                    answers = sum(len(ours.latencies_s) for ours, _ in pairs)
                    each_us = [1e6 * one / answers for one in used]
                    row(f"{policy} {call} x{connections}", pairs, *each_us)


def moved(client: Client, experiment_id: str) -> None:
    """Wait until MongoDB has all rows: in 20 s as many are decided as may wait for it at most."""
    while client.get(f"/stats/{experiment_id}/actionlog", limit=1).status != 200:
        time.sleep(0.5)


def storage(backend: str, folder: Path, stack: ExitStack) -> Storage:
    """Settings of a new installation on servers of its own."""
    if backend == "sqlite":
        return {}
    redis, mongo = RedisServer(folder / "redis"), MongoServer(folder / "mongo")
    for server in (redis, mongo):
        server.start()
        stack.callback(server.stop)
    # MongoDB is given rows when decisions are answered, and has a machine of its own. What stands in for it
    # takes more of a processor than the service does.
    assert mongo.process is not None
    for thread in Path(f"/proc/{mongo.process.pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(thread.name), 19)
    return production(redis.url, mongo.url)


def row(title: str, pairs: list[tuple[Result, Result]], server_us: float, workers_us: float) -> None:
    """Print one line of the table; the last two are processor time for each answer."""

    def median(of: Callable[[Result], float], which: int) -> float:
        return statistics.median(of(pair[which]) for pair in pairs)

    ours, bare = median(lambda r: r.rate, 0), median(lambda r: r.rate, 1)
    p50, p99 = median(lambda r: r.quantile_ms(0.5), 0), median(lambda r: r.quantile_ms(0.99), 0)
    numbers = f"{ours:11.0f}{p50:11.1f}{p99:11.1f}{bare:11.0f}{ours / bare:11.2f}"
    print(f"{title:32}{numbers}{server_us:11.0f}{workers_us:11.0f}", flush=True)


if __name__ == "__main__":
    main()
