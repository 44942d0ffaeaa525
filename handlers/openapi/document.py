"""The OpenAPI document, made from the route table and the descriptions of handler methods."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

from handlers.base import COOKIE, BaseHandler
from handlers.openapi import (
    admin,
    administration,
    core,
    evaluation,
    jobs,
    login,
    models,
    ops,
    runs,
    scenarios,
    stats,
)
from handlers.openapi.operation import (
    JSON,
    MISSING,
    TEXT,
    Answer,
    Described,
    Operation,
    Parameter,
    Schema,
    mapping,
    record,
    ref,
)
from handlers.openapi.parts import PATH, schemas
from handlers.routes import Route
from handlers.run_api import RunApiHandler
from handlers.scenarios import ScenarioHandler
from streamsim.config import Settings

MODULES: Final = (
    core,
    scenarios,
    stats,
    evaluation,
    admin,
    login,
    administration,
    ops,
    jobs,
    models,
    runs,
)
ABOUT: Final = """Contextual-bandit experiments, simulation models and runs of them.

Paths match in any letter case; `x-aliases` are other paths of the same. A method that a path does not have
answers 405 with the header `Allow`. `OPTIONS` needs no login. A body over `server.max_body_bytes` answers
413. 500 is an error of the server, which logged it under the answer's `X-Request-Id`."""
MEANINGS: Final = {
    400: "Something is missing or malformed.",
    401: "Not logged in, a wrong key or password, or not yours.",
    403: "A web page of an origin that is not in `server.cors_origins` tries to change something.",
    404: "It does not exist, or is not yours.",
    409: "It contradicts the present state.",
    412: "The condition in its header does not hold.",
    413: "The body, or a part of it, is over a limit.",
    422: "The request is well-formed and cannot be honoured: code of the experiment or the model failed.",
    429: "Too many wait, or too many attempts; see `Retry-After`.",
    500: "`compat.bptk_status: legacy`: what is else 400, 404, 409 or 422.",
    503: "The store is away, the server is stopping, or a part of it is full; see `Retry-After`.",
    504: "The code of the experiment or the model took too long.",
}
LEGACY: Final = (400, 404, 409, 422)
WRITING: Final = ("POST", "PUT", "PATCH", "DELETE")


def described(settings: Settings) -> Described:
    """What all methods do, by handler."""
    found = {
        handler: methods for module in MODULES for handler, methods in module.operations(settings).items()
    }
    return {
        handler: methods | {"head": head(methods["get"])}
        if "get" in methods and handler.head is handler.get
        else methods
        for handler, methods in found.items()
    }


def head(get: Operation) -> Operation:
    """HEAD of what GET describes: the same without bodies."""
    answers = {
        status: replace(one, schema=None, example=MISSING, others={}) for status, one in get.answers.items()
    }
    return replace(get, answers=answers, more="The headers of GET.")


def document(routes: Iterable[Route], settings: Settings) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a route table.

    :raises KeyError: a method of a route has no description.
    """
    operations = described(settings)
    legacy = settings.compat.bptk_status == "legacy"
    paths: dict[str, Any] = {}
    for handler, templates in by_handler(routes).items():
        path, *aliases = map(plain, templates)
        item: dict[str, Any] = {"x-aliases": aliases} if aliases else {}
        for method in handler.allowed_methods():
            one = options(handler) if method == "OPTIONS" else operations[handler][method.lower()]
            item[method.lower()] = _operation(handler, method, path, one, legacy=legacy)
        item |= _path_parameters(path, operations[handler].values())
        paths[path] = item
    return {
        "openapi": "3.1.0",
        "info": {"title": "streamsim", "version": version("streamsim"), "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": _error_responses(),
            "securitySchemes": {
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": "As `POST /login` sets it.",
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `POST /user/token`; it counts before a cookie.",
                },
            },
        },
    }


def by_handler(routes: Iterable[Route]) -> dict[type[BaseHandler], list[str]]:
    """The path templates of each handler; first the one in full, without a slash at the end."""
    found: dict[type[BaseHandler], list[str]] = defaultdict(list)
    for template, handler in routes:
        found[handler].append(template)
    return {
        handler: sorted(templates, key=lambda one: (one != "/" and one.endswith("/"), -len(one)))
        for handler, templates in found.items()
    }


def plain(template: str) -> str:
    """A template of the route table as OpenAPI writes it."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", r"{\1}", template)


def options(handler: type[BaseHandler]) -> Operation:
    """OPTIONS, which every route has."""
    allow = {"Allow": "The methods of this path."}
    if issubclass(handler, RunApiHandler):
        needed = {"uri": TEXT, "methods": mapping(TEXT), "properties": mapping(TEXT)}
        answers = {200: Answer("What this path takes.", record(needed), headers=allow)}
    else:
        answers = {204: Answer("Which methods there are.", headers=allow)}
    return Operation(
        "What this path takes.", answers, more="Browsers ask so before a call of another origin."
    )


def errors(handler: type[BaseHandler], method: str, path: str, one: Operation) -> set[int]:
    """Statuses of errors: those that follow from access, path and input, and the method's own."""
    found = set(one.errors)
    if "{" in path:
        found.add(404)
    if method == "OPTIONS":
        return found
    if handler.access != "public":
        found |= {401, 503}
    if one.query or one.body is not None or issubclass(handler, RunApiHandler):
        found.add(400)
    if one.body is not None:
        found.add(413)
    if method in WRITING:
        found.add(403)
    return found


def _operation(
    handler: type[BaseHandler], method: str, path: str, one: Operation, *, legacy: bool
) -> dict[str, Any]:
    parameters = [
        *(_parameter(parameter, "query") for parameter in one.query),
        *(_parameter(parameter, "header") for parameter in one.headers),
    ]
    found: dict[str, Any] = {
        "operationId": f"{method.lower()}{handler.__name__.removesuffix('Handler')}",
        "tags": ["runs" if issubclass(handler, RunApiHandler) else handler.__module__.rpartition(".")[2]],
        "summary": one.summary,
        **({"description": one.more} if one.more else {}),
        **({"parameters": parameters} if parameters else {}),
    }
    if one.body is not None:
        content = {JSON: _content(one.body, one.sends)}
        content |= {kind: _content(schema, MISSING) for kind, schema in one.bodies.items()}
        found["requestBody"] = {"required": one.body_required, "content": content}
    secured = handler.access in ("user", "admin") and method != "OPTIONS"
    found["security"] = [{"cookie": []}, {"bearer": []}] if secured else []
    responses = {str(status): _answer(answer) for status, answer in one.answers.items()}
    form = _error_form(handler)
    for status in sorted(errors(handler, method, path, one)):
        told = 500 if legacy and form == "ScenarioError" and status in LEGACY else status
        responses[str(told)] = {"$ref": f"#/components/responses/{form}{told}"}
    return found | {"responses": responses}


def _path_parameters(path: str, methods: Iterable[Operation]) -> dict[str, Any]:
    own = {parameter.name: parameter for one in methods for parameter in one.path}
    found = [_parameter(own.get(name) or PATH[name], "path") for name in re.findall(r"\{(\w+)\}", path)]
    return {"parameters": found} if found else {}


def _parameter(one: Parameter, where: str) -> dict[str, Any]:
    content = _content(one.schema, one.example)
    found: dict[str, Any] = {"name": one.name, "in": where, "description": one.meaning}
    if where == "path" or one.required:
        found["required"] = True
    return found | ({"content": {JSON: content}} if one.json else content)


def _content(schema: Schema, example: Any) -> dict[str, Any]:
    return {"schema": schema} | ({} if example is MISSING else {"example": example})


def _answer(one: Answer) -> dict[str, Any]:
    content = {} if one.schema is None else {JSON: _content(one.schema, one.example)}
    content |= {kind: {"schema": schema} for kind, schema in one.others.items()}
    return {
        "description": one.meaning,
        **({"headers": dict(map(_header, one.headers.items()))} if one.headers else {}),
        **({"content": content} if content else {}),
    }


def _header(one: tuple[str, str]) -> tuple[str, dict[str, Any]]:
    return one[0], {"description": one[1], "schema": TEXT}


def _error_form(handler: type[BaseHandler]) -> str:
    """The form of a handler's errors, by the name of its schema."""
    if issubclass(handler, ScenarioHandler):
        return "ScenarioError"
    return "RunError" if issubclass(handler, RunApiHandler) else "Error"


def _error_responses() -> dict[str, Any]:
    found = {}
    for form in ("Error", "ScenarioError", "RunError"):
        for status, meaning in MEANINGS.items():
            schema = ref(form)
            if status == 404 and form != "Error":
                # A path that is no endpoint has no form.
                schema = {"anyOf": [schema, ref("Error")]}
            later = {"Retry-After": "Seconds."} if status in (429, 503) else {}
            found[f"{form}{status}"] = _answer(Answer(meaning, schema, headers=later))
    return found
