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
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from streamsim.sandbox import table
from tests.attacks.auditor import Auditor, working
from tests.attacks.client import Client, Response
from tests.attacks.targets import SECRET, Targets, token
from tests.patience import PATIENCE_S

Kind = Literal["root", "user", "container", "container-user"]

NOBODY = 65534
CPU_MS, WALL_MS, GRACE_MS = 300, 1000, 500
HARD_S = (WALL_MS + GRACE_MS) / 1000
# They fill 300 MB, which is work for the kernel that counts as theirs; others at once would slow it.
ALONE = ("giant-exception", "mem-theta-alias-growth")
# Above the largest piece of memory that a snippet takes to be allowed.
MEMORY_BYTES = 384 << 20
FRAME_BYTES = 4 << 20
ERROR_BYTES = 16 << 10
# How much later than the hard limit an answer may be, beside what this machine itself stood still meanwhile.
LATE_S = 0.1
TICK_S = 0.01
# Of a bystander between two calls: so short that its worker is never the one that was idle longest.
PAUSE_S = 0.03
# So that the processors are busy though some only wait for their time limit; each may have two workers.
AT_ONCE = 6
WORKERS = 2 * AT_ONCE + 2
ENDS = {
    "policy_error": "error",
    "policy_rejected": "reject",
    "policy_memory": "memory",
    "policy_timeout": "timeout",
    "policy_crashed": "crash",
}


@dataclass
class Outcome:
    """How one snippet ended. `traces`: all that came back, of it `answer` to the call itself; `next`: status
    of the repaired code's call.

    `stalled`: for how much of the `seconds` this process, which only waits, did not get a processor in time.
    """

    end: str = "none"
    seconds: float = math.inf
    stalled: float = 0.0
    traces: str = ""
    answer: str = ""
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


def run(server: Server, snippets: Sequence[dict[str, Any]], campaign: type[Campaign] | None = None) -> Result:
    """Run all snippets against a server that was begun, and end it."""
    result = Result(wrong=server.targets.wrong)
    began = time.monotonic()
    server.started()
    asyncio.run(_run(campaign or Campaign, server, result, snippets))
    server.end()
    result.log = server.log.read_text(errors="replace")
    server.targets.look()
    result.seconds = time.monotonic() - began
    return result


async def _run(
    campaign: type[Campaign], server: Server, result: Result, snippets: Sequence[dict[str, Any]]
) -> None:
    async with server.targets, Client(server.port) as client:
        await campaign(client, server.process.pid, server.targets, result).run(snippets)


def faults(snippet: dict[str, Any], outcome: Outcome, late_s: float = LATE_S) -> list[str]:
    """In what respects a snippet got through, or ended as it must not."""
    found = []
    if outcome.end not in snippet["expect"]:
        found.append(f"it ended with {outcome.end!r}: {outcome.traces[:500]}")
    if SECRET in outcome.traces or "pwned" in outcome.traces:
        found.append(f"it got through: {outcome.traces[:2000]}")
    if outcome.next != 200:
        found.append(f"the next call was answered {outcome.next}")
    longest = snippet.get("max_answer_s") or HARD_S * (2 if snippet.get("asks") else 1)
    if len(outcome.answer) > snippet.get("max_answer_bytes", FRAME_BYTES):
        found.append(f"the answer has {len(outcome.answer)} characters")
    if outcome.seconds > longest + late_s + outcome.stalled:
        found.append(f"the answer took {outcome.seconds:.3f} s, {outcome.stalled:.3f} s of it the machine's")
    return found


@dataclass
class Server:
    """The server process, and what attacks on it aim at. The port is 0 until it serves."""

    process: subprocess.Popen[bytes]
    log: Path
    targets: Targets
    port: int = 0

    def started(self) -> None:
        """Wait until it serves."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.port:
            found = re.search(r"serves on http://[^:]+:(\d+)", self.log.read_text())
            if found:
                self.port = int(found[1])
            elif self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start:\n{self.log.read_text()}")
            else:
                time.sleep(0.05)

    def end(self) -> None:
        """It ends well."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(30) != 0:
            raise AssertionError(f"the server ended with {self.process.returncode}")


@contextmanager
def serving(kind: Kind, *, preload: bool = True) -> Iterator[Server]:
    """A server of its own, as root or as an ordinary user, with CANARY tokens in all that it has. It is
    begun, and may not serve yet.

    :param preload: whether workers share scikit-learn from the start, as they do unless told otherwise.
    """
    settings: dict[str, Any] = {
        "sandbox": {
            "workers": WORKERS,
            "cpu_ms": CPU_MS,
            "wall_ms": WALL_MS,
            "grace_ms": GRACE_MS,
            "memory_bytes": MEMORY_BYTES,
        },
        # Room for the bystanders, every attacker at once and one that is ending, so that no bystander, idle
        # between two steps, has to go; with one runner not above WORKERS.
        "models": {
            "live": AT_ONCE + 3,
            "runners": 1,
            "cpu_ms": CPU_MS,
            "wall_ms": WALL_MS,
            "memory_bytes": 256 << 20,
        },
        "storage": {"sqlite_synchronous": "NORMAL"},
        "login": {"bcrypt_rounds": 4},
    }
    if not preload:
        settings["sandbox"]["preload"] = []
    with tempfile.TemporaryDirectory(prefix="streamsim-attacks-") as name:
        yield from _serving(kind, Path(name), settings)


def _serving(kind: Kind, folder: Path, settings: dict[str, Any]) -> Iterator[Server]:
    # First, so that they belong to whom the server runs as.
    targets = Targets(folder, [])
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
    try:
        yield Server(process, folder / "log", targets)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


class Campaign:
    """The run itself."""

    def __init__(self, client: Client, server: int, targets: Targets, result: Result) -> None:
        self._client, self._server, self._targets, self._result = client, server, targets, result
        self._sessions: dict[str, dict[str, str]] = {}
        self._names: dict[str, Any] = {}
        self._over = False
        self._stalled = 0.0

    async def run(self, snippets: Sequence[dict[str, Any]]) -> None:
        await self._log_in()
        bystanders = [await self._bystander("b", "B"), await self._bystander("a", "A2")]
        await self._prepare(bystanders[0])
        watchers = [asyncio.create_task(self._decide(*bystander)) for bystander in bystanders]
        victims = await self._asked()
        assert len(victims) == len(bystanders), victims
        auditor = Auditor(self._server, WORKERS, victims, self._result.wrong)
        self._names |= auditor.find_names()
        watchers.append(asyncio.create_task(auditor.watch()))
        watchers.append(asyncio.create_task(self._tick()))
        alone = [snippet for snippet in snippets if snippet["id"] in ALONE]
        for queue, at_once in ([one for one in snippets if one not in alone], AT_ONCE), (alone, 1):
            await asyncio.gather(*(self._work(queue) for _ in range(at_once)))
        self._over = True
        auditor.over = True
        await asyncio.gather(*watchers)
        await auditor.last_look()

    async def _asked(self) -> list[int]:
        """The workers that the bystanders' calls go to: others, that checked their code, may be ending."""
        before, calls = working(self._server), len(self._result.waits)
        async with asyncio.timeout(PATIENCE_S):
            while len(self._result.waits) < calls + 60:  # noqa: ASYNC110
                await asyncio.sleep(TICK_S)
        return [pid for pid, waited in working(self._server).items() if waited - before.get(pid, waited) > 10]

    async def _work(self, queue: list[dict[str, Any]]) -> None:
        while queue:
            snippet = queue.pop(0)
            self._result.outcomes[snippet["id"]] = outcome = Outcome()
            await self._attack(snippet, outcome)

    async def _tick(self) -> None:
        """Adds up by how much this process is woken too late."""
        while not self._over:
            began = time.monotonic()
            await asyncio.sleep(TICK_S)
            self._stalled += max(time.monotonic() - began - TICK_S - 0.002, 0.0)

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

    async def _decide(self, experiment_id: str, facts: dict[str, Any]) -> None:
        """Decides again and again; every answer has to be right, and in time."""
        while not self._over:
            began = time.monotonic()
            response = await self._client.call("POST", f"/getaction/{experiment_id}", {"key": facts["key"]})
            self._result.waits.append(time.monotonic() - began)
            if response.code != 200 or json.loads(response.body)["action"] != facts["right"]:
                self._result.wrong.append(f"a bystander was answered {response.code} {response.body[:300]!r}")
            await asyncio.sleep(PAUSE_S)

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
        stalled = self._stalled
        (response, outcome.seconds), *others = await asyncio.gather(*calls)
        outcome.stalled = self._stalled - stalled
        outcome.end = _end(response)
        outcome.answer = response.body.decode()
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

    async def _timed(self, experiment_id: str, request: object) -> tuple[Response, float]:
        began = time.monotonic()
        response = await self._client.call("POST", f"/getaction/{experiment_id}", request)
        return response, time.monotonic() - began

    def _context(self) -> dict[str, Any]:
        targets = self._targets
        both: list[Any] = [(c.x86_64, c.aarch64) for c in table.CALLS if c.x86_64 is not None]
        return {
            "secret_file": str(targets.secret),
            "secret": str(targets.secret),
            "victim": self._names["B_id"],
            "tcp_port": targets.tcp_port,
            "unix_path": targets.unix_path,
            "abstract": targets.abstract,
            "own_fd": 3,
            "allow": sorted(table.number(pair) for pair in both),
            **self._names,
        }


def _end(response: Response) -> str:
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
