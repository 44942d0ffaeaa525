"""`make demo`: a classifier that learns from rewards alone, played over HTTP.

Starts a server on a free port with a temporary data folder and, as any client would, creates an experiment
from the catalogue's LinUCB and plays scikit-learn's 1,797 handwritten digits (64 pixels, 10 arms, reward 1
for the right digit) through it, each digit once.
"""

from __future__ import annotations

import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

from tests.support import Client, Server

LAST = 500
GOAL = 0.90
SEED = 1


def digits() -> Iterator[tuple[list[float], str]]:
    """Pixels from 0 to 1 and the right digit, in a shuffled order."""
    images, labels = load_digits(return_X_y=True)
    for index in np.random.default_rng(SEED).permutation(len(labels)):
        yield (images[index] / 16).round(4).tolist(), str(labels[index])


def policy(client: Client) -> dict[str, str]:
    """The four pieces of LinUCB from the server's catalogue."""
    names = client.get("/exp/defaults").body
    number = next(number for number, name in names.items() if name.startswith("LinUCB"))
    found = client.get(f"/exp/defaults/{number}").body
    return {piece: found[piece] for piece in ("get_context", "get_action", "get_reward", "set_reward")}


def play(client: Client) -> float:
    """Play all digits; the accuracy over the last 500."""
    created = client.post("/exp", {"name": "digits", **policy(client)}).body
    key, path = created["key"], created["id"]
    right: deque[int] = deque(maxlen=LAST)
    rounds = list(digits())
    with tqdm(rounds, unit=" digits", file=sys.stdout, mininterval=0.1 if sys.stdout.isatty() else 5) as bar:
        for features, digit in bar:
            context = {"features": features}
            decided = client.post(f"/getaction/{path}", {"key": key, "context": context}).body
            hit = int(decided["action"]["arm"] == digit)
            body = {"key": key, "context": context, "action": decided["action"], "reward": {"value": hit}}
            learned = client.post(f"/setreward/{path}", body)
            if learned.status != 200:
                raise RuntimeError(f"setreward answered {learned.status}: {learned.body}")
            right.append(hit)
            bar.set_postfix_str(f"right among the last {len(right)}: {np.mean(right):.3f}", refresh=False)
    print(f"summary: {client.get(f'/stats/{path}/summary').body}")
    return float(np.mean(right))


def main() -> int:
    """Play; 0 if at least 0.90 of the last 500 were right."""
    with tempfile.TemporaryDirectory(prefix="streamsim-demo-") as folder, Server(Path(folder)) as server:
        print(f"{__doc__}\nserver: {server.url}", flush=True)
        accuracy = play(server.admin())
    print(f"accuracy over the last {LAST} digits: {accuracy:.3f} (goal {GOAL:.2f})")
    return 0 if accuracy >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
