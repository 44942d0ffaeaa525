"""Scenarios of a tenant's models, and whole runs of them: what a BptkServer does for one model."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import msgspec

from streamsim import values
from streamsim.errors import BadRequest, NotFound
from streamsim.models import answers, requests
from streamsim.models.answers import Series
from streamsim.models.engines.base import KINDS, Found, Outputs, ScenarioFound
from streamsim.models.library import Models, found_in
from streamsim.models.runners import Runners
from streamsim.models.session import Begin
from streamsim.models.workers import ask
from streamsim.storage.contract.runs import Model
from streamsim.values import JsonObject

FOUND_BYTES: Final = 64 << 20
"""So much text of what models have in them is kept decoded; least recently used ones go."""


class KnownModels:
    """A tenant's models at one moment, and the scenarios in them."""

    def __init__(self, models: list[Model], loaded: dict[tuple[str, int], Found]) -> None:
        self.models = {model.name: model for model in models}
        self.scenarios: dict[str, dict[str, ScenarioFound]] = {}
        self.owner: dict[str, Model] = {}
        for model in models:
            for manager, scenarios in loaded[model.name, model.version].managers.items():
                self.scenarios[manager] = scenarios
                self.owner[manager] = model


class Scenarios:
    """Scenarios and whole runs; every method takes the tenant that asks."""

    def __init__(self, models: Models, runners: Runners, *, frozen_stocks: bool = False) -> None:
        """:param frozen_stocks: as in `requests.settings`."""
        self.frozen_stocks: Final = frozen_stocks
        self._models = models
        self._runners = runners
        # A version never changes, so that what was decoded once stays right.
        self._found: OrderedDict[tuple[str, str, int], tuple[Found, int]] = OrderedDict()
        self.found_bytes = 0

    # ---- models

    async def known(self, tenant: str, versions: dict[str, int] | None = None) -> KnownModels:
        """The tenant's models as they are; or as an instance has them, with those that came later."""
        models = await self._models.list(tenant)
        if versions is not None:
            newest = {model.name: model for model in models}
            for name, version in versions.items():
                if name not in newest or newest[name].version != version:
                    newest[name] = await self._models.version(tenant, name, version)
            # In case of clash the instance's own versions win.
            models = sorted(newest.values(), key=lambda model: model.name in versions)
        loaded = {(model.name, model.version): self._decoded(model) for model in models}
        return KnownModels(models, loaded)

    async def versions(self, tenant: str) -> dict[str, int]:
        """The newest version of each of the tenant's models by name: what a new instance may use."""
        return {model.name: model.version for model in await self._models.list(tenant)}

    async def names(self, tenant: str) -> dict[str, list[str]]:
        """Scenarios by scenario manager, in the order of registration. :raises NotFound: there are none."""
        scenarios = (await self.known(tenant)).scenarios
        if not scenarios:
            raise NotFound("expecting the model to have scenarios")
        return {manager: list(names) for manager, names in scenarios.items()}

    async def equations(self, tenant: str, body: JsonObject) -> dict[str, list[str]]:
        """Equations of a scenario by kind. :raises BadRequest:"""
        known = await self.known(tenant)
        scenario = requests.scenario_of(body, known.scenarios, ("scenarioManager", "scenario_manager"))
        return {kind: scenario.equations.get(kind, []) for kind in KINDS}

    async def agents(self, tenant: str, body: JsonObject) -> dict[str, dict[str, list[str]]]:
        """States and properties of a scenario's agents by type. :raises BadRequest: it has none."""
        known = await self.known(tenant)
        scenario = requests.scenario_of(body, known.scenarios, ("scenarioManager",))
        if not scenario.agents:
            raise BadRequest("expecting the model to have agents", field="scenario")
        return scenario.agents

    # ---- whole runs

    async def run(self, tenant: str, body: JsonObject) -> bytes:
        """Run scenarios from start to stop: JSON text by manager, scenario and equation or agent."""
        known = await self.known(tenant)
        begin = requests.begin(body, known.scenarios, frozen_stocks=self.frozen_stocks)
        parts = await asyncio.gather(*(self._whole(tenant, *part) for part in by_model(begin, known)))
        merged = {manager: scenarios for part in parts for manager, scenarios in part.items()}
        wanted = dict.fromkeys(manager for manager, _, _ in begin.scenarios)
        return values.dump({manager: merged[manager] for manager in wanted if manager in merged})

    async def _whole(self, tenant: str, model: Model, begin: Begin) -> dict[str, Series]:
        complete = await self._models.version(tenant, model.name, model.version)
        async with self._runners.lend([complete]) as worker:
            answer = await ask(worker, [{"op": "run", "begin": msgspec.to_builtins(begin)}])
            return answers.decoded(answers.series, answer)

    async def execute(self, tenant: str, body: JsonObject) -> bytes:
        """Run a model that the body itself brings: JSON text by scenario, equation and time.

        :raises BadRequest: naming what is missing, malformed, or unknown to the model.
        """
        asked = requests.execution(body)
        async with self._runners.lend([_no_model(tenant)]) as worker:
            answer = await ask(worker, [{"op": "execute", **asked}])
            return values.dump(answers.decoded(answers.executed, answer))

    def _decoded(self, model: Model) -> Found:
        key = (model.tenant, model.name, model.version)
        known = self._found.get(key)
        if known is not None:
            self._found.move_to_end(key)
            return known[0]
        found = found_in(model)
        self._found[key] = found, len(model.found)
        self.found_bytes += len(model.found)
        while self.found_bytes > FOUND_BYTES and len(self._found) > 1:
            self.found_bytes -= self._found.popitem(last=False)[1][1]
        return found


def _no_model(tenant: str) -> Model:
    """What a process of the tenant's loads that runs models of requests."""
    return Model(tenant=tenant, name="", engine="json_models", main="", created_ms=0, modified_ms=0)


def by_model(begin: Begin, known: KnownModels) -> list[tuple[Model, Begin]]:
    """A request in parts, each for one model."""
    parts: dict[str, list[tuple[str, str, Outputs]]] = {}
    for manager, scenario, outputs in begin.scenarios:
        parts.setdefault(known.owner[manager].name, []).append((manager, scenario, outputs))
    result = []
    for name, scenarios in parts.items():
        managers = {manager for manager, _, _ in scenarios}
        settings = {manager: given for manager, given in begin.settings.items() if manager in managers}
        part = msgspec.structs.replace(begin, scenarios=scenarios, settings=settings)
        result.append((known.models[name], part))
    return result
