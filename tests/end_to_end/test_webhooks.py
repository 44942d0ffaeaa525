"""Webhooks on real servers: a message outlives the process that committed it, and any process sends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends import Storage
from tests.receiver import SECRET, Receiver, receiving
from tests.servers import wait_until
from tests.support import Server

pytestmark = [pytest.mark.every_backend, pytest.mark.durable]

STATES = ["paused", "running", "stopped"] * 4


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def settings(storage: Storage, **more: object) -> dict[str, object]:
    return {**storage, "webhooks.allow": "127.0.0.1", **more}


def declared(receiver: Receiver) -> dict[str, Any]:
    return {"name": "told", "webhooks": [{"url": receiver.url, "secret": SECRET}]}


def test_a_process_killed_between_commit_and_delivery_loses_no_message(
    tmp_path: Path, storage: Storage, receiver: Receiver
) -> None:
    # The first one never gets to look for messages before it is killed.
    with Server(tmp_path, settings=settings(storage, **{"webhooks.interval_ms": 3_600_000})) as slow:
        admin = slow.admin()
        made = admin.post("/exp", declared(receiver)).body
        for state in STATES:
            assert admin.put(f"/exp/{made['id']}", {"state": state}).status == 200
        slow.kill()
    before = len(receiver.messages)
    with Server(tmp_path, settings=settings(storage, **{"webhooks.interval_ms": 50})) as server:
        wait_until(lambda: len({one.id for one in receiver.messages}) == len(STATES), "every message came")
        shown = server.admin().get(f"/exp/{made['id']}/webhooks").body
    print(f"{before} messages before the kill, {len(receiver.messages) - before} after it")
    assert len(shown) == len(STATES)
    by_revision = {one.data["revision"]: one.data["state"] for one in receiver.messages}
    assert [by_revision[revision] for revision in sorted(by_revision)] == STATES
    assert all(one.signed for one in receiver.messages)


def test_a_message_whose_sender_was_killed_in_mid_attempt_is_sent_by_another_process(
    tmp_path: Path, storage: Storage, receiver: Receiver
) -> None:
    # The first one's attempt waits for an answer when it is killed; the message comes due again by its date.
    receiver.held.clear()
    quick = settings(storage, **{"webhooks.interval_ms": 50, "webhooks.timeout_s": 0.5})
    with Server(tmp_path, settings=quick) as one:
        admin = one.admin()
        made = admin.post("/exp", declared(receiver)).body
        admin.put(f"/exp/{made['id']}", {"state": "paused"})
        wait_until(lambda: len(receiver.messages) == 1, "the first attempt")
        one.kill()
    receiver.held.set()
    with Server(tmp_path, settings=quick) as other:
        wait_until(lambda: len(receiver.messages) >= 2, "another attempt")
        admin = other.admin()
        wait_until(
            lambda: admin.get(f"/exp/{made['id']}/webhooks").body[0]["status"] == "delivered",
            "it is delivered",
        )
    assert len({one.id for one in receiver.messages}) == 1
