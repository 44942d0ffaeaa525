"""What one user can do to take from others what all share: floods of requests, hostile code, deaf clients."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

from tests.attacks.corpus import POLICIES
from tests.support import Answer, Client

PASSWORD: Final = "a good password"

ARM: Final = 'self.action["arm"] = "a"'
FAST: Final = {"get_action": ARM, "get_reward": 'self.reward["value"] = 1.0'}
SLEEP: Final = f"import time\ntime.sleep(1.2)\n{ARM}"
SPIN: Final = f"for n in range(20_000): pass\n{ARM}"
# Claims to have read what was never there: each commit of it is refused, for another reason each time.
STALE: Final = f"""
import gc
theta = next(o for o in gc.get_objects() if type(o).__name__ == "ThetaCache")
theta.reads = {{(self.exp_id, "_theta", "nobody", str(random.random())): 7}}
{ARM}
"""
# Says for ever that it gets on, which once began the time limit anew.
PROGRESS: Final = f"""
import gc
channel = next((o for o in gc.get_objects() if type(o).__name__ == "Channel"), None)
number = 0
while channel is not None:
    try:
        number += 1
        channel._reported = 0.0
        channel.progress(number % 1000)
    except BaseException:
        pass
{ARM}
"""
# A model whose steps take 20 ms each where `heavy` is 1: Python's own speed, in a process of the sandbox.
STEPPED: Final = """
import time
import BPTK_Py
from BPTK_Py import Model

def work(model, t, heavy):
    until = time.process_time() + 0.02 * heavy
    while time.process_time() < until:
        pass
    return t

def bptk_factory():
    model = Model(starttime=0.0, stoptime=10.0, dt=1.0, name="spin")
    heavy = model.constant("heavy")
    heavy.equation = 0.0
    spun = model.converter("spun")
    spun.equation = model.function("work", work)(heavy)
    bptk = BPTK_Py.bptk()
    bptk.register_scenario_manager({"spin": {"model": model}})
    bptk.register_scenarios({"light": {}, "heavy": {"constants": {"heavy": 1.0}}}, "spin")
    return bptk
"""
# An operation that takes as long as it is told.
OPERATED: Final = """
import time

def rest(seconds):
    time.sleep(seconds)
    return seconds
"""

HOSTILE: Final = [{"get_action": one["code"]} | one.get("fields", {}) for one in POLICIES]
# The same as operations of a model, of which each has a part; and what the other user asks of it.
ATTACKED: Final = """
import json, math, random
import numpy as np

class Policy:
    exp_id, context, action = "", {}, {}

def attack(number):
    code = CODE[number % len(CODE)]
    exec(code, {"self": Policy(), "np": np, "json": json, "math": math, "random": random})

def rest(seconds):
    return seconds
"""
ATTACKERS: Final = 6
"""At once: as many as the tests of the same corpus let in."""
_TURN: Final = itertools.count()

Request = tuple[str, str, object]
"""Method, path and body."""


class Flood(NamedTuple):
    """One attack.

    `resource`: what it is after. `code`: of each of the attacker's experiments; those are left out that the
    server does not take. `requests`: what its `connections` send again and again, about one experiment after
    the other; `deaf`: without reading what comes; `kept`: each on one connection, where others open one for
    each request. `victim`: what another user asks for, and then pauses for `pause_s` seconds. `before`:
    what each of both does first, once; it may add to what is known of each experiment.
    """

    resource: str
    code: Sequence[dict[str, str]]
    requests: Callable[[dict[str, Any]], Request]
    victim: Callable[[dict[str, Any]], Request]
    connections: int = 16
    deaf: bool = False
    kept: bool = False
    pause_s: float = 0.0
    before: Callable[[Client, dict[str, Any]], None] | None = None


def _decision(made: dict[str, Any]) -> Request:
    return "GET", f"/getaction/{made['id']}?key={made['key']}", None


def _simulation(draws: int) -> Callable[[dict[str, Any]], Request]:
    return lambda made: ("GET", f"/eval/{made['id']}/simulate?N={draws}&verbose=false", None)


def _job(made: dict[str, Any]) -> Request:
    return "POST", f"/eval/{made['id']}/simulations", {"N": 4_000_000, "replications": 4}


def _code(made: dict[str, Any]) -> Request:
    return "PUT", f"/exp/{made['id']}", {"get_action": f"# {threading.get_ident()}\n{ARM}"}


def _large(made: dict[str, Any]) -> Request:
    return "POST", f"/getaction/{made['id']}", {"key": made["key"], "context": {"text": "x" * 3_000_000}}


def _plot(made: dict[str, Any]) -> Request:
    body = {"experiments": [made["id"]], "N": 2000, "replications": 20, "points": 200}
    return "POST", f"/eval/compare?format={quote('svg')}", body


def _page(made: dict[str, Any]) -> Request:
    return "GET", f"/exp/{made['id']}", None


def _document(made: dict[str, Any]) -> Request:
    return "GET", "/openapi.json", None


def _comparison(replications: int) -> Callable[[dict[str, Any]], Request]:
    body = {"N": 2000, "replications": replications, "points": 10}
    return lambda made: ("POST", "/eval/compare", {"experiments": [made["id"]], **body})


def _whole_run(scenario: str) -> Callable[[dict[str, Any]], Request]:
    body = {"scenario_managers": ["spin"], "scenarios": [scenario], "equations": ["spun"]}
    return lambda _: ("POST", "/run", body)


def _operation(seconds: float) -> Callable[[dict[str, Any]], Request]:
    body = {"name": "rest", "arguments": [seconds]}
    return lambda made: ("POST", f"/v2/model/operation/{made['run']}", body)


def _attack(made: dict[str, Any]) -> Request:
    return "POST", f"/v2/model/operation/{made['run']}", {"name": "attack", "arguments": [next(_TURN)]}


def _events(made: dict[str, Any]) -> Request:
    return "GET", f"/jobs/{made['job']}/events", None


def _health(made: dict[str, Any]) -> Request:
    return "GET", f"/stats/{made['id']}/health?rows=20000", None


def _stepped(client: Client, _: dict[str, Any]) -> None:
    _made(client.post("/models", {"name": "spin", "engine": "bptk", "files": {"spin.py": STEPPED}}))


def _run(client: Client, made: dict[str, Any], name: str, source: str) -> None:
    _made(client.post("/models", {"name": name, "engine": "python", "files": {"model.py": source}}))
    made["run"] = _made(client.post(f"/v2/run/{made['user']}/one", {"model": name}))["id"]


def _operated(client: Client, made: dict[str, Any]) -> None:
    _run(client, made, "rest", OPERATED)


def _attacked(client: Client, made: dict[str, Any]) -> None:
    part = [one["code"] for one in POLICIES[next(_TURN) % ATTACKERS :: ATTACKERS]]
    _run(client, made, f"hostile_{made['id']}", f"{ATTACKED}\nCODE = {part!r}\n")


def _begun(client: Client, made: dict[str, Any]) -> None:
    _, path, body = _job(made)
    made["job"] = _made(client.post(path, body))["id"]


def _decided(client: Client, made: dict[str, Any]) -> None:
    for _ in range(40):
        _made(client.post(f"/getaction/{made['id']}", {"key": made["key"], "contexts": [{}] * 500}))


def _made(answer: Answer) -> Any:
    assert 200 <= answer.status < 300, answer
    return answer.body


FLOODS: Final[dict[str, Flood]] = {
    "sleeping policies": Flood("workers", [{"get_action": SLEEP}] * 40, _decision, _decision, connections=40),
    "stale reads for ever": Flood("commits", [{"get_action": STALE}], _decision, _decision),
    "calls of 3 MB": Flood("memory", [{"get_action": SLEEP}], _large, _decision),
    "progress for ever": Flood(
        "simulations", [FAST | {"get_action": PROGRESS}], _simulation(10), _simulation(10)
    ),
    "slow simulations": Flood(
        "simulations", [FAST | {"get_action": SPIN}], _simulation(100_000), _simulation(10), connections=24
    ),
    "long jobs": Flood("processes", [FAST], _job, _decision),
    "plots": Flood("processor", [FAST], _plot, _decision, connections=8),
    "code that is put": Flood("checks of code", [FAST], _code, _code, connections=24),
    "comparisons": Flood("simulations", [FAST], _comparison(20), _comparison(1), connections=24),
    "slow runs of models": Flood(
        "models", [FAST], _whole_run("heavy"), _whole_run("light"), connections=24, before=_stepped
    ),
    "operations that sleep": Flood(
        "live models", [FAST], _operation(2.0), _operation(0.0), connections=40, before=_operated
    ),
    "followers of a job": Flood("connections", [FAST], _events, _decision, connections=60, before=_begun),
    "reads of a long log": Flood("readers", [FAST], _health, _health, before=_decided),
    "hostile code": Flood("processors", HOSTILE, _decision, _decision, connections=ATTACKERS),
    "hostile models": Flood(
        "processors",
        [FAST] * ATTACKERS,
        _attack,
        _operation(0.0),
        connections=ATTACKERS,
        before=_attacked,
    ),
    "decisions": Flood("event loop", [FAST], _decision, _decision, connections=48),
    "decisions, kept connections": Flood(
        "event loop", [FAST], _decision, _decision, connections=48, kept=True
    ),
    # Who asks again at once holds a flood back all the time, and finds everything warm; this one does not.
    "decisions, pausing victim": Flood(
        "event loop", [FAST], _decision, _decision, connections=48, kept=True, pause_s=0.005
    ),
    "pages": Flood("event loop", [FAST], _page, _decision, connections=24),
    "clients that do not read": Flood("memory", [FAST], _document, _decision, connections=50, deaf=True),
}
"""By name."""


class Serving(Protocol):
    """A server that serves, and its administrator."""

    @property
    def port(self) -> int: ...
    def admin(self) -> Client: ...
    def client(self) -> Client: ...


class User:
    """A user of its own on a server, with an experiment or more."""

    def __init__(self, server: Serving, name: str, flood: Flood, code: Sequence[dict[str, str]]) -> None:
        admin = server.admin()
        admin.post("/user", {"username": name, "password": PASSWORD})
        admin.close()
        self.client: Client = server.client()
        answer = self.client.post("/login", {"username": name, "password": PASSWORD})
        assert answer.status == 200, answer.body
        answers = [
            self.client.post("/exp", {"name": f"{name} {number}", **one}) for number, one in enumerate(code)
        ]
        self.experiments = [answer.body for answer in answers if answer.status == 200]
        for made in self.experiments:
            made["user"] = name
            if flood.before is not None:
                flood.before(self.client, made)
