"""`python -m bench.fuzz`: drawn requests to our HTTP server and to Tornado's; where do they differ?"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
from pathlib import Path

import tornado.netutil

from streamsim import config
from streamsim.server.compose import running
from streamsim.server.http.application import make_application
from streamsim.server.http.server import make_server
from tests.server.http.differential import SETTINGS, compare

_AT_ONCE = 2_000


def main() -> None:
    """Compare, and print what differs."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--connections", type=int, default=70_000, help="each sends one to six requests")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="streamsim-fuzz-") as folder:
        if not asyncio.run(fuzz(Path(folder), options.seed, options.connections)):
            sys.exit("they differ, or ours failed: see above")


async def fuzz(folder: Path, seed: int, connections: int) -> bool:
    """Both servers on one application, and so many connections to each; whether they differ as is known."""
    settings = config.load(overrides={"storage.data": str(folder), **SETTINGS})
    async with running(settings, upkeep=False) as services:
        application = await make_application(services)
        servers, ports = [], {}
        for name in ("fast", "tornado"):
            server = await make_server(
                application,
                config.load(overrides={"storage.data": str(folder), **SETTINGS, "server.http": name}),
            )
            sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
            await server.listen_on(sockets)
            servers.append(server)
            ports[name] = sockets[0].getsockname()[1]
        requests, stricter, right = 0, dict[str, int](), True
        for begun in range(0, connections, _AT_ONCE):
            found = await compare(ports, seed + begun, min(_AT_ONCE, connections - begun))
            requests += found.requests
            right = right and not found.wrong and not found.failed
            for reason, times in found.stricter.items():
                stricter[reason] = stricter.get(reason, 0) + times
            for pieces, ours, theirs in found.wrong:
                print("DIFFERS", pieces, ours[-300:], theirs[-300:], sep="\n  ")
            for pieces in found.failed:
                print("500", pieces, sep="\n  ")
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            print(
                f"{begun + found.compared} connections, {requests} answers, {memory} MiB at most", flush=True
            )
        for reason, times in sorted(stricter.items()):
            print(f"ours was stricter {times} times: {reason}")
        for server in servers:
            await server.close()
    return right


if __name__ == "__main__":
    main()
