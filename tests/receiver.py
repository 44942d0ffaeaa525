"""A receiver of webhooks' messages on a loopback port."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

SECRET = "a secret of at least sixteen"


class Message(NamedTuple):
    """What came, and whether its signature is right."""

    id: str
    signed: bool
    body: dict[str, Any]
    path: str

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["data"]
        return found


class Receiver(ThreadingHTTPServer):
    """Answers `status`, while `held` is set; `messages` is what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.messages: list[Message] = []
        self.held = threading.Event()
        self.held.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def types(self) -> list[str]:
        return [one.body["type"] for one in self.messages]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        id, date = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        digest = hmac.digest(SECRET.encode(), f"{id}.{date}.".encode() + body, hashlib.sha256)
        signed = self.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
        self.server.messages.append(Message(id, signed, json.loads(body), self.path))
        self.server.held.wait()
        self.send_response(self.server.status)
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.held.set()
        receiver.shutdown()
        receiver.server_close()
        thread.join()
