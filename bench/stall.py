"""`python -m bench.stall`: how long one request can hold up all others, by the shape of what it sends."""

from __future__ import annotations

import argparse
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from bench.shapes import SHAPES, body, heads, routes
from tests.support import ADMIN, Server

_PING: Final = b"GET /healthy HTTP/1.1\r\nHost: x\r\n\r\n"
_WAIT_S: Final = 120.0


class Watch:
    """Asks the server for its health again and again; `longest_s`: the longest wait since it was set to 0."""

    def __init__(self, port: int) -> None:
        self.longest_s = 0.0
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=_WAIT_S) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self._over.is_set():
                began = time.perf_counter()
                sock.sendall(_PING)
                received = b""
                while b"\r\n\r\n" not in received:
                    received += sock.recv(65536)
                self.longest_s = max(self.longest_s, time.perf_counter() - began)
                self._over.wait(0.001)

    def stop(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join()


def answered(port: int, request: bytes) -> str:
    """Send a request whole; the status line of its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S) as sock:
        try:
            sock.sendall(request)
            return sock.recv(65536).partition(b"\r\n")[0].decode("latin1")
        except ConnectionError:
            return "closed"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.stall", description=__doc__)
    parser.add_argument(
        "--routes", type=int, default=12, help="so many of the routes that take a body, evenly"
    )
    table(parser.parse_args().routes)


def table(count: int = 12) -> None:
    """The longest stall of each shape, over so many of the routes that take a body."""
    with tempfile.TemporaryDirectory(prefix="streamsim-stall-") as folder, Server(Path(folder)) as server:
        admin = server.admin()
        made = admin.post("/exp", {"name": "stall"}).body
        every = sorted(routes(admin.get("/openapi.json").body, {"exp_id": made["id"]}))
        chosen = every[:: max(1, len(every) // count)]
        cookie = "; ".join(f"{name}={value}" for name, value in admin.cookies.items())
        watch = Watch(server.port)
        time.sleep(1)
        print(
            f"alone: {watch.longest_s * 1000:.1f} ms; account {ADMIN}, {len(chosen)} of {len(every)} routes"
        )
        for shape in SHAPES:
            content, worst, where, said = body(shape), 0.0, "", ""
            for method, path in chosen:
                head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n"
                head += f"Content-Length: {len(content)}\r\n\r\n"
                watch.longest_s = 0.0
                status = answered(server.port, head.encode() + content)
                if watch.longest_s > worst:
                    worst, where, said = watch.longest_s, f"{method} {path}", status
            print(f"{shape:28} {worst * 1000:7.1f} ms  {where} -> {said}")
        for name, request in heads().items():
            watch.longest_s = 0.0
            status = answered(server.port, request)
            print(f"{name:28} {watch.longest_s * 1000:7.1f} ms  {status}")
        watch.stop()


if __name__ == "__main__":
    main()
