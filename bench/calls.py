"""What benches of decisions share: experiments from the catalogue, a client's requests, the bare handler."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from urllib.parse import quote

from bench import cpu
from bench.load import measure, request
from streamsim.experiments import catalogue
from tests.support import Client, Server


def create(client: Client, slug: str, also: str = "") -> dict[str, str]:
    """Create an experiment from the catalogue; its id and key. :param also: more of its name."""
    entry = next(entry for entry in catalogue.entries() if entry.slug == slug)
    experiment: dict[str, str] = client.post(
        "/exp", {"name": f"{entry.name} {also}".strip(), **entry.code}
    ).body
    return experiment


def prepared(experiment: dict[str, str], slug: str, call: str) -> list[bytes]:
    """Requests as a client would send them, with varied contexts or rewards."""
    base = f"/{call}/{experiment['id']}?key={experiment['key']}"
    requests = []
    for i in range(200):
        context = quote(json.dumps({"customer": i, "country": "NL", "age": 20 + i % 50}))
        if call == "getaction":
            requests.append(request("GET", f"{base}&context={context}"))
        else:
            action = quote(json.dumps({"arm": "ABCDE"[i % 2]}))
            reward = quote(json.dumps({"value": i % 3 % 2}))
            requests.append(request("GET", f"{base}&context={context}&action={action}&reward={reward}"))
    return requests


def used_by(server: Server) -> cpu.Used:
    """Processor time that a server has used so far."""
    assert server.process is not None
    return cpu.used(server.process.pid)


class Bare:
    """The bare handler in a process of its own."""

    def __init__(self, answer: bytes) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._answer = answer.decode()

    def __enter__(self) -> Bare:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.bare", str(self.port), self._answer], stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                measure(self.port, [request("GET", "/getaction/x")], 1, 0.01)
                return self
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
