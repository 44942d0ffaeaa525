"""Models in the JSON form of bptk-py's own engine: each is run whole, and nothing of it is kept."""

from __future__ import annotations

import json
import math
from typing import Final

from streamsim.models.engines.base import RUNSPEC_FORM, Engine, Found, LibraryObject, Refused, Source, library
from streamsim.values import Json, JsonObject

ENTITIES: Final = ("stocks", "flows", "biflows", "converters", "constants")
SPECS: Final = ("starttime", "stoptime", "dt")
MAX_VALUES: Final = 2_000_000
"""Of all scenarios and equations together."""


class JsonModelEngine(Engine):
    """No model of its own: it runs those of requests."""

    def __init__(self, source: Source) -> None:
        library("BPTK_Py", "bptk", "bptk-py")
        self.found = Found()

    def execute(self, model: JsonObject, scenarios: JsonObject, equations: list[str]) -> JsonObject:
        """Series by scenario, equation and time.

        :param scenarios: by name `{"constants", "points", "runspecs"}`, of which each may be left out.
        :raises Refused: naming what the model does not have, or what the library's engine cannot read.
        """
        try:
            from BPTK_Py._rust_engine import RustSdEngine
        except ImportError:
            raise Refused("this bptk-py has no engine for models in JSON here") from None
        known = _names(model)
        for name in equations:
            if name not in known:
                raise Refused(f"unknown equation {name}: the model has {', '.join(sorted(known)[:20])}")
        specs = {name: _specs(model, name, given) for name, given in scenarios.items()}
        steps = sum(math.floor((stop - start) / dt) + 1 for start, stop, dt in specs.values())
        if steps * len(equations) > MAX_VALUES:
            raise Refused(f"scenarios x times x equations: {steps * len(equations)}, at most {MAX_VALUES}")
        engine, text = RustSdEngine(), json.dumps(model)
        result: JsonObject = {}
        for name, given in scenarios.items():
            try:
                result[name] = _series(engine.load_model(text), given, specs[name], equations)
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise Refused(f"scenario {name}: bptk-py's engine: {error}") from None
        return result


def _series(
    model: LibraryObject, given: JsonObject, specs: tuple[float, float, float], equations: list[str]
) -> JsonObject:
    for name, value in given.get("constants", {}).items():
        model.set_constant(name, float(value))
    for name, pairs in given.get("points", {}).items():
        model.set_points(name, [(float(x), float(y)) for x, y in pairs])
    if "runspecs" in given:
        model.set_runspecs(*specs)
    series: JsonObject = model.simulate(equations)
    # The engine keeps neither the order of names nor that of times.
    return {name: dict(sorted(series[name].items(), key=lambda one: float(one[0]))) for name in equations}


def _names(model: JsonObject) -> set[str]:
    """What the model has. :raises Refused: it is none, or has code in it, which no engine runs."""
    entities = model.get("entities")
    if not isinstance(entities, dict) or not isinstance(model.get("specs"), dict):
        raise Refused("model must have specs and entities, each an object, as Model.to_json() writes them")
    names: set[str] = set()
    waiting: list[Json] = []
    for kind in ENTITIES:
        listed = entities.get(kind) or []
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise Refused(f"model.entities.{kind} must be a list of objects")
        names.update(one["name"] for one in listed if isinstance(one.get("name"), str))
        waiting += listed
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("type") == "py_callback":
                raise Refused(
                    f"the model needs the Python function {node.get('name')}, which a model in JSON cannot "
                    "bring: upload it as a Python file instead"
                )
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return names


def _specs(model: JsonObject, scenario: str, given: JsonObject) -> tuple[float, float, float]:
    values = {**model["specs"], **given.get("runspecs", {})}
    numbers = [float(values[name]) for name in SPECS if type(values.get(name)) in (int, float)]
    if len(numbers) < len(SPECS):
        raise Refused(f"runspecs of scenario {scenario}: expecting numbers for {', '.join(SPECS)}")
    start, stop, dt = numbers
    if not (dt > 0 and stop >= start and math.isfinite(start) and math.isfinite(stop)):
        raise Refused(RUNSPEC_FORM.format(f"scenario {scenario}"))
    if (stop - start) / dt > MAX_VALUES:
        raise Refused(f"scenario {scenario} has more than {MAX_VALUES} times")
    return start, stop, dt


ENGINE = JsonModelEngine
