"""Two server processes on one installation, each backend in turn: I1, I2, I5 and I9 as a client sees them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bench.load import request
from streamsim import config
from streamsim.server.compose import make_store
from tests.backends import Storage
from tests.conftest import Run
from tests.effort import LONG
from tests.folders import on_disk
from tests.servers import aside, wait_until
from tests.support import Client, Server

pytestmark = [pytest.mark.every_backend, pytest.mark.durable]

COUNT = """
stored = self.get_theta(key="n", value="all")
self.set_theta({"n": stored.get("n", 0) + 1}, key="n", value="all")
"""


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> tuple[int, Any]:
    """One request on a keep-alive connection: status and JSON. :raises OSError: no whole answer came."""
    writer.write(message)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    )
    return int(head[9:12]), json.loads(await reader.readexactly(length))


async def client(
    port: int,
    messages: list[bytes],
    answers: list[tuple[int, Any] | None],
    reached: asyncio.Barrier | None = None,
) -> None:
    """Send messages one after the other; None for one whose answer never came, which is then the last.

    :param reached: waited at by each client after its first answer.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for index, message in enumerate(messages):
            answers.append(await call(reader, writer, message))
            if index == 0 and reached is not None:
                await reached.wait()
    except (OSError, asyncio.IncompleteReadError):
        answers.append(None)
    finally:
        writer.close()


def create(admin: Client, **fields: Any) -> tuple[str, str]:
    fields = {"name": f"counter {uuid4()}", "set_reward": COUNT, **fields}
    body = admin.post("/exp", fields).body
    return body["id"], body["key"]


def count(admin: Client, experiment_id: str) -> int:
    theta = admin.get(f"/stats/{experiment_id}/currenttheta").body
    return theta["n:all"]["n"] if theta else 0


def rows(admin: Client, experiment_id: str) -> list[dict[str, Any]]:
    """The whole reward log."""
    found: list[dict[str, Any]] = []
    path: str | None = f"/stats/{experiment_id}/rewardlog?limit=5000"
    while path is not None:
        page = admin.get(path)
        found += page.body
        link = page.headers.get("link")
        path = link[link.index("<") + 1 : link.index(">")] if link else None
    return found


def reward(experiment_id: str, key: str, **fields: object) -> bytes:
    body = json.dumps({"key": key, "reward": 1, **fields}).encode()
    return request("POST", f"/setreward/{experiment_id}", body)


Pair = tuple[Server, Server]
REWARDS = 10_000 if LONG else 1_600


@pytest.fixture(scope="module")
def pair(shared_storage: Storage) -> Iterator[Pair]:
    """Two server processes on one installation, for tests that leave both alive."""
    with (
        on_disk() as folder,
        Server(folder, settings=shared_storage) as one,
        Server(folder, settings=shared_storage) as other,
    ):
        yield one, other


def test_rewards_of_64_clients_through_two_processes_lose_no_update(run: Run, pair: Pair) -> None:
    one, other = pair
    admin = one.admin()
    experiment, key = create(admin)
    answers: list[tuple[int, Any] | None] = []

    async def load() -> None:
        shares = [REWARDS // 64 + (i < REWARDS % 64) for i in range(64)]
        messages = [[reward(experiment, key)] * share for share in shares]
        ports = [[one, other][i % 2].port for i in range(64)]
        await asyncio.gather(*(client(p, m, answers) for p, m in zip(ports, messages, strict=True)))

    run(load())
    assert answers == [(200, {"status": "success"})] * REWARDS
    assert count(admin, experiment) == REWARDS
    log = rows(admin, experiment)
    assert len(log) == len({row["id"] for row in log}) == REWARDS
    assert admin.get(f"/stats/{experiment}/summary").body["set_reward_calls"] == REWARDS


def test_a_server_killed_midway_takes_no_acknowledged_reward_with_it(
    run: Run, tmp_path: Path, storage: Storage
) -> None:
    with Server(tmp_path, settings=storage) as one, Server(tmp_path, settings=storage) as other:
        admin = one.admin()
        experiment, key = create(admin)
        answers: list[tuple[int, Any] | None] = []

        async def load() -> None:
            reached = asyncio.Barrier(33)
            messages = [reward(experiment, key)] * 80
            clients = [
                asyncio.create_task(client([one, other][i % 2].port, messages, answers, reached))
                for i in range(32)
            ]
            await reached.wait()
            # Into the middle of the load, of which each server has 1,280.
            await aside(wait_until, lambda: len(answers) >= 200, "200 answers")
            assert other.process is not None
            os.kill(other.process.pid, signal.SIGKILL)
            await asyncio.gather(*clients)

        run(load())
        acknowledged = sum(answer is not None for answer in answers)
        unanswered = sum(answer is None for answer in answers)
        assert all(answer is None or answer[0] == 200 for answer in answers)
        assert unanswered == 16
        assert acknowledged <= count(admin, experiment) <= acknowledged + unanswered
        log = rows(admin, experiment)
        assert len(log) == len({row["id"] for row in log}) == count(admin, experiment)


TOTAL = """
seen = self.get_theta(key="n", value="all")
self.set_theta({"n": seen.get("n", 0) + self.reward}, key="n", value="all")
"""


def test_sums_of_rewards_are_exact_though_one_of_two_servers_is_killed_midway(
    run: Run, tmp_path: Path, storage: Storage
) -> None:
    with Server(tmp_path, settings=storage) as one, Server(tmp_path, settings=storage) as other:
        admin = one.admin()
        declared = {"reward_mode": "sum", "reward_window_hours": 1, "default_reward": {"v": 0}}
        experiment, key = create(admin, set_reward=TOTAL, advice_id=True, **declared)
        advices = [admin.get(f"/getaction/{experiment}", key=key).body["advice_id"] for _ in range(8)]
        answers: dict[str, list[tuple[int, Any] | None]] = {advice: [] for advice in advices}

        async def load() -> None:
            reached = asyncio.Barrier(33)
            clients = [
                asyncio.create_task(
                    client(
                        [one, other][i % 2].port,
                        [reward(experiment, key, advice_id=advices[i // 4])] * 40,
                        answers[advices[i // 4]],
                        reached,
                    )
                )
                for i in range(32)
            ]
            await reached.wait()
            await aside(wait_until, lambda: sum(map(len, answers.values())) >= 200, "200 answers")
            assert other.process is not None
            os.kill(other.process.pid, signal.SIGKILL)
            await asyncio.gather(*clients)

        run(load())
        parts = rows(admin, experiment)
        for advice, some in answers.items():
            assert {answer[0] for answer in some if answer is not None} == {200}
            acknowledged, open_ends = sum(one is not None for one in some), some.count(None)
            logged = [row for row in parts if row["advice_id"] == advice]
            assert all(row["part"] is True for row in logged)
            assert acknowledged <= len(logged) <= acknowledged + open_ends
        assert count(admin, experiment) == 0

        async def gathered() -> dict[str, bytes]:
            store = make_store(config.load(overrides={"storage.data": str(tmp_path / "data")} | storage))
            await store.open()
            try:
                found, _ = await store.decisions.peek(experiment, advices, [], 0)
            finally:
                await store.close()
            return {advice: one.gathered for advice, one in found.items()}

        # How many, and their sum: what is learnt when the window closes is what was logged.
        numbers = Counter(row["advice_id"] for row in parts)
        assert run(gathered()) == {advice: b"[%d,%d]" % (n, n) for advice, n in numbers.items()}


def test_an_advice_id_sent_by_50_clients_at_once_is_redeemed_once(run: Run, pair: Pair) -> None:
    one, other = pair
    admin = one.admin()
    experiment, key = create(
        admin, advice_id=True, delta_hours=1, default_reward={"v": 0}, get_action="self.action['a'] = 1"
    )
    advice = admin.get(f"/getaction/{experiment}", key=key).body["advice_id"]
    answers: list[tuple[int, Any] | None] = []

    async def race() -> None:
        message = [reward(experiment, key, advice_id=advice)]
        await asyncio.gather(*(client([one, other][i % 2].port, message, answers) for i in range(50)))

    run(race())
    statuses = sorted(answer[0] for answer in answers if answer is not None)
    assert statuses == [200] + [409] * 49
    errors = [answer[1]["error"] for answer in answers if answer is not None and answer[0] == 409]
    assert {error["field"] for error in errors} == {"advice_id"}
    assert count(admin, experiment) == 1
    assert len(rows(admin, experiment)) == 1


def test_an_advice_past_its_time_is_given_the_default_reward_once_by_the_jobs(
    tmp_path: Path, storage: Storage
) -> None:
    settings = {"upkeep.interval_ms": 50, **storage}
    with Server(tmp_path, settings=settings) as one, Server(tmp_path, settings=settings) as other:
        admin = one.admin()
        experiment, key = create(admin, advice_id=True, delta_hours=0, default_reward={"v": 0})
        advices = [
            other.client().get(f"/getaction/{experiment}", key=key).body["advice_id"] for _ in range(30)
        ]
        while count(admin, experiment) < 30:
            pass  # each look is a request to the server
        log = rows(admin, experiment)
        assert sorted(row["advice_id"] for row in log) == sorted(advices)
        assert all(row["timeout"] is True and row["reward"] == {"v": 0} for row in log)
        late = admin.post(f"/setreward/{experiment}", {"key": key, "reward": 1, "advice_id": advices[0]})
        assert late.status == 409


@pytest.mark.parametrize("processes", [1, 2] if LONG else [2])
def test_a_term_signal_drains_what_was_accepted(
    run: Run, tmp_path: Path, storage: Storage, processes: int
) -> None:
    with Server(tmp_path, processes=processes, settings=storage) as server:
        admin = server.admin()
        experiment, key = create(admin, set_reward="import time; time.sleep(0.05)" + COUNT)
        answers: list[tuple[int, Any] | None] = []

        async def stop() -> int:
            message = [reward(experiment, key)]
            clients = [asyncio.create_task(client(server.port, message, answers)) for _ in range(20)]
            await asyncio.wait(clients, return_when=asyncio.FIRST_COMPLETED)
            status = await asyncio.to_thread(server.stop)
            await asyncio.gather(*clients)
            return status

        assert run(stop()) == 0
        assert [answer[0] for answer in answers if answer is not None] == [200] * 20
    with Server(tmp_path, settings=storage) as server:
        assert count(server.admin(), experiment) == 20


def test_a_loop_a_memory_hog_and_a_crash_answer_in_time_and_the_next_call_works(
    tmp_path: Path, storage: Storage
) -> None:
    settings = {"sandbox.cpu_ms": 1000, "sandbox.wall_ms": 2000, **storage}
    code = """
bad = self.context.get("bad")
if bad == "loop":
    while True: pass
if bad == "memory": x = [bytearray(1 << 20) for _ in range(4096)]
if bad == "crash":
    import ctypes; ctypes.string_at(0)
self.action["ok"] = 1
"""
    with Server(tmp_path, settings=settings) as server:
        admin = server.admin()
        experiment, key = create(admin, get_action=code)
        for bad, status, error_code, line in (
            ("loop", 504, "policy_timeout", 4),
            ("memory", 422, "policy_memory", 5),
            ("crash", 422, "policy_crashed", None),
        ):
            answer = admin.get(f"/getaction/{experiment}", key=key, context={"bad": bad})
            assert (answer.status, answer.body["error"]["code"]) == (status, error_code), answer.body
            if line is not None:
                assert answer.body["error"]["detail"]["line"] == line
            assert admin.get(f"/getaction/{experiment}", key=key).body == {"action": {"ok": 1}}


def test_no_process_outlives_a_killed_server(tmp_path: Path) -> None:
    # The loop ends with its server, not by a limit.
    settings = {"sandbox.cpu_ms": 60_000, "sandbox.wall_ms": 120_000}
    with Server(tmp_path, settings=settings, executed_zygotes=True) as server:
        admin = server.admin()
        assert server.process is not None
        idle = tree(server.process.pid)
        experiment, key = create(admin, get_action="while True: pass")
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(request("GET", f"/getaction/{experiment}?key={key}"))
            processes: set[int] = set()
            while not any(busy(pid) for pid in processes - idle):  # until a worker loops
                processes = tree(server.process.pid)
            server.kill()
        while any(running(pid) for pid in processes):
            pass


def tree(root: int) -> set[int]:
    """A process and all below it."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()[1:]]
    found, before = {root}, 0
    while len(found) > before:
        before = len(found)
        found |= {pid for pid, parent in pairs if parent in found}
    return found


def busy(pid: int) -> bool:
    """Whether a process has computed for a tenth of a second."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(ticks) >= os.sysconf("SC_CLK_TCK") // 10


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
