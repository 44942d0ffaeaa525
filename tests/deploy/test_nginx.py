"""deploy/nginx.conf in a real nginx, in front of two real server processes on loopback."""

from __future__ import annotations

import http.client
import json
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
from tests.support import PASSWORD, ROOT, Client, Server, die_with_parent

CONFIGURATION = ROOT / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/opt/homebrew/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
CALLS = 6


@contextmanager
def nginx(folder: Path, ports: list[int], *, proxies: str = "") -> Iterator[str]:
    """The committed configuration, with these ports in the place of the compose file's names; its URL."""
    text, port = CONFIGURATION.read_text(), free_port()
    (folder / "proxies.conf").write_text(proxies)
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


def open_port(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


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
        assert answer.body["error"]["code"] == "unavailable"
        seen = [text for one in dying for text in one.requests]
        assert len(seen) == times
        assert all(text.startswith(f"{method} {path} ") for text in seen)
        assert all("X-Forwarded-For: 127.0.0.1\r\n" in text and "6.6.6.6" not in text for text in seen)
        client.close()


def test_what_nginx_answers_by_itself_has_the_form_of_all_errors(tmp_path: Path) -> None:
    with nginx(tmp_path, [free_port(), free_port()]) as url:
        client = Client(url)
        for path in ("/getaction/abc", "/setreward/abc", "/exp", "/eval/abc/offpolicy"):
            answer = client.post(path, {})
            assert answer.status == 502
            assert answer.body["error"]["code"] == "unavailable"
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["retry-after"] == "1"
        for path in ("/setreward/abc", "/exp"):
            large = Client(url)
            answer = large.post(path, {"text": "x" * (5 << 20)})
            assert (answer.status, answer.body["error"]["code"]) == (413, "too_large")
            large.close()
        client.close()


OUTER = """
daemon off;
pid {folder}/outer.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    server {{
        listen 127.0.0.2:{port};
        location / {{
            proxy_bind 127.0.0.2;
            proxy_pass {inner};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


@contextmanager
def ending_tls(folder: Path, inner: str) -> Iterator[tuple[str, int]]:
    """Another nginx, which says that its callers came by TLS and from where; its address."""
    port = free_port()
    (folder / "outer.conf").write_text(OUTER.format(folder=folder, port=port, inner=inner))
    with (folder / "outer.log").open("ab") as log:
        process = subprocess.Popen(
            [str(NGINX), "-p", str(folder), "-c", str(folder / "outer.conf")],
            stderr=log,
            preexec_fn=die_with_parent,
        )
    try:
        wait_until(lambda: open_port(port, "127.0.0.2"), "the outer nginx listens")
        yield "127.0.0.2", port
    finally:
        process.terminate()
        process.wait(10)


def test_a_trusted_proxy_in_front_tells_address_and_scheme_and_nobody_else_does(tmp_path: Path) -> None:
    settings = {"server.trusted_proxies": "127.0.0.1", "server.access_log": True}
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path, settings=settings))
        inner = stack.enter_context(nginx(tmp_path, [server.port] * 2, proxies="127.0.0.2 1;\n"))
        outer = stack.enter_context(ending_tls(tmp_path, inner))
        login = json.dumps({"username": "admin", "password": PASSWORD})
        cookies = {}
        for name, where, source in (
            ("trusted", outer, "127.0.0.7"),
            ("direct", ("127.0.0.1", int(inner.rpartition(":")[2])), "127.0.0.8"),
        ):
            connection = http.client.HTTPConnection(*where, source_address=(source, 0))
            forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Request-Id": name}
            connection.request("POST", "/login", login, {"Content-Type": "application/json", **forged})
            answer = connection.getresponse()
            assert answer.status == 200
            answer.read()
            cookies[name] = answer.headers["Set-Cookie"]
            connection.close()
        assert "Secure" in cookies["trusted"]
        assert "Secure" not in cookies["direct"]

        def lines() -> dict[str, str]:
            log = server.log.read_text().splitlines()
            return {line.split()[-1]: line for line in log if "/login" in line}

        # A call is answered before it is logged.
        wait_until(lambda: cookies.keys() <= lines().keys(), "both calls are logged")
        assert " 127.0.0.7 " in lines()["trusted"]
        assert " 127.0.0.8 " in lines()["direct"]
