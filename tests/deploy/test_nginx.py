"""deploy/nginx.conf in a real nginx, in front of two real server processes on loopback."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.backends import production
from tests.servers import MongoServer, RedisServer, free_port, wait_until
from tests.support import ROOT, Client, Server, die_with_parent

CONFIGURATION = ROOT / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/opt/homebrew/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
CALLS = 6


@contextmanager
def nginx(folder: Path, ports: list[int]) -> Iterator[str]:
    """The committed configuration, with these ports in the place of the compose file's names; its URL."""
    text, port = CONFIGURATION.read_text(), free_port()
    for number, upstream in enumerate(ports, 1):
        text = text.replace(f"server streamsim-{number}:8080", f"server 127.0.0.1:{upstream}")
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("/tmp/nginx.pid", f"{folder}/pid")
    text = text.replace("worker_processes auto", "worker_processes 1")
    (folder / "nginx.conf").write_text(text)
    command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with (folder / "nginx.log").open("ab") as log:
        checked = subprocess.run([*command, "-t"], stderr=subprocess.PIPE, check=False, text=True)
        assert checked.returncode == 0, checked.stderr
        process = subprocess.Popen(command, stderr=log, preexec_fn=die_with_parent)
    try:
        wait_until(lambda: open_port(port), "nginx listens")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def open_port(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def decided(server: Server) -> int:
    """Calls that this process has committed."""
    client = Client(server.url)
    text = client.get("/metrics").body
    client.close()
    found = re.search(r"^streamsim_decision_calls_total (\S+)", text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def test_an_experiment_stays_at_one_process_and_moves_when_that_is_gone(
    tmp_path: Path, redis_server: RedisServer, mongo_server: MongoServer
) -> None:
    settings = production(redis_server.url, mongo_server.url) | {"server.trusted_proxies": "127.0.0.1"}
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(tmp_path / str(n), settings=settings)) for n in range(2)]
        url = stack.enter_context(nginx(tmp_path, [server.port for server in servers]))
        admin = servers[0].admin()
        code = {"get_action": "self.action['arm'] = 1", "set_reward": "self.set_theta({'n': 1}, key='n')"}
        through = Client(url)
        created: list[dict[str, Any]] = []
        homes: set[int] = set()
        while len(homes) < 2:  # ids are random, so soon each process is some experiment's home
            one = admin.post("/exp", {"name": f"e{len(created)}", **code}).body
            created.append(one)
            before = [decided(server) for server in servers]
            for _ in range(CALLS // 2):
                assert through.get(f"/getaction/{one['id']}", key=one["key"]).status == 200
                body = {"key": one["key"], "reward": 1}
                assert through.post(f"/setReward/{one['id']}", body).status == 200
            calls = [decided(server) - count for server, count in zip(servers, before, strict=True)]
            assert sorted(calls) == [0, CALLS]
            homes.add(calls.index(CALLS))
            assert len(created) < 60
        long = {"text": "x" * 200_000}
        assert (
            through.get(f"/getaction/{created[0]['id']}", key=created[0]["key"], context=long).status == 200
        )
        assert through.get("/ready").status == 200
        assert through.get("/metrics").status == 404
        servers[1].kill()
        for one in created:
            assert through.get(f"/getaction/{one['id']}", key=one["key"]).status == 200
            assert through.post(f"/setreward/{one['id']}", {"key": one["key"], "reward": 1}).status == 200
        through.close()


class Dying:
    """A server that takes a request and closes the connection without an answer."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                text = connection.recv(1 << 16).decode()
                if text:
                    self.requests.append(text)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


@pytest.mark.parametrize(
    ("method", "path", "times"),
    [
        ("GET", "/setreward/abc?key=k&reward=1", 1),
        ("GET", "/SetReward/abc?key=k&reward=1", 1),
        ("POST", "/setreward/abc", 1),
        ("POST", "/getaction/abc", 1),
        ("GET", "/getaction/abc?key=k", 2),
    ],
)
def test_a_reward_that_was_sent_is_never_sent_to_a_second_process(
    tmp_path: Path, method: str, path: str, times: int
) -> None:
    with ExitStack() as stack:
        dying = [Dying(), Dying()]
        for one in dying:
            stack.callback(one.close)
        url = stack.enter_context(nginx(tmp_path, [one.port for one in dying]))
        client = Client(url)
        headers = {"X-Forwarded-For": "6.6.6.6"}
        answer = client.request(method, path, body={} if method == "POST" else None, headers=headers)
        assert answer.status == 502
        seen = [text for one in dying for text in one.requests]
        assert len(seen) == times
        assert all(text.startswith(f"{method} {path} ") for text in seen)
        assert all("X-Forwarded-For: 127.0.0.1\r\n" in text and "6.6.6.6" not in text for text in seen)
        client.close()
