"""The bodies of the scenario endpoints: their fields, checked and put into the form that simulations take."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final, Literal

import msgspec

from streamsim.errors import BadRequest, refuse_unknown
from streamsim.models.engines.base import RULES, Outputs, Refused, Runspec, ScenarioFound, ScenarioSettings
from streamsim.models.engines.subscripts import elements, flat
from streamsim.models.session import Begin, SettingsBy
from streamsim.values import Json, JsonObject

UNITS_US: Final = {
    "weeks": 604_800_000_000,
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
    "milliseconds": 1_000,
    "microseconds": 1,
}
DEFAULT_TIMEOUT: Final = {unit: 12 if unit == "hours" else 0 for unit in UNITS_US}
MAX_TIMEOUT_MS: Final = 10 * 366 * 86_400_000
STOCK: Final = (
    "it is a stock, which its flows change: give its value now under stocks, or its initial one under initial"
)
STOCK_BEGINS: Final = "it is a stock, which its flows change: give its initial value under initial"
LISTS: Final = ("equations", "agents", "agent_states", "agent_properties", "agent_property_types")
RUNSPECS: Final[tuple[Runspec, ...]] = ("starttime", "stoptime", "dt")

Scenarios = Mapping[str, Mapping[str, ScenarioFound]]
"""A tenant's scenarios by scenario manager."""


def begin(
    body: JsonObject, known: Scenarios, *, step_size: float = 1.0, frozen_stocks: bool = False
) -> Begin:
    """What a body of `/run` or `begin-session` asks for. `frozen_stocks`: as in `settings`.

    :raises BadRequest: naming what is missing, malformed, or in none of the models.
    """
    managers = _names(body, "scenario_managers")
    scenarios = _names(body, "scenarios")
    if "equations" not in body and "agents" not in body:
        raise BadRequest("expecting either equations or agents to be set", field="equations")
    lists = {name: _names(body, name, missing=()) for name in LISTS}
    individual = _individual(body.get("individual_agent_properties"))
    if not lists["agents"]:
        for name in ("agent_states", "agent_properties", "individual_agent_properties"):
            if lists.get(name) or (individual and name not in lists):
                raise BadRequest(f"{name} belong to agents: expecting agents to be set", field=name)
    if bool(lists["agent_properties"]) > bool(lists["agent_states"]):
        raise BadRequest(
            "agent_properties are those of agents in states: set agent_states", field="agent_states"
        )
    chosen = _chosen(managers, scenarios, known)
    _all_known(lists, chosen, known)
    seed = body.get("seed")
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**63):
        raise BadRequest("seed must be an integer from 0 to 2^63 - 1", field="seed")
    if body.get("backend") not in (None, "python", "rust"):
        raise BadRequest("backend must be python or rust; the numbers are the same", field="backend")
    return Begin(
        scenarios=[
            (manager, scenario, _outputs(lists, individual, known[manager][scenario]))
            for manager, scenario in chosen
        ],
        settings=settings(body.get("settings"), known, frozen_stocks=frozen_stocks),
        seed=secrets.randbits(32) if seed is None else seed,
        step_size=step_size,
        rules=RULES,
    )


def settings(given: Json, known: Scenarios, *, frozen_stocks: bool = False) -> SettingsBy:
    """`{manager: {scenario: {constants, points, runspecs, properties, agents, stocks, initial}}}`, checked.

    :param frozen_stocks: a stock among the constants is not refused, but is that for ever, as in BptkServer.
    :raises BadRequest: naming the part at fault.
    """
    if given is None:
        return {}
    result: SettingsBy = {}
    for manager, scenarios in _object(given, "settings").items():
        if manager not in known:
            raise BadRequest(f"settings: unknown scenario manager {manager}", field="settings")
        for scenario, parts in _object(scenarios, f"settings.{manager}").items():
            where = f"settings.{manager}.{scenario}"
            if scenario not in known[manager]:
                raise BadRequest(f"settings: unknown scenario {scenario} of {manager}", field="settings")
            for name in _object(parts, where).keys() - set(ScenarioSettings.__struct_fields__):
                raise BadRequest(
                    f"{where} has no part {name}: expecting {', '.join(ScenarioSettings.__struct_fields__)}",
                    field="settings",
                )
            result.setdefault(manager, {})[scenario] = _settings(
                parts, where, known[manager][scenario], frozen_stocks
            )
    return result


def step_size(body: JsonObject) -> float:
    """`stepSize`: a positive number, or "dt" for the smallest dt of the models, as 0; 1.0 if absent."""
    size = body.get("stepSize", 1.0)
    if size == "dt":
        return 0.0
    if type(size) not in (int, float) or not 1e-9 <= size <= 1e9:
        raise BadRequest(
            'stepSize must be a positive number, or "dt" for the step of the models', field="stepSize"
        )
    return float(size)


def execution(body: JsonObject) -> JsonObject:
    """Model, scenarios and equations of a body of `/execute`. :raises BadRequest: naming the part."""
    for name in ("model", "equations"):
        if name not in body:
            raise BadRequest(f"missing required field: {name}", field=name)
    refuse_unknown(body, ("model", "equations", "scenarios"))
    equations = body["equations"]
    if not isinstance(equations, list) or not equations or not all(isinstance(one, str) for one in equations):
        raise BadRequest("equations must be a non-empty list", field="equations")
    model = _object(body["model"], "model")
    given = body.get("scenarios")
    scenarios = _object({"default": {}} if given is None else given, "scenarios")
    for name, parts in scenarios.items():
        where = f"scenarios.{name}"
        for part in _object(parts, where):
            if part not in ("constants", "points", "runspecs"):
                raise BadRequest(f"{where} has no part {part}: expecting constants, points, runspecs")
            _object(parts[part], f"{where}.{part}")
        for part, form in (
            ("constants", dict[str, float]),
            ("points", dict[str, list[tuple[float, float]]]),
            ("runspecs", dict[Runspec, float]),
        ):
            try:
                msgspec.convert(parts.get(part, {}), form)
            except msgspec.ValidationError as wrong:
                raise BadRequest(f"{where}.{part}: {wrong}", field="scenarios") from None
    return {"model": model, "scenarios": scenarios, "equations": list(dict.fromkeys(equations))}


def timeout(body: JsonObject) -> tuple[JsonObject, int]:
    """The timeout as given, and in milliseconds, at least 1.

    :raises BadRequest: it is not an object of units and whole numbers.
    """
    if "timeout" not in body:
        return dict(DEFAULT_TIMEOUT), 12 * 3_600_000
    given = body["timeout"]
    form = f"timeout must be an object of whole numbers by unit, of {', '.join(UNITS_US)}"
    if not isinstance(given, dict):
        raise BadRequest(form, field="timeout")
    total = 0
    for unit, count in given.items():
        if unit not in UNITS_US or type(count) is not int or count < 0:
            raise BadRequest(form, field="timeout")
        total += count * UNITS_US[unit]
    if not 0 < total <= MAX_TIMEOUT_MS * 1000:
        raise BadRequest("timeout must be above 0 and at most ten years", field="timeout")
    return given, max(1, -(-total // 1000))


def count(body: JsonObject, name: str, most: int, default: int | None = None) -> int:
    """A positive whole number. :raises BadRequest:"""
    number = body.get(name, default)
    if type(number) is not int or not 1 <= number <= most:
        raise BadRequest(f"{name} must be an integer from 1 to {most}", field=name)
    return number


def flag(body: JsonObject, name: str) -> bool:
    """A boolean, False if absent. :raises BadRequest:"""
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false", field=name)
    return value


def scenario_of(body: JsonObject, known: Scenarios, fields: tuple[str, ...]) -> ScenarioFound:
    """The scenario that a body names. :raises BadRequest:"""
    manager = next((body[name] for name in fields if name in body), None)
    if manager is None:
        raise BadRequest(f"expecting {' or '.join(fields)} to be set", field=fields[0])
    if "scenario" not in body:
        raise BadRequest("expecting scenario to be set", field="scenario")
    scenario = body["scenario"]
    if not isinstance(manager, str) or manager not in known:
        raise BadRequest(f"unknown scenario manager {str(manager)[:200]}", field=fields[0])
    if not isinstance(scenario, str) or scenario not in known[manager]:
        raise BadRequest(f"unknown scenario {str(scenario)[:200]} of {manager}", field="scenario")
    return known[manager][scenario]


def _chosen(managers: list[str], scenarios: list[str], known: Scenarios) -> list[tuple[str, str]]:
    for manager in managers:
        if manager not in known:
            raise BadRequest(f"unknown scenario manager {manager}", field="scenario_managers")
    for scenario in scenarios:
        if not any(scenario in known[manager] for manager in managers):
            raise BadRequest(f"unknown scenario {scenario} in {', '.join(managers)}", field="scenarios")
    return [
        (manager, scenario)
        for manager in dict.fromkeys(managers)
        for scenario in known[manager]
        if scenario in scenarios
    ]


def _all_known(lists: dict[str, list[str]], chosen: list[tuple[str, str]], known: Scenarios) -> None:
    """Names that none of the chosen scenarios has are mistakes; that some lack them is not."""
    scenarios = [known[manager][scenario] for manager, scenario in chosen]
    for name in lists["equations"]:
        if not any(has_equation(scenario, name) for scenario in scenarios):
            raise BadRequest(f"unknown equation {name}", field="equations")
    for name in lists["agents"]:
        if not any(name in scenario.agents for scenario in scenarios):
            raise BadRequest(f"unknown agent {name}", field="agents")
    # States and properties are not checked: agents reach states, and are given properties, that nothing lists
    # before. One that never comes counts 0.


def has_equation(scenario: ScenarioFound, name: str) -> bool:
    """Whether a scenario has an equation, or for `name[*]` an array of that name."""
    if name in scenario.listed or name in scenario.more:
        return True
    if "*" in name:
        plain = name.partition("[")[0]
        if plain in scenario.rows or any(known.startswith(f"{plain}[") for known in scenario.more):
            return True
    return bool(_elements(scenario, name))


def is_stock(scenario: ScenarioFound, name: str) -> bool:
    """Whether a name is that of a stock, or of an element or a slice of an array of stocks."""
    return name in scenario.stocks or any(
        element in scenario.stocks for element in _elements(scenario, name, whole=False) or ()
    )


def _elements(scenario: ScenarioFound, name: str, *, whole: bool = True) -> list[str] | None:
    """The elements that the name of an array or of a slice stands for; None if it names none.

    :param whole: an array that has a value of its own, as in compiled XMILE, stands for itself, and so do
        its slices.
    """
    plain = name.partition("[")[0]
    if whole and "*" in name and plain in scenario.listed and plain in scenario.rows:
        # The library's own way to ask for a sum.
        return [name]
    if (whole or name not in scenario.arrays) and name in scenario.listed:
        return [name]
    try:
        found = elements(name, scenario.arrays, scenario.ranges)
    except Refused as refused:
        raise BadRequest(str(refused)) from None
    # Arrays whose elements are named `table[row][column]` are in no list of arrays.
    return found or scenario.rows.get(name)


def _outputs(
    lists: dict[str, list[str]], individual: dict[str, list[str]], scenario: ScenarioFound
) -> Outputs:
    agents = [name for name in lists["agents"] if name in scenario.agents]
    return Outputs(
        equations=list(
            dict.fromkeys(
                element
                for name in lists["equations"]
                if has_equation(scenario, name)
                for element in _elements(scenario, name) or [name]
            )
        ),
        agents=agents,
        agent_states=lists["agent_states"] if agents else [],
        agent_properties=lists["agent_properties"] if agents else [],
        agent_property_types=lists["agent_property_types"] if agents else [],
        individual_agent_properties={name: names for name, names in individual.items() if name in agents},
    )


def _settings(
    parts: JsonObject, where: str, scenario: ScenarioFound, frozen_stocks: bool
) -> ScenarioSettings:
    constants = _numbers(parts, "constants", where, scenario)
    for name in constants:
        if not scenario.agents and not has_equation(scenario, name):
            raise BadRequest(f"unknown constant {name} in {where}", field="settings")
        if is_stock(scenario, name) and not frozen_stocks:
            raise BadRequest(f"{where}.constants.{name}: {STOCK}", field="settings")
    levels = {}
    for part in ("stocks", "initial"):
        levels[part] = _numbers(parts, part, where, scenario)
        for name, value in levels[part].items():
            if not is_stock(scenario, name):
                raise BadRequest(f"{where}.{part}: {name} is no stock of this scenario", field="settings")
            if isinstance(value, str):
                raise BadRequest(f"{where}.{part}.{name} must be a number", field="settings")
    specs = _object(parts.get("runspecs", {}), f"{where}.runspecs")
    for name, value in specs.items():
        if name not in RUNSPECS or type(value) not in (int, float):
            raise BadRequest(
                f"{where}.runspecs: expecting numbers for {', '.join(RUNSPECS)}", field="settings"
            )
    points = _object(parts.get("points", {}), f"{where}.points")
    try:
        pairs = msgspec.convert(points, dict[str, list[tuple[float, float]]])
    except msgspec.ValidationError:
        raise BadRequest(f"{where}.points: each must be a list of [x, y]", field="settings") from None
    for name, table in pairs.items():
        if not table or any(b[0] <= a[0] for a, b in pairwise(table)):
            raise BadRequest(f"{where}.points.{name} must have pairs with rising x", field="settings")
    agents = parts.get("agents")
    if agents is not None and not (isinstance(agents, list) and all(isinstance(a, dict) for a in agents)):
        raise BadRequest(f"{where}.agents must be a list of objects with name and count", field="settings")
    properties = _object(parts.get("properties", {}), f"{where}.properties")
    runspecs: dict[Runspec, float] = {name: specs[name] for name in RUNSPECS if name in specs}
    stocks, initial = (
        {name: float(value) for name, value in levels[part].items()} for part in ("stocks", "initial")
    )
    return ScenarioSettings(constants, pairs, runspecs, properties, agents, stocks, initial)


def _numbers(
    parts: JsonObject, part: str, where: str, scenario: ScenarioFound
) -> dict[str, float | int | str]:
    """Numbers by name; lists for arrays and slices become numbers by element, in the order given."""
    result: dict[str, float | int | str] = {}
    for name, value in _object(parts.get(part, {}), f"{where}.{part}").items():
        given = {name: value}
        if isinstance(value, list):
            names = _elements(scenario, name, whole=False) or [name]
            numbers = flat(value, name, scenario.arrays, scenario.ranges)
            if numbers is None:
                raise BadRequest(
                    f"{where}.{part}.{name} must be a number, or for an array lists of numbers in its shape",
                    field="settings",
                )
            given = dict(zip(names, numbers, strict=True))
        for one, number in given.items():
            if type(number) not in (int, float, str):
                raise BadRequest(f"{where}.{part}.{one} must be a number", field="settings")
            # What is given later for the same name wins, also over an element that was given before.
            result.pop(one, None)
            result[one] = number
    return result


def _individual(given: Json) -> dict[str, list[str]]:
    if not given:
        return {}
    try:
        return msgspec.convert(given, dict[str, list[str]])
    except msgspec.ValidationError:
        raise BadRequest(
            "individual_agent_properties must be an object of agent -> list of properties",
            field="individual_agent_properties",
        ) from None


def _names(body: JsonObject, name: str, missing: Iterable[str] | Literal[None] = None) -> list[str]:
    """A list of names, or text with commas."""
    if name not in body:
        if missing is None:
            raise BadRequest(f"expecting {name} to be set", field=name)
        return list(missing)
    given = body[name]
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",") if part.strip()]
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise BadRequest(f"{name} must be a list of names, or text with commas between them", field=name)
    return list(dict.fromkeys(given))


def _object(value: Json, where: str) -> JsonObject:
    if not isinstance(value, dict):
        raise BadRequest(f"{where} must be a JSON object", field=where.partition(".")[0])
    return value
