"""Operations that fail change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from streamsim.services import Services
from streamsim.storage.contract.errors import StoreUnavailable
from tests.application import Caller
from tests.models.conftest import push
from tests.models.runs.conftest import start, value
from tests.models.runs.test_documents import operate


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"models.cpu_ms": 300, "models.wall_ms": 600}], indirect=True)
async def test_an_endless_operation_is_cut_off_and_changes_nothing(player: Caller) -> None:
    run = await start(player)
    await operate(player, run, "set_price", [4])
    answer = await player.post(f"/v2/model/operation/{run}", {"name": "loop"})
    assert (answer.status, answer.body["type"], answer.body["name"]) == (504, "model_timeout", "loop")
    assert answer.body["fault"]["cause"]["function"] == "loop"
    assert await value(player, run, "price") == 4


@pytest.mark.gen_test
async def test_what_an_operation_may_not_answer_or_record_changes_nothing(player: Caller) -> None:
    code = (
        "from epicenter import Epicenter\nn = 0\n\n"
        "def answer():\n    global n\n    n += 1\n    return object()\n\n"
        "def record(name, value):\n    global n\n    n += 1\n    Epicenter.record(name, value)\n\n"
        "def huge():\n    global n\n    n += 1\n    Epicenter.record('big', 'x' * (5 << 20))\n"
    )
    await push(player, "odd", {"odd.py": code}, engine="python")
    run = await start(player, "odd")
    body: dict[str, Any]
    for body in (
        {"name": "answer"},
        {"name": "huge"},
        {"name": "record", "arguments": ["__class__", 1]},
        {"name": "record", "arguments": [3, 1]},
        {"name": "record", "arguments": ["", 1]},
        {"name": "nothing_like_it"},
        {"name": "n"},
        {"name": "__import__", "arguments": ["os"]},
        {"name": "answer", "arguments": {}},
        {"name": "answer", "extra": 1},
        {"arguments": []},
    ):
        answer = await player.post(f"/v2/model/operation/{run}", body)
        assert (answer.status, answer.body["type"]) == (400, "invalid_proc"), body
    assert await value(player, run, "n") == 0


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_call_that_could_not_be_stored_did_not_happen(
    player: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await start(player)
    await operate(player, run, "runmodel", ["", 1, True])

    async def away(*_arguments: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(services.store.runs, "append", away)
        answer = await player.post(
            f"/v2/model/operation/{run}", {"name": "runmodel", "arguments": ["", 1, True]}
        )
        assert answer.status == 503
    assert await value(player, run, "calls") == 1
    await operate(player, run, "runmodel", ["", 1, True])
    assert await value(player, run, "calls") == 2
