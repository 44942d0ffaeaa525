"""Who may call what: every route of the table, as nobody and as another user.

A new route fails here until it is classified.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from handlers.routes import ROUTES
from handlers.run_api import RunApiHandler
from handlers.scenarios import ScenarioHandler
from tests.application import Caller

METHODS = ("GET", "POST", "PUT", "DELETE")
# What a route needs, with the methods that it has.
CLASSIFIED = {
    "/getaction/{exp_id}": ("key", "GET POST"),
    "/setreward/{exp_id}": ("key", "GET POST"),
    "/stats/{exp_id}/currenttheta": ("user", "GET"),
    "/stats/{exp_id}/hourlytheta": ("user", "GET"),
    "/stats/{exp_id}/decisions": ("user", "GET"),
    "/stats/{exp_id}/log": ("user", "GET"),
    "/stats/{exp_id}/actionlog": ("user", "GET"),
    "/stats/{exp_id}/rewardlog": ("user", "GET"),
    "/stats/{exp_id}/summary": ("user", "GET"),
    "/stats/{exp_id}/simulationlog": ("user", "GET"),
    "/stats/{exp_id}/errorlog": ("user", "GET"),
    "/stats": ("user", "GET"),
    "/stats/{exp_id}/buckets": ("user", "GET"),
    "/stats/{exp_id}/health": ("user", "GET"),
    "/stats/{exp_id}/live": ("user", "GET"),
    "/stats/{exp_id}/inference": ("user", "GET"),
    "/eval/compare": ("user", "POST"),
    "/eval/comparisons": ("user", "POST"),
    "/eval/comparisons/{job}": ("user", "GET"),
    "/eval/sample-ratio": ("user", "POST"),
    "/eval/{exp_id}/offpolicy": ("user", "POST"),
    "/eval/{exp_id}/simulate": ("user", "GET"),
    "/eval/{exp_id}/simulations": ("user", "GET POST"),
    "/eval/{exp_id}/simulations/{job}": ("user", "GET DELETE"),
    "/eval/{exp_id}/simulations/{job}/events": ("user", "GET"),
    "/exp": ("user", "GET POST"),
    "/exp/defaults": ("user", "GET"),
    "/exp/defaults/{default_id:part}": ("user", "GET"),
    "/exp/{exp_id}": ("user", "GET PUT DELETE"),
    "/exp/{exp_id}/key": ("user", "POST"),
    "/exp/{exp_id}/revisions": ("user", "GET"),
    "/exp/{exp_id}/revisions/{revision}": ("user", "GET"),
    "/exp/{exp_id}/dryrun": ("user", "POST"),
    "/exp/{exp_id}/resetexperiment": ("user", "GET"),
    "/exp/{exp_id}/theta": ("user", "GET PUT"),
    "/exp/{exp_id}/webhooks": ("user", "GET"),
    "/login": ("public", "POST"),
    "/logout": ("public", "GET POST"),
    "/user": ("admin", "POST"),
    "/user/password": ("user", "PUT"),
    "/user/token": ("user", "GET POST"),
    "/user/token/{token_id}": ("user", "DELETE"),
    "/users": ("admin", "GET"),
    "/users/{username:part}/sessions": ("user", "GET"),
    "/users/{username:part}/sessions/{session_id}": ("user", "DELETE"),
    "/server": ("admin", "GET"),
    "/": ("public", "GET"),
    "/healthy": ("public", "GET HEAD"),
    "/ready": ("public", "GET"),
    "/metrics": ("public", "GET"),
    "/openapi.json": ("public", "GET"),
}
# Routes that name nothing of anybody's: another user gets an answer of its own there.
OWN = {
    "/stats",
    "/eval/sample-ratio",
    "/exp",
    "/exp/defaults",
    "/exp/defaults/{default_id:part}",
    "/user/password",
    "/user/token",
}
# What administrators do for others; how, is in test_administration.
ADMINISTERED = {"/users/{username:part}/sessions", "/users/{username:part}/sessions/{session_id}"}
BODIES: dict[str, Any] = {
    "/exp": {"name": "taken"},
    "/exp/{exp_id}": {"name": "taken over"},
    "/user": {"username": "eve", "password": "a good password"},
    "/user/password": {"old_password": "wrong password", "new_password": "a better password"},
    "/getaction/{exp_id}": {"key": "wrong"},
    "/setreward/{exp_id}": {"key": "wrong", "reward": 1},
}
CALLS = [
    (method, template)
    for template, (_, methods) in CLASSIFIED.items()
    for method in methods.split()
    if method != "HEAD"
]


def test_every_route_is_classified() -> None:
    def methods(handler: Any) -> str:
        own = handler.allowed_methods()
        return " ".join(method for method in (*METHODS, "HEAD", "PATCH") if method in own)

    # Those of the scenario endpoints are classified in tests/models/scenarios,
    # those of runs in tests/models/runs.
    own = (ScenarioHandler, RunApiHandler)
    routes: list[Any] = [route for route in ROUTES if not issubclass(route[1], own)]
    assert {template: (handler.access, methods(handler)) for template, handler in routes} == CLASSIFIED
    assert len(routes) == len(CLASSIFIED)


class Anns:
    """Things of ann's, by the names that they have in templates, and a call on them."""

    def __init__(self, experiment: dict[str, Any], token: dict[str, Any], job: dict[str, Any]) -> None:
        self.names = {
            "exp_id": experiment["id"],
            "experiment": experiment["id"],
            "token_id": token["id"],
            "session_id": token["id"],
            "username": "ann",
            "revision": "1",
            "default_id": "1",
            "job": job["id"],
        }
        self.secrets = (experiment["id"], experiment["key"], token["id"], token["token"], "ann's own")

    async def call(self, client: Caller, method: str, template: str) -> Any:
        path = re.sub(r"\{(\w+)(:part)?\}", lambda match: self.names[match[1]], template)
        body = BODIES.get(template, {}) if method in ("POST", "PUT") else None
        if template in ("/eval/compare", "/eval/comparisons"):
            body = {"experiments": [self.names["exp_id"]]}
        query = {"key": self.secrets[1]} if template.endswith("resetexperiment") else {}
        if template.startswith(("/getaction", "/setreward")) and method == "GET":
            query = {"key": "wrong", "reward": "1"}
        return await client.request(method, path, body=body, query=query)


async def anns_things(ann: Caller) -> Anns:
    code = "self.action['arm'] = 1"
    experiment = await ann.experiment("ann's own", get_action=code, set_reward="self.set_theta({'n': 1})")
    await ann.get(f"/setreward/{experiment['id']}", key=experiment["key"], reward=1)
    await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"])
    token = (await ann.post("/user/token", {"label": "ann's own"})).body
    job = (await ann.post(f"/eval/{experiment['id']}/simulations", {"N": 10})).body
    return Anns(experiment, token, job)


async def state(ann: Caller, anns: Anns) -> list[Any]:
    """What nobody else may change."""
    id = anns.names["exp_id"]
    paths = ["/exp", f"/exp/{id}", f"/stats/{id}/currenttheta", f"/stats/{id}/summary", "/user/token"]
    paths.append(f"/eval/{id}/simulations/{anns.names['job']}")
    return [(await ann.get(path)).body for path in paths]


def check(answer: Any, who: str, template: str) -> None:
    """Whether somebody who is not ann is answered as it must be.

    :param who: their name, "" if they are not logged in.
    """
    access = CLASSIFIED[template][0]
    if access == "public":
        assert answer.status == (400 if template == "/login" else 200)
    elif not who:
        assert (answer.status, answer.body["error"]["code"]) == (401, "unauthorized")
    elif template not in OWN and (who, access) != ("root", "admin"):
        assert answer.status == (404 if template.startswith(("/user/token", "/eval/comparisons/")) else 401)


@pytest.fixture(params=["nobody", "bob", "root"])
def other(request: pytest.FixtureRequest, nobody: Caller, user: Callable[..., Caller]) -> Caller:
    """Who is not ann; an administrator is another user like any."""
    return nobody if request.param == "nobody" else user(request.param, admin=request.param == "root")


@pytest.mark.gen_test
async def test_nobody_but_ann_gets_at_anything_of_anns(ann: Caller, other: Caller) -> None:
    anns = await anns_things(ann)
    before = await state(ann, anns)
    for method, template in sorted(CALLS, key=lambda call: call[1] == "/logout"):
        if other.name == "root" and template in ADMINISTERED:
            continue
        answer = await anns.call(other, method, template)
        try:
            check(answer, other.name, template)
            assert not any(secret in json.dumps(answer.body) for secret in anns.secrets)
            assert await state(ann, anns) == before
        except AssertionError as error:
            raise AssertionError(f"{method} {template}: {answer}") from error


@pytest.mark.gen_test
async def test_the_key_of_one_experiment_opens_no_other(ann: Caller, bob: Caller) -> None:
    anns = await anns_things(ann)
    mine = await bob.experiment("bob's", get_action="self.action['arm'] = 1")
    for path in ("getaction", "setreward"):
        url = f"/{path}/{anns.names['exp_id']}"
        assert (await bob.get(url, key=mine["key"], reward="1")).status == 401
        body = {
            "key": mine["key"],
            **({"contexts": [{}]} if path == "getaction" else {"rewards": [{"reward": 1}]}),
        }
        assert (await bob.post(url, body)).status == 401
