"""Scenarios that come with an upload, for models whose files have none: in our form, or in bptk-py's."""

from __future__ import annotations

from typing import Final

from streamsim.errors import BadRequest
from streamsim.values import Json, JsonObject

PARTS: Final = ("constants", "points", "runspecs", "initial")
FORM: Final = f"scenarios must be an object of name -> object with {', '.join(PARTS[:-1])} or {PARTS[-1]}"
BASES: Final = {"base_constants": "constants", "base_points": "points"}


def options(body: JsonObject, before: JsonObject) -> JsonObject:
    """What a model keeps of an upload beside its files: `manager`, `scenarios`.

    Of scenarios in the library's form, also `lenient`: names that the model does not have are ignored, and
    `ignored`: what else was, in words.

    :param before: that of the version before, which stays where the body has nothing.
    :raises BadRequest: naming the field.
    """
    kept: JsonObject = {
        name: before[name] for name in ("manager", "scenarios", "lenient", "ignored") if name in before
    }
    scenarios, manager = body.get("scenarios"), body.get("manager")
    if scenarios is not None:
        given = _of_library(scenarios) or {"scenarios": _own(scenarios)}
        kept = {**({"manager": kept["manager"]} if "manager" in kept else {}), **given}
    if manager is not None:
        kept["manager"] = manager
    named = kept.get("manager", "m")
    if not isinstance(named, str) or not 0 < len(named) <= 200:
        raise BadRequest("manager must be text of 1 to 200 characters", field="manager")
    return kept


def _own(scenarios: Json) -> JsonObject:
    if not isinstance(scenarios, dict):
        raise BadRequest(FORM, field="scenarios")
    for given in scenarios.values():
        if not isinstance(given, dict) or given.keys() - set(PARTS):
            raise BadRequest(FORM, field="scenarios")
    return scenarios


def _of_library(scenarios: Json) -> JsonObject | None:
    """Scenarios as bptk-py's JSON files have them, below a scenario manager; None: in another form."""
    if not isinstance(scenarios, dict) or not scenarios:
        return None
    if not all(isinstance(one, dict) and "scenarios" in one for one in scenarios.values()):
        return None
    if len(scenarios) > 1:
        raise BadRequest(
            f"scenarios: a model file has one scenario manager, not {len(scenarios)}", field="scenarios"
        )
    [(manager, parts)] = scenarios.items()
    given = parts["scenarios"]
    if not isinstance(given, dict) or not all(isinstance(one, dict) for one in given.values()):
        raise BadRequest(f"scenarios.{manager}.scenarios must be an object of objects", field="scenarios")
    result: JsonObject = {}
    ignored = []
    for name, scenario in given.items():
        kept = {part: value for part, value in scenario.items() if part in PARTS}
        for base, part in BASES.items():
            for holder in (parts.get(base, {}), kept.get(part, {})):
                if not isinstance(holder, dict):
                    raise BadRequest(
                        f"scenarios.{manager}: {base} and {part} must be objects", field="scenarios"
                    )
            merged = {**parts.get(base, {}), **kept.get(part, {})}
            if merged:
                kept[part] = merged
        ignored += [
            f"scenario {name} of {manager}: {field} is ignored" for field in scenario if field not in PARTS
        ]
        result[name] = kept
    return {"manager": manager, "scenarios": result, "lenient": True, "ignored": ignored[:50]}
