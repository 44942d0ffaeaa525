"""`python -m bench.console`: an experiment's page on short and long logs, and what its watchers cost.

The page is opened in Debian's Chromium, and its endpoints are asked by themselves. Then many watchers follow
the live numbers while an application decides: as streams of events, which is what an open tab costs the
server.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench.calls import create, prepared
from bench.load import measure
from streamsim.dates import now_ms
from streamsim.storage.contract.decisions import Transaction
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.sqlite.store import SQLiteStore
from tests.chromium import executable
from tests.support import PASSWORD, Client, Server, request_headers

ROWS = (10_000, 1_000_000)
ENDPOINTS = ("", "/summary", "/health?rows=1000", "/errorlog?limit=5", "/actionlog?limit=50")
CONNECTIONS = 16
_AT_ONCE = 10_000
_EACH = 15


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS, help="of each log")
    parser.add_argument("--tabs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="streamsim-console-") as folder:
            pages(Path(folder), rows)
    with tempfile.TemporaryDirectory(prefix="streamsim-console-") as folder, Server(Path(folder)) as server:
        watched(server, options.tabs, options.seconds, options.rounds)


def pages(folder: Path, rows: int) -> None:
    """Time the page and its endpoints on a log of so many decisions and as many rewards."""
    with Server(folder) as server:
        made = create(server.admin(), "e-greedy")
    asyncio.run(fill(folder / "data" / "streamsim.db", made["id"], rows))
    with Server(folder) as server:
        client = server.admin()
        print(f"\n{rows:,} decisions and as many rewards          median ms")
        for end in ENDPOINTS:
            path = f"/stats/{made['id']}{end}" if end else f"/exp/{made['id']}"
            print(f"GET {path.replace(made['id'], '{id}'):40} {1000 * asked(client, path):12.1f}")
        seconds = first_event(server, client, made["id"])
        print(f"first numbers of /stats/{{id}}/live           {1000 * seconds:12.1f}")
        for name, seconds in opened(server, made["id"]).items():
            print(f"{name:44} {1000 * seconds:12.1f}", flush=True)


async def fill(path: Path, experiment_id: str, count: int) -> None:
    """Put so many decisions and rewards into the logs, the last of now."""
    store = SQLiteStore(path)
    await store.open()
    experiment = await store.decisions.get_experiment(experiment_id)
    assert experiment is not None
    began = now_ms() - count
    for first in range(0, count, _AT_ONCE):
        rows = []
        for n in range(first, min(first + _AT_ONCE, count)):
            made = b'"context":{"n":%d},"action":{"treatment":"%d","propensity":0.5}' % (n, n % 3)
            rows.append(LogRow(experiment_id, "action", f"{n:024x}", began + n, b"{%s}" % made))
            reward = b'{%s,"reward":{"value":%d}}' % (made, n % 7 == 0)
            rows.append(LogRow(experiment_id, "reward", f"{n:023x}r", began + n, reward))
        revision = {experiment_id: experiment.revision}
        await store.decisions.commit(Transaction(experiment.tenant, revision, logs=rows))
    await store.close()


def asked(client: Client, path: str) -> float:
    """Median seconds of an answer."""
    took = []
    for _ in range(_EACH):
        began = time.perf_counter()
        answer = client.get(path)
        took.append(time.perf_counter() - began)
        assert answer.status == 200, answer
    return statistics.median(took)


def following(server: Server, client: Client, experiment_id: str) -> socket.socket:
    """A stream of live numbers that has begun."""
    stream = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    headers = {"Host": "x", "Accept": "text/event-stream", **request_headers(client.cookies, None)}
    lines = [f"GET /stats/{experiment_id}/live HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    stream.sendall("\r\n".join([*lines, "", ""]).encode())
    received = b""
    while b"event: " not in received:
        part = stream.recv(1 << 16)
        assert part, received[:300]
        received += part
    return stream


def first_event(server: Server, client: Client, experiment_id: str) -> float:
    """Median seconds until a stream tells its first numbers."""
    took = []
    for _ in range(_EACH):
        began = time.perf_counter()
        following(server, client, experiment_id).close()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def opened(server: Server, experiment_id: str) -> dict[str, float]:
    """Median seconds until the page shows its tables and checks: first after a log-in, and once more."""
    program = executable()
    if program is None:
        return {}
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    first, again = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--disable-gpu", *root])
        for _ in range(5):
            context = browser.new_context()
            page = context.new_page()
            page.goto(server.url)
            page.get_by_label("User name").fill("admin")
            page.get_by_label("Password", exact=True).fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.get_by_role("navigation", name="Areas").wait_for()
            page.goto("about:blank")
            for took in (first, again):
                began = time.perf_counter()
                page.goto(f"{server.url}/#/experiments/{experiment_id}")
                page.locator("table tbody tr").first.wait_for()
                page.locator(".checks").wait_for()
                took.append(time.perf_counter() - began)
                page.goto("about:blank")
            context.close()
        browser.close()
    return {
        "page complete, new browser": statistics.median(first),
        "page complete, again": statistics.median(again),
    }


def watched(server: Server, tabs: int, seconds: float, rounds: int) -> None:
    """Decisions a second without and with watchers, in turns."""
    client = server.admin()
    made = create(client, "e-greedy")
    requests = prepared(made, "e-greedy", "getaction")
    measure(server.port, requests, CONNECTIONS, 1.0)
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        rates[0].append(measure(server.port, requests, CONNECTIONS, seconds).rate)
        streams = [following(server, client, made["id"]) for _ in range(tabs)]
        reading = Reading(streams)
        rates[1].append(measure(server.port, requests, CONNECTIONS, seconds).rate)
        reading.close()
    alone, beside = (statistics.median(some) for some in rates)
    shown = f"{alone:.0f}/s alone, {beside:.0f}/s beside {tabs} tabs"
    print(f"\ngetaction x{CONNECTIONS}: {shown}: {beside / alone:.3f}")


class Reading:
    """Another process that reads what watchers are sent, as browsers would."""

    def __init__(self, streams: Sequence[socket.socket]) -> None:
        self._streams = streams
        self._pid = os.fork()
        if self._pid == 0:
            for stream in streams:
                stream.settimeout(None)
            asyncio.run(self._read())
            os._exit(0)

    async def _read(self) -> None:
        async def one(stream: socket.socket) -> None:
            stream.setblocking(False)
            while await asyncio.get_running_loop().sock_recv(stream, 1 << 16):
                pass

        await asyncio.gather(*map(one, self._streams))

    def close(self) -> None:
        """End the streams and the process."""
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        for stream in self._streams:
            stream.close()


if __name__ == "__main__":
    main()
