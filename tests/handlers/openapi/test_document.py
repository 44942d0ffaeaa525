"""`/openapi.json` describes what is there, and its examples are true."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from handlers import core, runs
from handlers.openapi import core as core_words
from handlers.openapi import models as model_words
from handlers.openapi import runs as run_words
from handlers.openapi.document import described, document, plain
from handlers.routes import ROUTES
from streamsim.config import Settings, load
from streamsim.evaluation import plans, requests
from streamsim.experiments import fields as experiment_fields
from streamsim.models import library, run_records, sweeps
from tests.handlers.openapi.world import Make, Tenant
from tests.support import Answer, Server

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
DOCUMENT: dict[str, Any] = json.loads(json.dumps(document(ROUTES, Settings())))
OPERATIONS = [
    pytest.param(path, method, id=f"{method} {path}")
    for path, item in DOCUMENT["paths"].items()
    for method in METHODS
    if method in item
]
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
DRAWN = re.compile(r"[0-9a-f]{24,64}|[A-Za-z0-9_-]{43}")
JSON = "application/json"


def test_document_is_valid_openapi_as_it_is_served(server: Server) -> None:
    answer = server.client().get("/openapi.json")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith(JSON)
    assert answer.body["openapi"] == "3.1.0"
    validate(answer.body)
    names = [one["operationId"] for item in answer.body["paths"].values() for one in methods(item).values()]
    assert len(names) == len(set(names))


def test_every_method_of_every_route_is_described_and_no_other() -> None:
    words = described(Settings())
    routed = {handler: {one.lower() for one in handler.allowed_methods()} for _, handler in ROUTES}
    assert {handler: {*one, "options"} for handler, one in words.items()} == routed
    paths = {path: one for path, item in DOCUMENT["paths"].items() for one in [methods(item)]}
    aliases = {alias: path for path, item in DOCUMENT["paths"].items() for alias in item.get("x-aliases", ())}
    for template, handler in ROUTES:
        path = plain(template)
        assert paths[aliases.get(path, path)].keys() == routed[handler]
    assert len(paths) + len(aliases) == len(ROUTES)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_parameters_of_the_path_are_described(path: str, method: str) -> None:
    found = [one["name"] for one in parameters(path, method) if one["in"] == "path"]
    assert sorted(found) == sorted(re.findall(r"{(\w+)}", path))
    for alias in DOCUMENT["paths"][path].get("x-aliases", ()):
        assert sorted(re.findall(r"{(\w+)}", alias)) == sorted(found)


def test_fields_of_bodies_are_those_that_are_read() -> None:
    assert fields("post", "/setreward/{exp_id}") == core.FIELDS | {"key", "rewards"}
    assert core_words.REWARD.keys() == core.FIELDS
    shown = set(experiment_fields.FIELDS)
    assert fields("put", "/exp/{exp_id}") == shown | {"if_revision", "note"}
    assert fields("post", "/exp") == shown - set(experiment_fields.READ_ONLY) | {"note"}
    assert fields("post", "/eval/{exp_id}/simulations") == set(requests.JOB_FIELDS)
    assert fields("post", "/eval/compare") == set(requests.COMPARE_FIELDS)
    assert fields("post", "/eval/comparisons") == set(requests.COMPARE_FIELDS)
    assert fields("post", "/eval/{exp_id}/offpolicy") == set(plans.FIELDS)
    assert fields("post", "/sweep") == set(sweeps.FIELDS)
    assert model_words.FIELDS.keys() == set(library.FIELDS)
    assert run_words.MADE.keys() == set(run_records.CREATE_FIELDS)
    assert fields("post", "/v2/model/state/{run}") == runs.StateHandler.properties.keys()


def test_limits_are_those_of_the_settings() -> None:
    settings = load(overrides={"evaluation.draws": 77, "login.token_days": 5, "compat.bptk_status": "legacy"})
    found = json.dumps(document(ROUTES, settings)["paths"]["/eval/{exp_id}/simulate"])
    assert '"maximum": 77' in found
    paths = document(ROUTES, settings)["paths"]
    assert paths["/user/token"]["post"]["requestBody"]["content"][JSON]["schema"]["properties"]["days"]
    assert {"500", "401", "503"} <= paths["/run"]["post"]["responses"].keys()
    assert not {"400", "404"} & paths["/run"]["post"]["responses"].keys()


def test_every_error_has_the_one_form_of_its_face() -> None:
    for path, item in DOCUMENT["paths"].items():
        for one in methods(item).values():
            for status, answer in one["responses"].items():
                if int(status) >= 400:
                    face = answer["$ref"].rpartition("/")[2].removesuffix(status)
                    shape = {
                        "scenarios": "ScenarioError",
                        "models": "ScenarioError",
                        "jobs": "ScenarioError",
                        "runs": "RunError",
                    }
                    assert face == shape.get(one["tags"][0], "Error"), path


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_examples_have_the_form_of_their_schemas(path: str, method: str) -> None:
    one = DOCUMENT["paths"][path][method]
    places = [place for place in parameters(path, method) if "content" not in place]
    places += [place["content"][JSON] for place in parameters(path, method) if "content" in place]
    places += list(one.get("requestBody", {}).get("content", {}).values())
    places += [place for answer in one["responses"].values() for place in answer.get("content", {}).values()]
    for place in places:
        if "example" in place:
            checked(place["example"], place["schema"])


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_example_request_gives_the_example_answer(
    server: Server, tenant: Make, anyone: Tenant, path: str, method: str
) -> None:
    one = DOCUMENT["paths"][path][method]
    ann = anyone if method == "options" else tenant()
    if method != "options":
        ann.prepare(path, one["tags"][0])
    status, told = next(iter(one["responses"].items()))
    content = told.get("content", {})
    shown = ann.filled(content.get(JSON, {}).get("example"))
    answer = send(server, ann, path, method)
    assert str(answer.status) == status, answer
    for header in told.get("headers", {}):
        assert header.lower() in answer.headers or header in ("Link", "Content-Range")
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if method == "head" or not content:
        assert answer.body == ""
        return
    assert kind in content
    if kind == JSON:
        checked(answer.body, content[kind]["schema"])
    if shown is not None:
        assert alike(shown, answer.body), (shown, answer.body)


@pytest.mark.parametrize(
    ("path", "method"),
    [pytest.param(*one.values, id=one.id) for one in OPERATIONS if one.values[1] != "options"],
)
def test_who_is_not_logged_in_is_answered_as_security_says(
    server: Server, tenant: Make, path: str, method: str
) -> None:
    one = DOCUMENT["paths"][path][method]
    status = request(server, path, method, None, {}).status
    assert (status == 401) == bool(one["security"]), status


@pytest.mark.parametrize(
    ("path", "method"),
    [
        pytest.param(*one.values, id=one.id)
        for one in OPERATIONS
        if "requestBody" in DOCUMENT["paths"][one.values[0]][one.values[1]]
    ],
)
def test_a_body_over_the_limit_is_refused_in_the_form_of_the_face(
    server: Server, tenant: Make, path: str, method: str
) -> None:
    answer = request(server, path, method, None, {}, b" " * ((1 << 16) + 1))
    assert answer.status == 413
    told = DOCUMENT["paths"][path][method]["responses"]["413"]["$ref"].rpartition("/")[2]
    checked(answer.body, DOCUMENT["components"]["responses"][told]["content"][JSON]["schema"])


def send(server: Server, ann: Tenant, path: str, method: str) -> Answer:
    """Send the example request of an operation."""
    one = DOCUMENT["paths"][path][method]
    sent: dict[str, Any] = {"path": {}, "query": [], "header": {}}
    for place in parameters(path, method):
        value = place.get("example", place.get("content", {}).get(JSON, {}).get("example"))
        if value is None:
            continue
        value = value if method == "options" else ann.filled(value)
        if place["in"] == "query":
            several = value if isinstance(value, list) and "content" not in place else [value]
            sent["query"] += [
                (place["name"], each if isinstance(each, str) else json.dumps(each)) for each in several
            ]
        else:
            sent[place["in"]][place["name"]] = value
    body = one.get("requestBody", {}).get("content", {}).get(JSON, {}).get("example")
    token = ann.token if one["security"] else None
    return request(server, path, method, token, sent, None if body is None else ann.filled(body))


def request(
    server: Server, path: str, method: str, token: str | None, sent: dict[str, Any], body: Any = None
) -> Answer:
    names = sent.get("path", {})
    filled = re.sub(r"{(\w+)}", lambda found: quote(names.get(found[1], "none"), safe=""), path)
    query = f"?{urlencode(sent['query'])}" if sent.get("query") else ""
    client = server.client()
    client.token = token
    return client.request(method.upper(), filled + query, body=body, headers=sent.get("header"))


def methods(item: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in item.items() if name in METHODS}


def parameters(path: str, method: str) -> list[dict[str, Any]]:
    item = DOCUMENT["paths"][path]
    return [*item.get("parameters", ()), *item[method].get("parameters", ())]


def fields(method: str, path: str) -> set[str]:
    body = DOCUMENT["paths"][path][method]["requestBody"]["content"][JSON]["schema"]
    return set(body["properties"])


def checked(value: Any, schema: dict[str, Any]) -> None:
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def alike(shown: Any, given: Any) -> bool:
    """Whether two values are the same, but for dates and what is drawn at random."""
    if isinstance(shown, dict) and isinstance(given, dict):
        return shown.keys() == given.keys() and all(alike(one, given[name]) for name, one in shown.items())
    if isinstance(shown, list) and isinstance(given, list):
        return len(shown) == len(given) and all(map(alike, shown, given))
    texts = isinstance(shown, str) and isinstance(given, str)
    if texts and any(kind.fullmatch(shown) and kind.fullmatch(given) for kind in (DATE, DRAWN)):
        return True
    return bool(shown == given)
