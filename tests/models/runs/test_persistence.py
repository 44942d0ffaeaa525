"""What was answered is there: through eviction, replay, and the end of the server by SIGKILL."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.backends import Storage
from tests.effort import LONG
from tests.support import Client, Server

pytestmark = [pytest.mark.every_backend, pytest.mark.durable]

RUNS, CLIENTS, ROOM = (200, 10, 20) if LONG else (16, 8, 3)
STEPS = 3
CODE = """
import random
from epicenter import Epicenter

total = 0
values = []
secret_of_run = None


def add(amount):
    global total
    total += amount
    values.append([amount, random.random()])
    Epicenter.record("total")
    return values
"""


class Player(threading.Thread):
    """One client with runs of its own; remembers what was answered."""

    def __init__(self, client: Client, number: int, killed: threading.Event) -> None:
        super().__init__()
        self.client = client
        self.number = number
        self.known: dict[str, list[Any]] = {}
        self.pending: dict[str, int] = {}
        self.killed = killed
        self.rounds = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.play()
        except OSError as error:
            # The server is gone: what was under way may have happened, or not.
            if not self.killed.is_set():
                self.failure = error
        except BaseException as error:
            self.failure = error

    def play(self) -> None:
        draw = random.Random(self.number)
        for _ in range(RUNS // CLIENTS):
            answer = self.client.post("/v2/run/admin/game", {"model": "adder"})
            assert answer.status == 201, answer
            self.known[answer.body["id"]] = []
        for _ in range(STEPS):
            for run in draw.sample(sorted(self.known), len(self.known)):
                amount = draw.randrange(1, 1000)
                self.pending[run] = amount
                body = {"name": "add", "arguments": [amount]}
                answer = self.client.post(f"/v2/model/operation/{run}", body)
                assert answer.status == 200, answer
                # What was drawn before is what is there now, also in a process that replayed it.
                assert answer.body["result"][:-1] == self.known[run]
                assert answer.body["result"][-1][0] == amount
                self.known[run] = answer.body["result"]
                del self.pending[run]
            self.rounds += 1


def test_runs_keep_their_numbers_with_room_for_a_tenth_and_through_a_kill(
    tmp_path: Path, storage: Storage
) -> None:
    settings = {"models.live": ROOM, **storage}
    killed = threading.Event()
    with Server(tmp_path, settings=settings) as server:
        admin = server.admin()
        upload = {"name": "adder", "engine": "python", "files": {"adder.py": CODE}}
        assert admin.post("/models", upload).status == 201
        token = admin.post("/user/token", {}).body["token"]

        def client() -> Client:
            one = server.client()
            one.token = token
            return one

        players = [Player(client(), number, killed) for number in range(CLIENTS)]
        for one in players:
            one.start()
        while min(one.rounds for one in players) < 1 and not any(one.failure for one in players):
            players[0].join(0.05)
        killed.set()
        server.kill()
        for one in players:
            one.join()
        assert [one.failure for one in players if one.failure] == []
        known = {run: values for one in players for run, values in one.known.items()}
        pending = {run: amount for one in players for run, amount in one.pending.items()}
        assert len(known) == RUNS
        assert sum(map(len, known.values())) >= RUNS
        server.start()

        def check(number: int) -> list[str]:
            wrong = []
            with_token = client()
            for run in sorted(known)[number::CLIENTS]:
                found = with_token.get(f"/v2/model/variable/{run}", name="values").body["values"]
                extra = found[len(known[run]) :]
                happened = [[amount for amount, _ in extra]]
                if found[: len(known[run])] != known[run] or happened[0] not in (
                    [],
                    [pending.get(run)],
                ):
                    wrong.append(run)
                recorded = with_token.get(f"/v2/model/variable/;id={run}/total")
                if found and recorded.body != [{"run": run, "variables": sum(a for a, _ in found)}]:
                    wrong.append(run)
            return wrong

        with ThreadPoolExecutor(CLIENTS) as pool:
            assert [run for wrong in pool.map(check, range(CLIENTS)) for run in wrong] == []
        listed = client().get("/v2/run/admin/game/;variables.total>0", endrecord=0)
        assert listed.headers["content-range"].endswith(f"/{RUNS}")
        active = client().get("/v2/run/admin/game")
        assert sum(one["active"] for one in active.body) <= ROOM


@pytest.mark.parametrize("processes", [2])
def test_two_processes_continue_a_run_without_losing_a_call(
    tmp_path: Path, storage: Storage, processes: int
) -> None:
    with Server(tmp_path, processes=processes, settings=storage) as server:
        admin = server.admin()
        upload = {"name": "adder", "engine": "python", "files": {"adder.py": CODE}}
        assert admin.post("/models", upload).status == 201
        run = admin.post("/v2/run/admin/game", {"model": "adder"}).body["id"]
        token = admin.post("/user/token", {}).body["token"]

        def add(amount: int) -> int:
            one = server.client()
            one.token = token
            body = {"name": "add", "arguments": [amount]}
            return one.post(f"/v2/model/operation/{run}", body).status

        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(add, [1] * 24))
        done = statuses.count(200)
        assert set(statuses) <= {200, 409}
        assert done >= 12
        assert admin.get(f"/v2/model/variable/{run}/total").body == done
