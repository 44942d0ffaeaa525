"""A model that loops, eats memory, crashes or attacks hurts only its own instance."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from streamsim.services import Services
from tests.application import Caller
from tests.models.conftest import MANAGER, push, session

MODEL = """
import os, sys, socket, signal, subprocess
from BPTK_Py import Model, bptk as B
def act():
    ACTION
def hit(model, t, x):
    if t >= 2:
        act()
    return x
def bptk_factory():
    model = Model(starttime=1, stoptime=9, dt=1, name="m")
    hits = model.function("hit", hit)
    model.constant("x").equation = 1.0
    model.converter("y").equation = hits(model.constant("x"))
    b = B()
    b.register_scenario_manager({"hostile": {"model": model}})
    b.register_scenarios({"base": {}}, "hostile")
    return b
"""
LIMITS = {"models.cpu_ms": 400, "models.wall_ms": 1500, "models.memory_bytes": 256 << 20, "models.live": 4}
# What the model does at its second step -> status, and a part of the answer.
ACTIONS = {
    "while True: pass": (504, "stopped"),
    "try:\n        while True: pass\n    except BaseException:\n        while True: pass": (504, "stopped"),
    "global hog; hog = 'x' * (1 << 30)": (422, "emory"),
    "os._exit(3)": (422, "exit code 3"),
    "import ctypes; ctypes.string_at(0)": (422, "signal 11"),
    "os.write(3, b'x' * 100)": (422, "protocol"),
    "raise ValueError('the price is negative')": (422, "model.py, line 5: ValueError: the price is negative"),
    "raise SystemExit": (422, "SystemExit"),
    "os.fork()": (422, "PermissionError"),
    "open('/tmp/x', 'w')": (422, "Error"),
    "open('/proc/1/environ').read()": (422, "FileNotFoundError"),
    "socket.socket()": (422, "PermissionError"),
    "os.kill(os.getppid(), 9)": (422, "Error"),
    "subprocess.run(['/bin/true'])": (422, "Error"),
    "open('SECRET').read()": (422, "Error"),
}


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [LIMITS], indirect=True)
@pytest.mark.parametrize("action", ACTIONS)
async def test_only_its_own_instance_is_hurt(
    customers: Caller, bob: Caller, services: Services, tmp_path: Path, action: str
) -> None:
    status, part = ACTIONS[action]
    secret = tmp_path / "secret"
    secret.write_text("CANARY")
    os.chmod(secret, 0o666)
    source = MODEL.replace("ACTION", action.replace("SECRET", str(secret)))
    await push(bob, "hostile", {"model.py": source})
    what = {"scenario_managers": ["hostile"], "scenarios": ["base"], "equations": ["y"]}
    hostile, neighbour = await session(bob, **what), await session(customers)
    assert (await bob.post(f"/{hostile}/run-step", None)).body["hostile"]["base"]["y"] == {"1.0": 1.0}

    async def step_neighbour() -> list[Any]:
        return [await customers.post(f"/{neighbour}/run-step", None) for _ in range(5)]

    answer, steps = await asyncio.gather(bob.post(f"/{hostile}/run-step", None), step_neighbour())
    assert answer.status == status, answer
    assert part in answer.body["error"], answer
    for place in (str(tmp_path), "site-packages", "CANARY", "Traceback"):
        assert place not in answer.body["error"].replace(str(secret), "")
    assert [one.status for one in steps] == [200] * 5
    customers_at_5 = steps[4].body[MANAGER]["interactive_scenario"]["customers"]["5.0"]
    assert customers_at_5 == 4500.994779467561
    # The instance is where it was, and can be used: what was answered stays.
    flat = (await bob.get(f"/{hostile}/flat-session-results")).body
    assert flat == {"hostile": {"base": {"equations": {"y": [1.0]}}}}
    assert (await bob.post(f"/{hostile}/begin-session", what)).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("answers", ["[]", "[{}, {}]", "3"])
async def test_a_process_that_answers_another_number_of_steps_is_told_so(bob: Caller, answers: str) -> None:
    forged = f"{{'answers': {answers}, 'step': 2.0, 'ended': False}}"
    patch = f"sys.modules['streamsim.programs.model'].Program.op_steps = lambda self, **given: {forged}\n"
    await push(bob, "hostile", {"model.py": MODEL.replace("ACTION", "pass") + patch})
    what = {"scenario_managers": ["hostile"], "scenarios": ["base"], "equations": ["y"]}
    hostile = await session(bob, **what)
    answer = await bob.post(f"/{hostile}/run-step", None)
    assert (answer.status, answer.body) == (422, {"error": "the model's process answered what no model does"})
