"""A server that fails first."""

from __future__ import annotations

import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.patience import PATIENCE_S
from tests.support import Server

PASSED = ("content-type", "content-length", "set-cookie", "x-request-id", "retry-after", "link")


class Flaky(ThreadingHTTPServer):
    """Passes requests on to a server, or answers `content`; but meets the first ones with failures.

    A failure is a status that it answers by itself, with `retry_after`; "lost" passes the request on and
    breaks the connection in place of the answer; "cut" breaks it in the middle of the answer.
    """

    daemon_threads = True

    def __init__(self, target: Server | None) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target = target
        self.failures: list[int | str] = []
        self.retry_after: str | None = "0"
        self.content = b"{}"
        self.seen: list[tuple[str, str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Flaky:
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Flaky

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, body))
        failure = self.server.failures.pop(0) if self.server.failures else None
        if isinstance(failure, int):
            self.send_response(failure)
            if self.server.retry_after is not None:
                self.send_header("Retry-After", self.server.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status, headers, content = self.passed_on(body)
        if failure == "lost":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[:5] if failure == "cut" else content)
        if failure == "cut":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of the server's answer."""
        if self.server.target is None:
            content = self.server.content
            return 200, [("Content-Length", str(len(content)))], content
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target.port, timeout=PATIENCE_S)
        connection.request(self.command, self.path, body or None, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() in PASSED]
        return answer.status, headers, content

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer  # noqa: N815

    def log_message(self, *_args: Any) -> None:
        """Nothing."""
