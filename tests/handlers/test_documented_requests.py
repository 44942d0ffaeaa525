"""Each request that StreamingBandit's REST document shows, in the form in which it shows it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.application import PASSWORD, Caller

CODE = {
    "get_context": "self.context['n'] = 1\n",
    "get_action": "self.action['arm'] = 'a'\n",
    "get_reward": "self.reward['value'] = 1\n",
    "set_reward": "self.set_theta({'n': self.get_theta().get('n', 0) + 1})\nself.log_data({'n': 1})\n",
}
NEW = {"name": "buttons", **CODE, "advice_id": True, "hourly_theta": True, "delta_hours": 2}
OPEN = ("/getaction/", "/setreward/")
# Requests as they are in the document, in its order, and what a good answer holds.
REQUESTS: list[tuple[str, str, Any, Any]] = [
    ("GET", "/getaction/EXP_ID?key=KEY&context=CONTEXT", None, {"action", "advice_id"}),
    ("GET", "/setreward/EXP_ID?key=KEY&context=CONTEXT&action=ACTION&reward=REWARD", None, {"status"}),
    ("GET", "/setreward/EXP_ID?key=KEY&advice_id=ADVICE_ID&reward=REWARD", None, {"status"}),
    ("GET", "/stats/EXP_ID/currenttheta", None, dict),
    ("GET", "/stats/EXP_ID/hourlytheta?limit=10", None, list),
    ("GET", "/stats/EXP_ID/log?limit=10", None, list),
    ("GET", "/stats/EXP_ID/actionlog?limit=10", None, list),
    ("GET", "/stats/EXP_ID/rewardlog?limit=10", None, list),
    ("GET", "/stats/EXP_ID/simulationlog?limit=10", None, list),
    ("GET", "/stats/EXP_ID/summary", None, dict),
    ("GET", "/eval/EXP_ID/simulate?N=20&log_stats=True&verbose=True&seed=10", None, dict),
    ("GET", "/eval/EXP_ID/simulate?N=20&log_stats=False&verbose=False", None, dict),
    ("GET", "/exp", None, dict),
    ("POST", "/exp", {**NEW, "name": "more buttons", "default_reward": {"value": 0}}, {"id", "name", "key"}),
    ("GET", "/exp/defaults", None, dict),
    ("GET", "/exp/defaults/1", None, {"name", *CODE}),
    ("GET", "/exp/EXP_ID", None, {"name", "key", *CODE}),
    ("PUT", "/exp/EXP_ID", {**NEW, "delta_hours": 3}, dict),
    ("GET", "/exp/EXP_ID/resetexperiment?key=KEY", None, dict),
    ("POST", "/login", {"username": "ann", "password": PASSWORD}, dict),
    ("DELETE", "/exp/EXP_ID", None, dict),
    ("GET", "/logout", None, dict),
]


async def world(ann: Caller) -> dict[str, str]:
    """What stands for the words in capitals."""
    made = (await ann.post("/exp", NEW)).body
    advice = (await ann.get(f"/getaction/{made['id']}", key=made["key"])).body["advice_id"]
    words = {"EXP_ID": made["id"], "ADVICE_ID": advice, "KEY": made["key"]}
    parts = {"CONTEXT": {"n": 1}, "ACTION": {"arm": "a"}, "REWARD": {"value": 1}}
    return words | {word: quote(json.dumps(part)) for word, part in parts.items()}


def filled(path: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        path = path.replace(word, value)
    return path


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_every_request_of_the_document_is_answered_in_its_form(ann: Caller) -> None:
    words = await world(ann)
    for method, path, body, holds in REQUESTS:
        answer = await ann.request(method, filled(path, words), body=body)
        assert answer.status == 200, (method, path, answer)
        if isinstance(holds, set):
            assert holds <= set(answer.body), (method, path, answer)
        else:
            assert isinstance(answer.body, holds), (method, path, answer)


@pytest.mark.gen_test
async def test_paths_are_matched_in_any_case(ann: Caller) -> None:
    words = await world(ann)
    for method, path, _, _ in REQUESTS[:-3]:
        if method != "GET":
            continue
        place, question, query = path.partition("?")
        mixed = "/".join(part if part == "EXP_ID" else part.capitalize() for part in place.split("/"))
        answer = await ann.get(filled(mixed + question + query, words))
        assert answer.status == 200, (mixed, answer)


@pytest.mark.gen_test
async def test_every_request_but_those_of_the_core_needs_the_cookie(ann: Caller, nobody: Caller) -> None:
    words = await world(ann)
    for method, path, body, _ in REQUESTS:
        if path.startswith(OPEN) or path in ("/login", "/logout"):
            continue
        answer = await nobody.request(method, filled(path, words), body=body)
        assert answer.status == 401, (method, path, answer)


@pytest.mark.gen_test
async def test_a_user_is_added_as_the_document_shows(admin: Caller, nobody: Caller) -> None:
    user = {"username": "carol", "password": PASSWORD}
    assert (await admin.post("/user", user)).status == 200
    assert (await admin.post("/user", user)).status == 400
    assert (await nobody.post("/login", user)).status == 200


@pytest.mark.gen_test
async def test_errors_of_the_core_are_those_of_the_document(ann: Caller, nobody: Caller) -> None:
    words = await world(ann)
    for path in ("/getaction/EXP_ID?context=CONTEXT", "/setreward/EXP_ID?context=CONTEXT&reward=REWARD"):
        assert (await nobody.get(filled(path, words))).status == 400, "the key is not supplied"
        for wrong in (path.replace("EXP_ID", "none") + "&key=KEY", path + "&key=wrong"):
            assert (await nobody.get(filled(wrong, words))).status == 401, wrong
