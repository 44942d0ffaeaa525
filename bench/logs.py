"""`python -m bench.logs`: a log of a million rows downloaded whole, and the server's memory meanwhile."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import sys
import tempfile
import time
from pathlib import Path

from streamsim.dates import now_ms
from streamsim.storage.contract.decisions import Transaction
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.sqlite.store import SQLiteStore
from tests.support import Server, request_headers

_AT_ONCE = 10_000
_MIB = 1 << 20


def main() -> int:
    """Fill, download and print. The exit status is 1 if rows are missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.logs", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="streamsim-logs-") as name:
        folder = Path(name)
        with Server(folder) as server:
            created = server.admin().post("/exp", {"name": "logged"}).body["id"]
        asyncio.run(fill(folder / "data" / "streamsim.db", created, options.rows))
        whole = True
        for form in ("json", "csv"):
            with Server(folder) as server:
                whole = download(server, f"/stats/{created}/actionlog?format={form}", options.rows) and whole
    return 0 if whole else 1


async def fill(path: Path, experiment_id: str, count: int) -> None:
    """Put so many decisions into the log."""
    store = SQLiteStore(path)
    await store.open()
    began = now_ms()
    for first in range(0, count, _AT_ONCE):
        rows = [
            LogRow(
                experiment_id,
                "action",
                f"{number:024x}",
                began + number,
                b'{"context":{"n":%d},"action":{"arm":"a"}}' % number,
            )
            for number in range(first, min(first + _AT_ONCE, count))
        ]
        await store.decisions.commit(Transaction("admin", {experiment_id: 1}, logs=rows))
    await store.close()


def download(server: Server, path: str, rows: int) -> bool:
    """Read an answer as it comes; whether it has so many rows."""
    client = server.admin()
    assert server.process is not None
    pid = server.process.pid
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    before, highest, size, found, began = resident(pid), 0, 0, 0, time.monotonic()
    connection.request("GET", path, headers=request_headers(client.cookies, None))
    answer, tail = connection.getresponse(), b""
    while part := answer.read(_MIB):
        size += len(part)
        found += (tail + part).count(b"arm")
        tail = part[-2:]
        highest = max(highest, resident(pid))
    connection.close()
    print(
        f"{path[-4:]}: {found} of {rows} rows, {size / _MIB:.0f} MiB in {time.monotonic() - began:.1f} s; "
        f"resident before {before / _MIB:.1f} MiB, at most {highest / _MIB:.1f} MiB",
        flush=True,
    )
    return found == rows


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    sys.exit(main())
