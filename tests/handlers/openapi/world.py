"""What the examples of the document name, made on a real server."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from handlers.openapi import parts
from tests.patience import PATIENCE_S
from tests.support import ROOT, Answer, Client, Server

# Bounds small enough that whatever a client may ask for is soon done.
SETTINGS: dict[str, object] = {
    "login.attempts": 1_000_000,
    "login.address_attempts": 1_000_000,
    "server.max_body_bytes": 1 << 16,
    "evaluation.draws": 50,
    "evaluation.compare_draws": 200,
    "evaluation.job_draws": 200,
    "evaluation.runs": 5,
    "evaluation.request_s": 20,
    "models.sweep_runs": 20,
    "models.cpu_ms": 3000,
    "models.wall_ms": 5000,
    "models.live": 6,
}
EXAMPLES = ROOT / "examples"
MINE = re.compile(
    "|".join(
        re.escape(getattr(parts, name))
        for name in (
            "EXPERIMENT",
            "KEY",
            "ADVICE",
            "JOB",
            "WORK",
            "COMPARED",
            "TOKEN_ID",
            "INSTANCE",
            "RUN",
            "PASSWORD",
            "THETA_VERSION",
        )
    )
    + f"|^{parts.ACCOUNT}$"
)
_numbers = count()


class Tenant:
    """A user of its own, with a bearer token, and what examples name, made when it is asked for."""

    def __init__(self, server: Server, admin: Client) -> None:
        self.admin = admin
        self.name, self.password = f"user{next(_numbers)}", "a password of mine"
        given(admin.post("/user", {"username": self.name, "password": self.password}))
        self.client = server.client()
        given(self.client.post("/login", {"username": self.name, "password": self.password}))
        self.token = given(self.client.post("/user/token", {"label": "laptop"})).body["token"]
        self.client.cookies.clear()
        self.client.token = self.token
        self._made: dict[str, str] = {parts.ACCOUNT: self.name, parts.PASSWORD: self.password}
        self._models: set[str] = set()

    def real(self, example: str) -> str:
        """The name of the thing that an example names."""
        if example == parts.THETA_VERSION:  # another after every reward
            whole = given(self.client.get(f"/exp/{self.real(parts.EXPERIMENT)}/theta")).body
            return str(whole["version"])
        if example not in self._made:
            makers: dict[str, Callable[[], None]] = {
                parts.EXPERIMENT: self._experiment,
                parts.KEY: self._experiment,
                parts.ADVICE: self._advice,
                parts.JOB: self._job,
                parts.WORK: self._work,
                parts.COMPARED: self._compared,
                parts.TOKEN_ID: self._token,
                parts.INSTANCE: self._instance,
                parts.RUN: self._run,
            }
            makers[example]()
        return self._made[example]

    def forget(self) -> None:
        """Whatever was made may be gone: make it anew when it is asked for."""
        self._made = {parts.ACCOUNT: self.name, parts.PASSWORD: self.password}

    def filled(self, value: Any) -> Any:
        """An example with the real things in it."""
        if isinstance(value, str):
            return MINE.sub(lambda found: self.real(found[0]), value)
        if isinstance(value, dict):
            return {self.filled(name): self.filled(one) for name, one in value.items()}
        return [self.filled(one) for one in value] if isinstance(value, list) else value

    def prepare(self, path: str, tag: str) -> None:
        """What the example of an operation needs beyond what it names."""
        if path in ("/user", "/users", "/server"):
            self.token = given(self.admin.post("/user/token", {})).body["token"]
        elif path == "/agents":
            self.model("market", (EXAMPLES / "agent_market.py").read_text(), "bptk")
        elif tag in ("scenarios", "models", "jobs"):
            self.model("tea", parts.TEA, "bptk")
        elif tag == "runs":
            self.model("shop", parts.SHOP, "python")

    def model(self, name: str, code: str, engine: str) -> None:
        if name not in self._models:
            body = {"name": name, "files": {f"{name}.py": code}, "engine": engine}
            given(self.client.post("/models", body), 201)
            self._models.add(name)

    def _experiment(self) -> None:
        names = given(self.client.get("/exp")).body
        for id in names:
            given(self.client.delete(f"/exp/{id}"))
        made = given(self.client.post("/exp", {"name": "colours", **parts.CODE_PIECES})).body
        call = {"key": made["key"], "context": {"age": 41}}
        given(self.client.post(f"/getaction/{made['id']}", call))
        given(self.client.post(f"/setreward/{made['id']}", {**call, "action": {"arm": "A"}, "reward": 1}))
        self._made |= {parts.EXPERIMENT: made["id"], parts.KEY: made["key"]}

    def _advice(self) -> None:
        id = self.real(parts.EXPERIMENT)
        given(self.client.put(f"/exp/{id}", {"advice_id": True, "delta_hours": 24}))
        decided = given(self.client.post(f"/getaction/{id}", {"key": self.real(parts.KEY)})).body
        self._made[parts.ADVICE] = decided["advice_id"]

    def _job(self) -> None:
        id = self.real(parts.EXPERIMENT)
        made = given(self.client.post(f"/eval/{id}/simulations", {"N": 10, "seed": 1}), 202)
        self._made[parts.JOB] = made.body["id"]
        self._wait(f"/eval/{id}/simulations/{made.body['id']}")

    def _work(self) -> None:
        self.prepare("", "models")
        body = {
            "scenario_manager": "tea",
            "scenario": "base",
            "equations": ["temperature"],
            "parameters": {"room": [0, 20]},
            "background": True,
        }
        made = given(self.client.post("/sweep", body), 202)
        self._made[parts.WORK] = made.body["id"]
        self._wait(f"/jobs/{made.body['id']}")

    def _compared(self) -> None:
        body = {"experiments": [self.real(parts.EXPERIMENT)], "N": 4, "replications": 2, "seed": 1}
        made = given(self.client.post("/eval/comparisons", body), 202)
        self._made[parts.COMPARED] = made.body["id"]
        self._wait(f"/jobs/{made.body['id']}")

    def _token(self) -> None:
        self._made[parts.TOKEN_ID] = given(self.client.post("/user/token", {"label": "shop"})).body["id"]

    def _instance(self) -> None:
        self.prepare("", "scenarios")
        id = given(self.client.post("/start-instance", {})).body["instance_uuid"]
        asked = {"scenario_managers": ["tea"], "scenarios": ["base"], "equations": ["temperature"]}
        given(self.client.post(f"/{id}/begin-session", asked))
        given(self.client.post(f"/{id}/run-step", {"settings": {}}))
        self._made[parts.INSTANCE] = id

    def _run(self) -> None:
        self.model("shop", parts.SHOP, "python")
        made = given(self.client.post(f"/v2/run/{self.name}/fair", {"model": "shop"}), 201)
        id = made.body["id"]
        sale = {"name": "sell", "arguments": ["apples", 3]}
        given(self.client.post(f"/v2/model/operation/{id}", sale))
        self._made[parts.RUN] = id

    def _wait(self, path: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while given(self.client.get(path)).body["state"] not in ("done", "failed"):
            assert time.monotonic() < deadline, path
            time.sleep(0.02)


def given(answer: Answer, status: int = 200) -> Answer:
    """An answer that has to be."""
    assert answer.status == status, answer
    return answer


Make = Callable[[], Tenant]


def maker(server: Server) -> Make:
    """Makes tenants of a server."""
    return partial(Tenant, server, server.admin())
