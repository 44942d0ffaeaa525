"""Requests that schemathesis makes from the document: no bug, and no answer that the document does not know.

`STREAMSIM_EXAMPLES` sets how many of each kind are sent to each operation; then they are new ones every time.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.exceptions import InvalidHeader
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.handlers.openapi.test_document import DOCUMENT, JSON, OPERATIONS, parameters
from tests.handlers.openapi.world import Make, Tenant
from tests.patience import PATIENCE_S
from tests.support import Server

EXAMPLES = int(os.environ.get("STREAMSIM_EXAMPLES", "0"))
FEW = 2
CHECKED = [status_code_conformance, content_type_conformance, response_schema_conformance]
# What success takes away from who asks.
LAST = {"/logout", "/user/password", "/{instance}/stop-instance"}
# Which parameters and fields are as the example has them: all, or some.
CHOSEN = st.just([True] * 40) | st.lists(st.booleans(), min_size=40, max_size=40)


CONFIG = SchemathesisConfig(
    projects=ProjectsConfig(
        default=ProjectConfig(generation=GenerationConfig(with_security_parameters=False))
    )
)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_whatever_is_sent_the_answer_is_as_documented(
    server: Server, tenant: Make, anyone: Tenant, path: str, method: str
) -> None:
    operation = SCHEMA[path][method.upper()]
    kinds = [schemathesis.GenerationMode.POSITIVE]
    if operation.query or operation.body:
        kinds.append(schemathesis.GenerationMode.NEGATIVE)
    asker = [anyone if method == "options" else tenant()]
    if method != "options":
        asker[0].prepare(path, DOCUMENT["paths"][path][method]["tags"][0])

    def send(case: schemathesis.Case[Any], chosen: list[bool]) -> None:
        ann = asker[0]
        sensible(case, chosen, ann)
        try:
            answer = case.call(
                base_url=server.url, headers={"Authorization": f"Bearer {ann.token}"}, timeout=PATIENCE_S
            )
        except InvalidHeader:
            return  # no client can send it
        if (method == "delete" or path in LAST) and answer.status_code < 300:
            asker[0] = renewed(ann, tenant, path)
        assert answer.status_code != 500
        case.validate_response(answer, checks=CHECKED)

    for kind in kinds:
        cases = operation.as_strategy(generation_mode=kind)
        bounded = settings(
            max_examples=1 if method == "options" else EXAMPLES or FEW,
            derandomize=not EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        bounded(given(case=cases, chosen=CHOSEN)(send))()


def sensible(case: schemathesis.Case[Any], chosen: list[bool], ann: Tenant) -> None:
    """Put what the example says in the place of some of what was generated."""
    if case.path == "/stats/{exp_id}/live" and case.query and isinstance(case.query.get("seconds"), int):
        # It would only take that long.
        case.query["seconds"] = min(case.query["seconds"], 1)
    left = iter(chosen)
    for place in parameters(case.path, case.method.lower()):
        content = place.get("content", {}).get(JSON, place)
        part = case.path_parameters if place["in"] == "path" else case.query
        if "example" in content and place["in"] != "header" and next(left):
            value = content["example"]
            part[place["name"]] = json.dumps(value) if "content" in place else value
    one = DOCUMENT["paths"][case.path][case.method.lower()]
    body = one.get("requestBody", {}).get("content", {}).get(JSON, {})
    if isinstance(case.body, dict):
        for name, value in body.get("example", {}).items():
            if next(left):
                case.body[name] = value
    for field in ("path_parameters", "query", "body"):
        setattr(case, field, ann.filled(getattr(case, field)))


def renewed(ann: Tenant, tenant: Make, path: str) -> Tenant:
    """Somebody who has what was just taken from ann."""
    if path in ("/logout", "/user/password") or path.startswith("/models"):
        other = tenant()
        other.prepare(path, "models" if path.startswith("/models") else "login")
        return other
    ann.forget()
    return ann


def test_a_generated_request_with_the_things_of_examples_is_accepted(server: Server, tenant: Make) -> None:
    ann = tenant()
    operation = SCHEMA["/getaction/{exp_id}"]["POST"]
    seen = set()

    # Hypothesis takes constants from all modules that are loaded, so ten may or may not find each status.
    @settings(max_examples=40, derandomize=True, deadline=None, database=None)
    @given(case=operation.as_strategy(), chosen=CHOSEN)
    def send(case: schemathesis.Case[Any], chosen: list[bool]) -> None:
        sensible(case, chosen, ann)
        seen.add(case.call(base_url=server.url).status_code)

    send()
    assert {200, 400, 401} <= seen
