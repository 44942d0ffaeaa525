"""`python -m bench.beside_jobs`: ten-row requests beside a job of 4,000,000 draws.

How long off-policy evaluations of ten rows, comparisons and simulations of ten draws take while the job keeps
all processes of jobs busy. The exit status is 1 if one of them takes more than 2 s, or the job did not run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.calls import create
from tests.support import Answer, Client, Server

MOST_S = 2.0
ROWS = '{"action": {"arm": "a"}, "reward": {"value": 1}, "propensity": 0.5}\n' * 10
CODE = 'self.action["arm"] = "a"\nself.action_probabilities = {"a": 0.8, "b": 0.2}'


def asked(client: Client, id: str) -> dict[str, Callable[[], Answer]]:
    """The requests by name."""
    offline = {"candidate": {"code": {"get_action": CODE}}, "log": ROWS}
    return {
        "off-policy, 10 rows": lambda: client.post(f"/eval/{id}/offpolicy", offline),
        "compare, 10 draws": lambda: client.post("/eval/compare", {"experiments": [id], "N": 10}),
        "simulate, 10 draws": lambda: client.get(f"/eval/{id}/simulate", N=10),
    }


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.beside_jobs", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long requests are sent")
    parser.add_argument("--draws", type=int, default=4_000_000, help="of the job")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="streamsim-bench-") as folder, Server(Path(folder)) as server:
        client = server.admin()
        id = create(client, "bernoulli-thompson")["id"]
        requests = asked(client, id)
        took: dict[str, list[float]] = {name: [] for name in requests}
        body = {"N": options.draws // 2, "replications": 2, "seed": 1}
        job = client.post(f"/eval/{id}/simulations", body).body["id"]
        path = f"/eval/{id}/simulations/{job}"
        while client.get(path).body["progress"]["done"] == 0:
            time.sleep(0.2)
        ends = time.monotonic() + options.seconds
        while time.monotonic() < ends:
            for name, ask in requests.items():
                began = time.monotonic()
                answer = ask()
                took[name].append(time.monotonic() - began)
                assert answer.status == 200, answer.body
        shown = client.get(path).body
        client.delete(path)
    progress = shown["progress"]
    print(f"the job: {shown['state']}, {progress['done']:,} of {progress['total']:,} draws")
    print(f"{'request':22}{'number':>8}{'p50 s':>8}{'most s':>8}")
    for name, found in took.items():
        print(f"{name:22}{len(found):>8}{np.median(found):>8.2f}{max(found):>8.2f}")
    slow = max(map(max, took.values())) > MOST_S
    return 1 if slow or shown["state"] != "running" else 0


if __name__ == "__main__":
    sys.exit(main())
