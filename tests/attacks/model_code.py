"""Runs the hostile code of the corpus as code of simulation models: while one is loaded, or at a step.

The bystanders are stepped instances of another tenant and of the attacker, which must go on undisturbed.
"""

from __future__ import annotations

import asyncio
import json
import time
from string import Template
from typing import Any

from tests.attacks import harness
from tests.attacks.client import Response
from tests.attacks.harness import Campaign, Outcome
from tests.attacks.targets import token

# What code of policies may use without an import, and how what it found out gets out of the process.
HOSTILE = Template("""
import json, math, random
import numpy as np
from BPTK_Py import Model, bptk as B

class Policy:
    def __init__(self):
        self.context, self.action = {"t": $targets}, {}

def attack():
    me = Policy()
    names = {"self": me, "np": np, "json": json, "math": math, "random": random}
    exec(compile($code, "attack.py", "exec"), names)
    text = repr(me.action)
    found = [text[at : at + 50] for at in range(len(text)) if text.startswith(("CANARY", "pwned"), at)]
    if me.action:
        raise RuntimeError("|".join([*found[:5], text]))

def hit(model, t, x):
    if $at_step and t >= 2:
        attack()
    return x

def bptk_factory():
    if not $at_step:
        attack()
    model = Model(starttime=1, stoptime=9, dt=1, name="m")
    hits = model.function("hit", hit)
    model.constant("x").equation = 1.0
    model.converter("y").equation = hits(model.constant("x"))
    b = B()
    b.register_scenario_manager({"$name": {"model": model}})
    b.register_scenarios({"base": {}}, "$name")
    return b
""")
BYSTANDER = Template("""
# CODE-$name $token
from BPTK_Py import Model, bptk as B
TOKENS = ["$token"] * 100

def bptk_factory():
    model = Model(starttime=0, stoptime=1000000, dt=1, name="m")
    stock, flow = model.stock("y"), model.flow("f")
    stock.initial_value, flow.equation, stock.equation = 0.0, 2.0, flow
    b = B()
    b.register_scenario_manager({"$name": {"model": model}})
    b.register_scenarios({"base": {}}, "$name")
    return b
""")
ENDS = {200: "ok", 201: "ok", 400: "error", 422: "error", 504: "timeout"}
# The model's process is ended for each of these, or its code is told; both are 422.
AS_ERROR = {"error", "reject", "memory", "crash"}


def faults(snippet: dict[str, Any], outcome: Outcome) -> list[str]:
    """In what respects a snippet got through, or ended as it must not."""
    expected = {"error" if end in AS_ERROR else end for end in snippet["expect"]}
    if "reject" in snippet["expect"]:
        expected.add("ok")  # what a policy may not answer, a model does not answer
    if "ok" in expected or not snippet["at_step"]:
        expected.add("error")  # the model raises what the code found out; and no upload fails in another way
    # Of the seconds a part is the journal's.
    return harness.faults({**snippet, "expect": expected}, outcome, late_s=1.0)


class ModelCampaign(Campaign):
    """A snippet runs at the second step of an instance if it is `at_step`, else while its model is loaded."""

    def _source(self, snippet: dict[str, Any], name: str, *, at_step: bool) -> str:
        targets, code = repr(self._context()), repr(snippet["code"])
        return HOSTILE.substitute(targets=targets, code=code, at_step=at_step, name=name)

    async def _push(self, tenant: str, name: str, source: str, method: str = "POST") -> Response:
        body = {"name": name, "files": {"model.py": source}}
        path = "/models"
        if method == "PUT":
            path, body = f"/models/{name}", {"files": {"model.py": source}}
        return await self._client.call(method, path, body, **self._sessions[tenant])

    async def _session(self, tenant: str, name: str) -> str:
        """A new instance with a session of a model; its id."""
        session = self._sessions[tenant]
        answer = await self._client.good("POST", "/start-instance", {}, **session)
        instance: str = json.loads(answer.body)["instance_uuid"]
        body = {"scenario_managers": [name], "scenarios": ["base"], "equations": ["y"]}
        await self._client.good("POST", f"/{instance}/begin-session", body, **session)
        return instance

    async def _bystander(self, tenant: str, name: str) -> tuple[str, dict[str, Any]]:
        source = BYSTANDER.substitute(name=name, token=token(f"MODEL-{name}"))
        made = await self._push(tenant, name, source)
        if made.code != 201:
            raise AssertionError(f"{made.code} {made.body[:500]!r}")
        instance = await self._session(tenant, name)
        self._names[f"{name}_id"] = instance
        return instance, {"tenant": tenant, "name": name}

    async def _prepare(self, bystander: tuple[str, dict[str, Any]]) -> None:
        """Nothing: what a bystander needs is there."""

    async def _decide(self, experiment_id: str, facts: dict[str, Any]) -> None:
        """Steps without a pause: every step has to be the next one, right, and in time."""
        path, session, steps = f"/{experiment_id}/run-step", self._sessions[facts["tenant"]], 0
        while not self._over:
            began = time.monotonic()
            response = await self._client.call("POST", path, {"settings": {}}, **session)
            self._result.waits.append(time.monotonic() - began)
            right = {facts["name"]: {"base": {"y": {f"{steps}.0": 2.0 * steps}}}}
            if response.code != 200 or json.loads(response.body) != right:
                self._result.wrong.append(f"a bystander was answered {response.code} {response.body[:300]!r}")
            steps += 1
            await asyncio.sleep(harness.PAUSE_S)

    async def _attack(self, snippet: dict[str, Any], outcome: Outcome) -> None:
        name = "m_" + snippet["id"].replace("-", "_")
        at_step = snippet["at_step"]
        source = self._source(snippet, name, at_step=at_step)
        began = time.monotonic()
        response = await self._push("a", name, source)
        if at_step:
            if response.code != 201:
                raise AssertionError(f"{snippet['id']}: {response.code} {response.body[:500]!r}")
            instance = await self._session("a", name)
            path, session = f"/{instance}/run-step", self._sessions["a"]
            await self._client.good("POST", path, {"settings": {}}, **session)
            began = time.monotonic()
            response = await self._client.call("POST", path, {"settings": {}}, **session)
        outcome.seconds = time.monotonic() - began
        outcome.end = ENDS.get(response.code, f"{response.code}")
        outcome.traces = response.body.decode()
        await asyncio.sleep(snippet.get("after") or 0)
        if at_step:
            answer = await self._client.call("GET", f"/{instance}/session-results", **session)
            outcome.traces += answer.body.decode()
            # What the code did to its own instance is its own affair; another one of the model is well.
            other = await self._session("a", name)
            last = await self._client.call("POST", f"/{other}/run-step", {"settings": {}}, **session)
            outcome.next = last.code
            for one in (instance, other):
                await self._client.good("POST", f"/{one}/stop-instance", {}, **session)
        else:
            repaired = self._source({**snippet, "code": "pass"}, name, at_step=False)
            last = await self._push("a", name, repaired, "PUT" if outcome.end == "ok" else "POST")
            outcome.next = 200 if last.code in (200, 201) else last.code
            outcome.traces += last.body.decode()
        await self._client.good("DELETE", f"/models/{name}", **self._sessions["a"])
