"""A guardrail on real servers: what one process finds counts in all, also when one of them is killed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.backends import Storage
from tests.harm import GUARDED, decide, learn
from tests.servers import wait_until
from tests.support import Server

pytestmark = [pytest.mark.every_backend, pytest.mark.durable]


@pytest.mark.parametrize("killed", [False, True])
def test_harm_that_comes_to_one_process_switches_the_arm_off_in_every_process(
    tmp_path: Path, storage: Storage, *, killed: bool
) -> None:
    random.seed(1)
    with Server(tmp_path, settings=storage) as one, Server(tmp_path, settings=storage) as other:
        admin = one.admin()
        made = admin.post("/exp", {"name": "guarded", **GUARDED}).body
        clients = [one.client(), other.client()]
        assert {row["action"]["arm"] for row in decide(clients[1], made, 40)} == {"a", "b"}
        learn(clients[0], made, [row for client in clients for row in decide(client, made, 400)])
        if killed:
            # Perhaps before it looked: the other one goes on where the log ends.
            assert one.process is not None
            os.kill(one.process.pid, signal.SIGKILL)
            clients, admin = clients[1:], other.admin()
        began = time.monotonic()

        def served() -> set[str]:
            return {row["action"]["arm"] for client in clients for row in decide(client, made, 30)}

        wait_until(lambda: served() == {"a"}, "no process serves b")
        print(f"off in every process after {time.monotonic() - began:.2f} s")
        assert admin.get(f"/exp/{made['id']}").body["off"] == ["b"]
        (row,) = admin.get(f"/stats/{made['id']}/log").body
        assert row["guardrail"]["arm"] == "b"
