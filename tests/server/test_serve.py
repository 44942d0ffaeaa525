"""`streamsim serve` as processes: start, several on one port, restart of the dead, drain at the end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from streamsim import config
from streamsim.server.serve import EXIT_REFUSED, loop_factory
from tests.conftest import Run
from tests.effort import LONG
from tests.patience import PATIENCE_S
from tests.support import ROOT, Server


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def keep_asking(port: int, answers: list[bytes], warm: asyncio.Barrier) -> None:
    """Requests on one keep-alive connection, the next as soon as one is answered, until told to close it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = b"GET /healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
    closing = False
    while not closing:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        assert length
        await reader.readexactly(int(length[1]))
        answers.append(head)
        if len(answers) == 20:
            await warm.wait()
        closing = b"connection: close" in head.lower()
    assert await reader.read() == b""
    writer.close()


Serving = Callable[[int], Server]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Gives a running server of so many processes, the one of the test before if it still runs."""
    servers: dict[int, Server] = {}

    def running(processes: int) -> Server:
        server = servers.get(processes)
        if server is None:
            folder = tmp_path_factory.mktemp(f"processes{processes}")
            server = servers[processes] = Server(folder, processes=processes)
        if server.process is None or server.process.poll() is not None:
            server.start()
        return server

    yield running
    for server in servers.values():
        server.__exit__(None, None, None)


@pytest.mark.parametrize("processes", [1, 2] if LONG else [2])
def test_connections_in_constant_use_are_told_to_close_and_lose_no_answer(
    run: Run, serving: Serving, processes: int
) -> None:
    server = serving(processes)

    async def use_and_stop() -> tuple[list[list[bytes]], int]:
        answers: list[list[bytes]] = [[] for _ in range(12)]
        warm = asyncio.Barrier(len(answers) + 1)
        clients = [asyncio.create_task(keep_asking(server.port, got, warm)) for got in answers]
        await warm.wait()
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        await asyncio.gather(*clients)  # raises if an answer is missing
        return answers, await stopping

    answers, status = run(use_and_stop())
    assert status == 0
    assert all(head.startswith(b"HTTP/1.1 200") for got in answers for head in got)


def test_idle_connections_and_half_sent_requests_do_not_hold_up_the_end(tmp_path: Path) -> None:
    with Server(tmp_path, settings={"server.drain_s": 0.5}) as server:
        idle = socket.create_connection(("127.0.0.1", server.port))
        half = socket.create_connection(("127.0.0.1", server.port))
        half.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert server.stop() == 0
        assert idle.recv(1) == b""
        idle.close()
        half.close()


def test_connections_that_send_no_request_or_half_of_one_are_closed_in_time(tmp_path: Path) -> None:
    with Server(tmp_path, settings={"server.idle_connection_s": 1}) as server:
        begun = [b"", b"GET /heal", b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"]
        begun.append(b"GET /healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        for sent in begun:
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
                connection.sendall(sent)
                while received := connection.recv(4096):
                    assert sent is begun[-1]
                    assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.durable
def test_started_again_it_knows_what_it_knew(tmp_path: Path) -> None:
    with Server(tmp_path, executed=True) as server:
        admin = server.admin()
        created = admin.post("/exp", {"name": "kept"}).body
        cookies = dict(admin.cookies)
    other = {"STREAMSIM_ADMIN_PASSWORD": "another password"}
    with Server(tmp_path, environment=other, executed=True) as server:
        client = server.client()
        client.cookies = cookies
        assert client.get("/exp").body == {created["id"]: "kept"}  # the session lives, so does its secret
        server.admin()  # the password of the first start
        said = "STREAMSIM_ADMIN_PASSWORD changes nothing: there are users"
        assert server.log.read_text().count(said) == 1


def test_it_runs_on_uvloop_where_that_is_installed_and_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loop_factory(config.load()) is uvloop.new_event_loop
    assert loop_factory(config.load(overrides={"server.uvloop": False})) is None
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory(config.load()) is None


def test_clients_that_go_in_the_middle_of_an_answer_leave_no_error_in_the_log(tmp_path: Path) -> None:
    """On uvloop, whose transports raise once their peer is gone."""
    requests = b"GET /healthy HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
    malformed = b"GET /healthy HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n"
    with Server(tmp_path, settings={"server.uvloop": True}) as server:
        for number in range(60):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(requests[: 34 * (1 + number * 31)] + malformed)
                if number % 2:
                    client.recv(1)
                # A reset at once, instead of an orderly end.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert server.client().get("/healthy").status == 200
        assert "ERROR" not in server.log.read_text()


def test_a_first_start_without_a_password_prints_one_once(tmp_path: Path) -> None:
    for _ in range(2):
        with Server(tmp_path, environment={"STREAMSIM_ADMIN_PASSWORD": ""}) as server:
            shown = re.findall(r"created the user admin with the password (\S+)", server.log.read_text())
            assert len(shown) == 1
            answer = server.client().post("/login", {"username": "admin", "password": shown[0]})
            assert (answer.status, answer.body["admin"]) == (200, True)


def test_processes_share_the_port_the_sessions_and_the_metrics(serving: Serving) -> None:
    server = serving(2)
    admin = server.admin()
    created = admin.post("/exp", {"name": "one", "get_action": "self.action['a'] = 1"}).body
    eventually(lambda: len(server.listening()) == 2)
    for _ in range(40):  # each on a connection of its own, so that the kernel spreads them
        client = server.client()
        client.cookies = dict(admin.cookies)
        assert client.get("/exp").body == {created["id"]: "one"}
        client.close()
    count = r'streamsim_http_requests_total\{method="GET",route="/exp",status="200"\} (\S+)'

    def counted() -> float:
        client = server.client()
        found = re.search(count, client.get("/metrics").body)
        client.close()
        assert found
        return float(found[1])

    eventually(lambda: counted() == 40)  # the last one a moment after its answer
    assert {counted() for _ in range(10)} == {40}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_taken_port_is_refused_clearly(tmp_path: Path, serving: Serving, processes: int) -> None:
    first, second = serving(processes), Server(tmp_path, processes=processes)
    second.port = first.port
    with pytest.raises(AssertionError, match=f"cannot listen on 127.0.0.1 port {first.port}"):
        second.start()
    assert second.process is not None
    assert second.process.returncode == EXIT_REFUSED


def test_a_process_that_died_is_replaced_and_the_others_go_on(serving: Serving) -> None:
    server = serving(2)
    eventually(lambda: len(server.listening()) == 2)
    first = set(server.children())
    killed = min(first)
    sockets = server.listening()
    os.kill(killed, signal.SIGKILL)
    # A dying process holds its socket until the last of its threads has ended.
    eventually(lambda: len(sockets & server.listening()) == 1)
    for _ in range(20):
        client = server.client()
        assert client.get("/healthy").status == 200
        client.close()
    eventually(lambda: len(set(server.children()) - first) == 1)
    eventually(lambda: len(server.listening()) == 2)
    children = server.children()
    assert server.stop() == 0
    assert not any(running(pid) for pid in children)


def test_processes_end_when_their_parent_is_killed(serving: Serving) -> None:
    server = serving(2)
    eventually(lambda: len(server.listening()) == 2)
    children = server.children()
    assert len(children) == 2
    server.kill()
    eventually(lambda: not any(running(pid) for pid in children))


@pytest.mark.parametrize("processes", [1, 2])
def test_what_cannot_be_served_ends_the_start(tmp_path: Path, processes: int) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "streamsim.db").write_text("this is no database" * 1000)
    server = Server(tmp_path, processes=processes, executed=True)
    with pytest.raises(AssertionError, match="did not start"):
        server.start()
    assert server.process is not None
    assert server.process.returncode == EXIT_REFUSED
    assert "Traceback" not in server.log.read_text()


def lines_of(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.read_text().splitlines()]


@pytest.mark.parametrize("http", ["fast", "tornado"])
def test_the_access_log_tells_who_asked_for_what_behind_a_trusted_proxy_too(
    tmp_path: Path, http: str
) -> None:
    given = {"access_log": "true", "log": "json", "trusted_proxies": "127.0.0.1", "http": http}
    with Server(tmp_path, settings={f"server.{name}": value for name, value in given.items()}) as server:
        created = server.admin().post("/exp", {"name": "logged"}).body
        client = server.client()
        headers = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7", "X-Request-Id": "mine"}
        path = f"/getaction/{created['id']}"
        assert client.request("GET", path, query={"key": created["key"]}, headers=headers).status == 200
        assert server.stop() == 0
        lines = lines_of(server)
        assert server.log.read_text().count(created["key"]) == 0
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    by_path = {line["path"]: line for line in lines if "path" in line}
    assert by_path["/exp"]["user"] == "admin"
    assert by_path["/exp"]["address"] == "127.0.0.1"
    asked = by_path[path]
    assert (asked["address"], asked["user"], asked["request_id"]) == ("192.0.2.7", None, "mine")
    assert (asked["method"], asked["status"]) == ("GET", 200)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_start_says_what_is_served_and_on_what_in_lines_with_a_date(tmp_path: Path, processes: int) -> None:
    with Server(tmp_path, processes=processes) as server:
        assert server.stop() == 0
        lines = server.log.read_text().splitlines()
        said = next(line for line in lines if "engines: bptk, pysd, python" in line)
        assert "kind sqlite" in said
        assert re.search(r"landlock \d+, seccomp on", said)
        assert (
            len([line for line in lines if f"serves on http://127.0.0.1:{server.port}" in line]) == processes
        )
        assert all(
            re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ streamsim", line) for line in lines
        )


@pytest.mark.parametrize("processes", [1, 2])
def test_no_connection_is_taken_before_there_is_who_answers_it(tmp_path: Path, processes: int) -> None:
    server = Server(tmp_path, processes=processes)
    server.start()
    assert server.stop() == 0
    seen: list[bool] = []
    seen_all = threading.Event()

    def start() -> None:
        server.start()
        # It would die with the thread that started it.
        seen_all.wait(PATIENCE_S)

    starting = threading.Thread(target=start)
    starting.start()
    try:
        while not seen:
            try:
                with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
                    # What it says before it listens.
                    seen.append("engines: " in server.log.read_text().partition("stopping")[2])
                    connection.sendall(b"GET /healthy HTTP/1.0\r\n\r\n")
                    assert connection.recv(12) == b"HTTP/1.1 200"
            except ConnectionRefusedError:
                time.sleep(0.005)
    finally:
        seen_all.set()
        starting.join()
        server.kill()
    assert seen == [True]


@pytest.mark.parametrize("http", ["fast", "tornado"])
def test_a_second_server_on_a_port_in_use_says_so(tmp_path: Path, http: str) -> None:
    with Server(tmp_path / "first") as first:
        second = Server(tmp_path / "second", settings={"server.http": http})
        second.port = first.port
        with pytest.raises(AssertionError, match="cannot listen on"):
            second.start()
        assert second.process is not None
        assert second.process.returncode == EXIT_REFUSED


def test_the_health_check_of_the_image_tells_ready_from_not_ready(tmp_path: Path) -> None:
    text = (ROOT / "Dockerfile").read_text()
    command = json.loads(text[text.index("CMD", text.index("HEALTHCHECK")) + 3 :].partition("\n")[0])
    with Server(tmp_path) as server:

        def status() -> int:
            given = {**os.environ, "STREAMSIM_SERVER_PORT": str(server.port)}
            return subprocess.run(command, env=given, check=False, capture_output=True).returncode

        assert status() == 0
        assert server.stop() == 0
        assert status() != 0


@pytest.mark.parametrize("http", ["fast", "tornado"])
def test_no_connection_that_was_accepted_is_reset_by_the_end(tmp_path: Path, http: str) -> None:
    """Clients with a connection for each call: each is answered, or refused before it is sent."""
    broken: list[str] = []
    answered = threading.Semaphore(0)

    def call(port: int) -> None:
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
            except OSError:
                return
            with connection:
                try:
                    connection.sendall(b"GET /healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    if b" 200 " not in connection.recv(1 << 16):
                        broken.append("closed without an answer")
                except OSError as error:
                    broken.append(repr(error))
            answered.release()

    with Server(tmp_path, settings={"server.http": http}) as server:
        threads = [threading.Thread(target=call, args=(server.port,)) for _ in range(40)]
        for thread in threads:
            thread.start()
        for _ in range(400):
            answered.acquire()
        server.stop()
        for thread in threads:
            thread.join()
    assert broken == []
