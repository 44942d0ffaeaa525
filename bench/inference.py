"""`python -m bench.inference`: the time of looks at inference on a log of a million decisions with rewards.

The first look reads the whole log, in as many requests as its time allows; each prints its time. Then looks
with nothing new, and with some new decisions before each.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from streamsim.dates import HOUR_MS, now_ms
from streamsim.storage.contract.decisions import Transaction
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.sqlite.store import SQLiteStore
from tests.support import Client, Server

_AT_ONCE = 10_000
_LOOKS = 5
_MEANS = {"a": 0.3, "b": 0.32}
DECLARED: dict[str, Any] = {
    "arm_field": "arm",
    "arms": ["a", "b"],
    "control": "a",
    "advice_id": True,
    "delta_hours": 1,
    "rewards": {"family": "bernoulli"},
}


def main() -> int:
    """Fill, look and print. The exit status is 1 if a look after the first takes a second or more."""
    parser = argparse.ArgumentParser(prog="python -m bench.inference", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="streamsim-inference-") as name:
        folder = Path(name)
        with Server(folder) as server:
            created = server.admin().post("/exp", {"name": "logged", **DECLARED}).body["id"]
        path = folder / "data" / "streamsim.db"
        week_ms = 7 * 24 * HOUR_MS
        asyncio.run(fill(path, created, 0, options.rows, now_ms() - week_ms - 3 * HOUR_MS, week_ms))
        with Server(folder) as server:
            return look(server.admin(), path, created, options.rows)


async def fill(path: Path, experiment_id: str, first: int, count: int, from_ms: int, span_ms: int) -> None:
    """Put decisions and their rewards, which come a minute later, into the logs."""
    rng = random.Random(first)
    store = SQLiteStore(path)
    await store.open()
    for start in range(first, first + count, _AT_ONCE):
        decisions, rewards = [], []
        for number in range(start, min(start + _AT_ONCE, first + count)):
            date_ms = from_ms + (number - first) * span_ms // count
            chance = 0.2 + 0.6 * rng.random()
            arm = "a" if rng.random() < chance else "b"
            taken = chance if arm == "a" else 1 - chance
            known = b'{"context":{"n":%d},"action":{"arm":"%b"},"advice_id":"%032x"' % (
                number % 1000,
                arm.encode(),
                number,
            )
            told = b',"propensity":%r,"probabilities":{"a":%r,"b":%r}}' % (taken, chance, 1 - chance)
            reward = b',"reward":%d}' % (rng.random() < _MEANS[arm])
            decisions.append(LogRow(experiment_id, "action", f"a{number:024x}", date_ms, known + told))
            came_ms = date_ms + 60_000
            rewards.append(LogRow(experiment_id, "reward", f"r{number:024x}", came_ms, known + reward))
        for rows in (decisions, rewards):
            await store.decisions.commit(Transaction("admin", {experiment_id: 1}, logs=rows))
    await store.close()


def look(client: Client, path: Path, experiment_id: str, rows: int) -> int:
    """Look again and again, and print how long each took."""
    while True:
        seconds, answer = timed(client, experiment_id)
        print(f"first look, {rows:,} decisions: {seconds:.1f} s, status {answer.status}", flush=True)
        if answer.status == 200:
            break
    times = []
    for number in range(2 * _LOOKS):
        more = 0 if number < _LOOKS else 1000
        asyncio.run(fill(path, experiment_id, rows, more, now_ms() - 3 * HOUR_MS, HOUR_MS))
        rows += more
        seconds, answer = timed(client, experiment_id)
        counts = answer.body["rows"]
        times.append(seconds)
        print(
            f"look with {more:,} more: {seconds:.2f} s, {counts['read']:,} rows read of "
            f"{counts['decisions']:,} decisions; {answer.body['segments'][0]['sentence']}",
            flush=True,
        )
    return int(max(times) >= 1)


def timed(client: Client, experiment_id: str) -> tuple[float, Any]:
    """A look, and how long it took."""
    began = time.monotonic()
    answer = client.get(f"/stats/{experiment_id}/inference")
    return time.monotonic() - began, answer


if __name__ == "__main__":
    sys.exit(main())
