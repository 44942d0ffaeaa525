"""Runs hostile policy code against a real server, among bystanders, and looks for what got through.

For each snippet: an experiment of its own whose `get_action` it is, a call that runs it, a repaired version
that must answer, and the experiment's logs. Meanwhile another tenant, and another experiment of the attacker,
decide without a pause, and an auditor looks at the processes and at the targets of the attacks.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from streamsim.sandbox import table
from streamsim.sandbox.vitals import cpu_s, memory_bytes

Kind = Literal["root", "user", "container", "container-user"]

NOBODY = 65534
CPU_MS, WALL_MS, GRACE_MS = 500, 1000, 500
HARD_S = (WALL_MS + GRACE_MS) / 1000
FRAME_BYTES = 4 << 20
ERROR_BYTES = 16 << 10
# Of the machine, not of the service: answers are to come within the limit plus a second.
LATE_S = 1.0
GROWTH_BYTES = 200 << 20
AT_ONCE = 4
WORKERS = 8
START_S = 60
WATCH_S = 0.05
# A part that no snippet holds itself, so that what finds it has found the real thing.
SECRET = secrets.token_hex(6)
ENDS = {
    "policy_error": "error",
    "policy_rejected": "reject",
    "policy_memory": "memory",
    "policy_timeout": "timeout",
    "policy_crashed": "crash",
}
# What the corpus leaves out: 300 MB of text are over the memory limit; a context that is no JSON is refused.
ALSO = {"giant-exception": {"memory"}, "finalizer-later": {"reject"}}
COMMANDS = {"streamsim-zygo", "streamsim-work"}


def token(place: str) -> str:
    """The secret that is planted in a place."""
    return f"CANARY-{place}-{SECRET}"


@dataclass
class Outcome:
    """How one snippet ended. `traces`: all that came back; `next`: status of the repaired code's call."""

    end: str = "none"
    seconds: float = math.inf
    traces: str = ""
    next: int = 0
    at_save: bool = False


@dataclass
class Result:
    """Of a whole run: the outcome of each snippet, and what was seen beside them."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    log: str = ""
    seconds: float = 0.0


def run(kind: Kind, snippets: Sequence[dict[str, Any]], campaign: type[Campaign] | None = None) -> Result:
    """Run all snippets against one server of that kind of machine."""
    result = Result()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="streamsim-attacks-") as name:
        targets = Targets(Path(name))
        with serving(kind, Path(name)) as server:
            asyncio.run(_run(campaign or Campaign, server, targets, result, snippets))
        result.log = server.log.read_text(errors="replace")
        targets.look(result)
    result.seconds = time.monotonic() - began
    return result


async def _run(
    campaign: type[Campaign],
    server: Server,
    targets: Targets,
    result: Result,
    snippets: Sequence[dict[str, Any]],
) -> None:
    async with targets:
        await campaign(Client(server.port), server.process.pid, targets, result).run(snippets)


def faults(snippet: dict[str, Any], outcome: Outcome) -> list[str]:
    """In what respects a snippet got through, or ended as it must not."""
    found = []
    if outcome.end not in {*snippet["expect"], *ALSO.get(snippet["id"], ())}:
        found.append(f"it ended with {outcome.end!r}: {outcome.traces[:500]}")
    if SECRET in outcome.traces or "pwned" in outcome.traces:
        found.append(f"it got through: {outcome.traces[:2000]}")
    if outcome.next != 200:
        found.append(f"the next call was answered {outcome.next}")
    if outcome.seconds > HARD_S * (2 if snippet.get("asks") else 1) + LATE_S:
        found.append(f"the answer took {outcome.seconds:.2f} s")
    return found


@dataclass
class Server:
    """The server process. The port is 0 until it serves."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0

    def started(self) -> None:
        """Wait until it serves."""
        deadline = time.monotonic() + START_S
        while not self.port:
            found = re.search(r"serves on http://[^:]+:(\d+)", self.log.read_text())
            if found:
                self.port = int(found[1])
            elif self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start:\n{self.log.read_text()}")
            else:
                time.sleep(0.05)


@contextmanager
def serving(kind: Kind, folder: Path) -> Iterator[Server]:
    """A server of its own, as root or as an ordinary user, with CANARY tokens in all that it has."""
    settings = {
        "sandbox": {"workers": WORKERS, "cpu_ms": CPU_MS, "wall_ms": WALL_MS, "grace_ms": GRACE_MS},
        # Room for the bystanders and every attacker at once; with one runner still below WORKERS.
        "models": {
            "live": AT_ONCE + 2,
            "runners": 1,
            "cpu_ms": CPU_MS,
            "wall_ms": WALL_MS,
            "memory_bytes": 256 << 20,
        },
        "storage": {"sqlite_synchronous": "NORMAL"},
        "login": {"bcrypt_rounds": 4},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    (folder / "data").mkdir()
    if os.geteuid() == 0 and kind.endswith("user"):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("serving.py")), kind, str(folder)],
            env={
                "PATH": os.environ["PATH"],
                "STREAMSIM_REDIS_PASSWORD": token("ENV"),
                "STREAMSIM_ADMIN_PASSWORD": token("ADMIN-PASSWORD"),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(process, folder / "log")
    try:
        server.started()
        yield server
        process.send_signal(signal.SIGTERM)
        if process.wait(30) != 0:
            raise AssertionError(f"the server ended with {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


class Client:
    """Many connections to the server."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._client = AsyncHTTPClient(force_instance=True, max_clients=50)

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> HTTPResponse:
        """The answer, whatever it is. Headers are given with an underscore for the hyphen."""
        request = HTTPRequest(
            self._base + path,
            method=method,
            headers={"Content-Type": "application/json"}
            | {name.replace("_", "-"): value for name, value in headers.items()},
            body=None if body is None else json.dumps(body),
            request_timeout=30,
        )
        return await self._client.fetch(request, raise_error=False)

    async def good(self, method: str, path: str, body: object = None, **headers: str) -> HTTPResponse:
        """The answer, which must be 200."""
        response = await self.call(method, path, body, **headers)
        if response.code != 200:
            raise AssertionError(f"{method} {path}: {response.code} {response.body[:500]!r}")
        return response

    async def log_in(self, name: str, password: str) -> dict[str, str]:
        """The header of a session."""
        response = await self.good("POST", "/login", {"username": name, "password": password})
        return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}


class Targets:
    """What the attacks aim at: a secret file, and three listeners that answer a token to whoever connects."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.secret = folder / "secret"
        self.secret.write_text(token("FILE"))
        self.secret.chmod(0o600)
        self.unix_path = str(folder / "socket")
        self.abstract = f"streamsim-attacks-{os.getpid()}"
        self.tcp_port = 0
        self.reached = 0
        self._listeners: list[asyncio.Server] = []
        self._before: os.stat_result | None = None
        self._stray = set(_stray())

    async def __aenter__(self) -> Targets:
        tcp = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.tcp_port = tcp.sockets[0].getsockname()[1]
        unix = await asyncio.start_unix_server(self._answer, self.unix_path)
        os.chmod(self.unix_path, 0o777)
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind("\0" + self.abstract)
        self._listeners = [tcp, unix, await asyncio.start_unix_server(self._answer, sock=abstract)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._before = self.secret.stat()
        for listener in self._listeners:
            listener.close()

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached += 1
        writer.write(token("NET").encode())
        writer.close()

    def look(self, result: Result) -> None:
        """Notes what was reached or changed."""
        if self.reached:
            result.wrong.append(f"listeners were reached {self.reached} times")
        if self.secret.read_text() != token("FILE") or self.secret.stat().st_mode & 0o777 != 0o600:
            result.wrong.append("the secret file was changed")
        stray = set(_stray()) - self._stray
        if stray:
            result.wrong.append(f"files appeared: {sorted(stray)[:9]}")
            for path in stray:
                shutil.rmtree(path, ignore_errors=True)


def _stray() -> list[str]:
    """Files that the snippets try to make."""
    found = [str(path) for place in ("/tmp", "/dev/shm", "/var/tmp") for path in Path(place).glob("sa_pwn*")]
    return found + [str(path) for path in Path(sys.prefix).rglob("*sa_pwn*")]


class Campaign:
    """The run itself."""

    def __init__(self, client: Client, server: int, targets: Targets, result: Result) -> None:
        self._client, self._server, self._targets, self._result = client, server, targets, result
        self._sessions: dict[str, dict[str, str]] = {}
        self._names: dict[str, Any] = {}
        self._over = False

    async def run(self, snippets: Sequence[dict[str, Any]]) -> None:
        await self._log_in()
        bystanders = [await self._bystander("b", "B"), await self._bystander("a", "A2")]
        await self._prepare(bystanders[0])
        auditor = Auditor(self._server, self._result)
        self._names |= auditor.find_names()
        watchers = [asyncio.create_task(auditor.watch())]
        watchers += [asyncio.create_task(self._decide(*bystander)) for bystander in bystanders]
        queue = list(reversed(snippets))

        async def work() -> None:
            while queue:
                snippet = queue.pop()
                self._result.outcomes[snippet["id"]] = outcome = Outcome()
                await self._attack(snippet, outcome)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        self._over = True
        auditor.over = True
        await asyncio.gather(*watchers)
        await auditor.last_look()

    async def _log_in(self) -> None:
        admin = await self._client.log_in("admin", token("ADMIN-PASSWORD"))
        for name in ("a", "b"):
            await self._client.good("POST", "/user", {"username": name, "password": "password"}, **admin)
            self._sessions[name] = await self._client.log_in(name, "password")

    async def _bystander(self, tenant: str, name: str) -> tuple[str, dict[str, Any]]:
        """An experiment with a token in its theta; its id, key, and the answer that it always gives."""
        code = (
            f"# CODE-{name}\n"
            "theta = self.get_theta(key='secret')\n"
            "self.action['sum'] = float(np.sum([1, 2, 3])) + len(theta['token'])\n"
            "self.action['text'] = str(float('0.5')).upper()\n"
        )
        fields = {"name": name, "get_action": code, "set_reward": "self.set_theta(self.reward, key='secret')"}
        made = json.loads((await self._client.good("POST", "/exp", fields, **self._sessions[tenant])).body)
        secret = token(f"THETA-{name}")
        reward = {"key": made["key"], "reward": {"token": secret}}
        await self._client.good("POST", f"/setreward/{made['id']}", reward)
        self._names[f"{name}_id"] = made["id"]
        return made["id"], {"key": made["key"], "right": {"sum": 6.0 + len(secret), "text": "0.5"}}

    async def _prepare(self, bystander: tuple[str, dict[str, Any]]) -> None:
        """Calls that are allowed one by one, and together are more than a frame may hold."""
        experiment, facts = bystander
        request = {"key": facts["key"], "context": {"x": "a" * (FRAME_BYTES // 3)}}
        calls = [self._client.call("POST", f"/getaction/{experiment}", request) for _ in range(6)]
        for response in await asyncio.gather(*calls):
            if response.code != 200:
                self._result.wrong.append(f"one of many large contexts was answered {response.code}")

    async def _decide(self, experiment: str, facts: dict[str, Any]) -> None:
        """Decides without a pause; every answer has to be right, and in time."""
        while not self._over:
            began = time.monotonic()
            response = await self._client.call("POST", f"/getaction/{experiment}", {"key": facts["key"]})
            self._result.waits.append(time.monotonic() - began)
            if response.code != 200 or json.loads(response.body)["action"] != facts["right"]:
                self._result.wrong.append(f"a bystander was answered {response.code} {response.body[:300]!r}")
            await asyncio.sleep(0.01)

    async def _attack(self, snippet: dict[str, Any], outcome: Outcome) -> None:
        session = self._sessions["a"]
        fields = {"name": snippet["id"], "get_action": snippet["code"], **snippet.get("fields", {})}
        response = await self._client.call("POST", "/exp", fields, **session)
        if response.code != 200:
            outcome.at_save = True
            outcome.traces = response.body.decode()
            if response.code == 400:
                outcome.end, outcome.seconds, outcome.next = "error", 0.0, 200
            return
        made = json.loads(response.body)
        experiment, key = made["id"], made["key"]
        # The worker is there before the clock runs.
        await self._client.good("POST", f"/setreward/{experiment}", {"key": key, "reward": 1})
        request = {"key": key, "context": {"t": self._context()}}
        calls = [self._timed(experiment, request)]
        if snippet.get("pipeline"):
            calls.append(self._timed(experiment, request))
        (response, outcome.seconds), *others = await asyncio.gather(*calls)
        outcome.end = _end(response)
        outcome.traces = "\n".join(one.body.decode() for one, _ in [(response, 0.0), *others])
        await asyncio.sleep(snippet.get("after") or 0)
        repaired = {"get_action": "self.action['fine'] = 1"}
        await self._client.good("PUT", f"/exp/{experiment}", repaired, **session)
        last = await self._client.call("POST", f"/getaction/{experiment}", {"key": key})
        outcome.next = last.code if last.code != 200 or json.loads(last.body)["action"] == {"fine": 1} else -1
        for log in ("actionlog", "log", "currenttheta"):
            response = await self._client.call("GET", f"/stats/{experiment}/{log}", **session)
            outcome.traces += response.body.decode()
        await self._client.good("DELETE", f"/exp/{experiment}", **session)

    async def _timed(self, experiment: str, request: object) -> tuple[HTTPResponse, float]:
        began = time.monotonic()
        response = await self._client.call("POST", f"/getaction/{experiment}", request)
        return response, time.monotonic() - began

    def _context(self) -> dict[str, Any]:
        targets = self._targets
        return {
            "secret_file": str(targets.secret),
            "tcp_port": targets.tcp_port,
            "unix_path": targets.unix_path,
            "abstract": targets.abstract,
            "own_fd": 3,
            "allow": sorted(table.number((c.x86_64, c.aarch64)) for c in table.CALLS if c.x86_64 is not None),
            **self._names,
        }


def _end(response: HTTPResponse) -> str:
    try:
        body = json.loads(response.body, parse_constant=lambda text: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return f"an answer that is not JSON: {response.code} {response.body[:100]!r}"
    if len(response.body) > (FRAME_BYTES if response.code == 200 else ERROR_BYTES):
        return f"an answer of {len(response.body)} bytes"
    if response.code == 200:
        return "ok"
    code = body.get("error", {}).get("code", "")
    return ENDS.get(code, f"{response.code} {code}")


class Auditor:
    """Looks at the server's processes from outside, as the kernel shows them."""

    def __init__(self, server: int, result: Result) -> None:
        self.over = False
        self._server, self._result = server, result
        self._zygote = {pid for pid in _descendants(server) if _command(pid) == "streamsim-zygo"}
        self._kept = [server, *sorted(self._zygote)]
        self._victims = [pid for pid in _descendants(server) if _command(pid) == "streamsim-work"]
        self._before = [_facts(pid) for pid in self._kept]
        self._victims_before = [_facts(pid) for pid in self._victims]
        self._bytes_before = memory_bytes(server) or 0

    def find_names(self) -> dict[str, Any]:
        """Process ids for the attacks, as a worker sees them."""
        own = _field(self._victims[0], "NSpid").split()
        namespace = len(own) > 1
        return {
            "victim_pid": int(own[-1]),
            "host_pid": 1 if namespace else self._server,
            "pid": int(own[-1]) + 1,
        }

    async def watch(self) -> None:
        """Until the end: nothing but workers below the zygote, and nothing below them."""
        while not self.over:
            for pid in _descendants(self._server):
                command = _command(pid)
                if command and pid not in self._zygote and command != "streamsim-work":
                    await asyncio.sleep(0.05)  # it may have been in the middle of its own start
                    if _command(pid) not in ("", *COMMANDS):
                        self._note(f"a process appeared: {command}")
                if command == "streamsim-work" and (children := _children(pid)):
                    self._note(f"a worker has children: {children}")
            await asyncio.sleep(WATCH_S)

    async def last_look(self) -> None:
        """The server, its zygote and the bystanders' workers are what they were; no worker still runs."""
        left = [pid for pid in _descendants(self._server) if _command(pid) == "streamsim-work"]
        if len(left) > WORKERS:
            self._note(f"{len(left)} workers live; {WORKERS} may")
        used = {pid: cpu_s(pid) for pid in left}
        await asyncio.sleep(0.5)
        busy = [pid for pid in left if cpu_s(pid) - used[pid] > 0.1]
        if busy:
            self._note(f"{len(busy)} workers still run code that nobody waits for")
        grown = (memory_bytes(self._server) or 0) - self._bytes_before
        if grown > GROWTH_BYTES:
            self._note(f"the server grew by {grown >> 20} MiB")
        if [_facts(pid) for pid in self._kept] != self._before:
            self._note("the server or its zygote was replaced, or its limits, priority or signals changed")
        if [_facts(pid) for pid in self._victims] != self._victims_before:
            self._note("a bystander's worker was replaced, or its limits, priority or signals changed")

    def _note(self, text: str) -> None:
        if text not in self._result.wrong:
            self._result.wrong.append(text)


def _facts(pid: int) -> tuple[str, ...]:
    """What an attack on a process could change, and when it started."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        limits = Path(f"/proc/{pid}/limits").read_text()
    except OSError:
        return ("gone",)
    priority, nice, started = fields[15], fields[16], fields[19]
    signals = [_field(pid, name) for name in ("SigIgn", "SigCgt")]
    return (limits, priority, nice, started, *signals)


def _field(pid: int, name: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.partition(":")[2].strip()
    return ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    found = []
    for child in _children(pid):
        found += [child, *_descendants(child)]
    return found
