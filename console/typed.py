#!/usr/bin/env python3
"""Write console/src/openapi.ts, the types of the API module, from the service's own OpenAPI document.

`python console/typed.py` writes it; a test holds it against the document.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FILE = ROOT / "console" / "src" / "openapi.ts"
HEADER = """\
// What each endpoint takes and answers. Written by console/typed.py from /openapi.json; do not edit.

"""
SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
METHODS = ("get", "post", "put", "patch", "delete")


def _ref(schema: dict[str, Any]) -> str:
    return str(schema["$ref"].rpartition("/")[2])


def type_of(schema: Any) -> str:
    """A JSON schema as a type of TypeScript."""
    if not isinstance(schema, dict) or not schema:
        return "unknown"
    if "$ref" in schema:
        return _ref(schema)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " | ".join(dict.fromkeys(_grouped(type_of(one)) for one in schema[several]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_grouped(type_of({**schema, "type": one})) for one in kind)
    if kind == "array":
        return f"{_grouped(type_of(schema.get('items')))}[]"
    if kind == "object":
        return _object(schema)
    return SIMPLE.get(str(kind), "unknown")


def _grouped(text: str) -> str:
    return f"({text})" if " | " in text and not text.startswith(("{", "(")) else text


def _object(schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    fields = [
        f"{json.dumps(name)}{'' if name in required else '?'}: {type_of(one)}"
        for name, one in schema.get("properties", {}).items()
    ]
    more = schema.get("additionalProperties", True)
    if fields and more is not False:
        fields.append("[name: string]: unknown")
    elif not fields:
        return f"Record<string, {type_of(more)}>"
    return "{ " + "; ".join(fields) + " }"


def _content(holder: dict[str, Any] | None) -> str:
    content = (holder or {}).get("content", {})
    if "application/json" not in content:
        return "unknown" if content else "undefined"
    return type_of(content["application/json"].get("schema"))


def _operation(path: str, shared: list[Any], operation: dict[str, Any]) -> str:
    parameters = [one for one in (*shared, *operation.get("parameters", ())) if "$ref" not in one]
    asked = [one for one in parameters if one["in"] == "query"]
    query = {
        "type": "object",
        "properties": {one["name"]: one.get("schema", {"type": "string"}) for one in asked},
        "required": [one["name"] for one in asked if one.get("required")],
        "additionalProperties": False,
    }
    names = re.findall(r"\{(\w+)\}", path)
    answers = [
        _content(answer)
        for status, answer in operation["responses"].items()
        if status.startswith("2") and "$ref" not in answer
    ]
    parts = {
        "path": "{ " + "; ".join(f"{name}: string" for name in names) + " }" if names else "undefined",
        "query": type_of(query) if query["properties"] else "undefined",
        "body": _content(operation.get("requestBody")),
        "answer": " | ".join(dict.fromkeys(_grouped(one) for one in answers)) or "undefined",
    }
    return "{ " + "; ".join(f"{name}: {text}" for name, text in parts.items()) + " }"


def written(document: dict[str, Any]) -> str:
    """The module for an OpenAPI document."""
    lines = [HEADER]
    for name, schema in document["components"]["schemas"].items():
        lines.append(f"export type {name} = {type_of(schema)};\n")
    lines.append("\nexport interface Operations {\n")
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                shown = _operation(path, item.get("parameters", []), item[method])
                lines.append(f"  {json.dumps(f'{method.upper()} {path}')}: {shown};\n")
    lines.append("}\n")
    return "".join(lines)


def current() -> str:
    """The module for the service as it is."""
    sys.path.insert(0, str(ROOT))
    from handlers.openapi.document import document
    from handlers.routes import ROUTES
    from streamsim import config

    return written(json.loads(json.dumps(document(ROUTES, config.load()))))


if __name__ == "__main__":
    FILE.write_text(current())
