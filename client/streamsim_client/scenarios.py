"""Scenarios of models: whole runs, and private instances with sessions that are stepped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Literal, Unpack

from streamsim_client.groups import Group, S, call, each, given, path
from streamsim_client.model_answers import (
    Instance,
    Instances,
    InstanceState,
    Message,
    Outputs,
    Results,
    Settings,
)
from streamsim_client.reading import elements
from streamsim_client.sending import Request
from streamsim_client.values import Object


class Scenarios(Group[S]):
    """`client.scenarios`

    >>> _ = client.models.push("tea", {"tea.mdl": MDL}, scenarios={"cup": {}}, manager="tea")
    >>> client.scenarios.names()["tea"]
    ['cup']
    """

    @call
    async def names(self) -> dict[str, list[str]]:
        """Scenarios by scenario manager, of all models of the user. :raises NotFound: there are none."""
        return await self._ask(dict[str, list[str]], "GET", "/scenarios")

    @call
    async def equations(self, manager: str, scenario: str) -> dict[str, list[str]]:
        """Names of a scenario's equations by kind. :raises BadRequest:"""
        body = {"scenarioManager": manager, "scenario": scenario}
        return await self._ask(dict[str, list[str]], "POST", "/equations", body=body, repeat="safe")

    @call
    async def agents(self, manager: str, scenario: str) -> dict[str, dict[str, list[str]]]:
        """States and properties of a scenario's agents by type. :raises BadRequest: it has none."""
        body = {"scenarioManager": manager, "scenario": scenario}
        return await self._ask(dict[str, dict[str, list[str]]], "POST", "/agents", body=body, repeat="safe")

    @call
    async def run(
        self, managers: Iterable[str], scenarios: Iterable[str], **outputs: Unpack[Outputs]
    ) -> Results:
        """Run scenarios from start to stop; settings hold for this call only.

        :raises BadRequest: naming what is wrong. :raises Unprocessable: the model's code failed.
        """
        body = {"scenario_managers": list(managers), "scenarios": list(scenarios), **outputs}
        return await self._ask(Results, "POST", "/run", body=body, repeat="safe")

    @call
    async def execute(
        self,
        model: Mapping[str, object],
        equations: Iterable[str],
        scenarios: Mapping[str, Mapping[str, object]] | None = None,
    ) -> dict[str, dict[str, dict[str, float | None]]]:
        """Run a model in the form of bptk-py's `Model.to_json()`; nothing of it is kept.

        :param scenarios: by name `constants`, `points` and `runspecs`; one, `default`, if it is left out.
        :returns: by scenario, equation and time. :raises BadRequest: naming what is wrong.
        """
        body = {"model": dict(model), "equations": list(equations), **given(scenarios=scenarios)}
        answer = dict[str, dict[str, dict[str, float | None]]]
        return await self._ask(answer, "POST", "/execute", body=body, repeat="safe")


class Sessions(Group[S]):
    """`client.sessions`. All that take an instance raise NotFound if it is unknown or timed out.

    Steps are never sent again: a step whose answer was lost may have been made. `results` tells.

    >>> _ = client.models.push("tea", {"tea.mdl": MDL}, scenarios={"cup": {}}, manager="tea")
    >>> instance = client.sessions.start({"minutes": 5})["instance_uuid"]
    >>> client.sessions.begin(instance, ["tea"], ["cup"], equations=["Teacup Temperature"])
    {'msg': 'session started'}
    >>> client.sessions.step(instance, flat=True)
    {'tea': {'cup': {'Teacup Temperature': 180}}}
    """

    @call
    async def start(self, idle: Mapping[str, int] | None = None) -> Instance:
        """A private instance of the user's models.

        :param idle: it ends if unused for so long, by unit, e.g. {"minutes": 5}; 12 hours by default.
        """
        return await self._ask(Instance, "POST", "/start-instance", body=given(timeout=idle))

    @call
    async def start_many(self, number: int, idle: Mapping[str, int] | None = None) -> Instances:
        """Several instances."""
        body = {"instances": number, **given(timeout=idle)}
        return await self._ask(Instances, "POST", "/start-instances", body=body)

    @call
    async def begin(
        self,
        instance: str,
        managers: Iterable[str],
        scenarios: Iterable[str],
        *,
        step_size: float | Literal["dt"] | None = None,
        **outputs: Unpack[Outputs],
    ) -> Message:
        """Begin a session in place of any other.

        :param step_size: model time of one step, 1.0 by default; "dt" is the step of the models.
        :raises BadRequest: naming what is wrong.
        """
        body = {"scenario_managers": list(managers), "scenarios": list(scenarios), **outputs}
        body |= given(stepSize=step_size)
        return await self._ask(Message, "POST", path(instance, "begin-session"), body=body)

    @call
    async def step(self, instance: str, settings: Settings | None = None, *, flat: bool = False) -> Object:
        """One step. :param settings: hold from this step on. :param flat: numbers without their time.

        :raises BadRequest: no session. :raises Conflict: it is being streamed, or too many want to step.
        """
        body = _step(settings, flat)
        return await self._ask(Object, "POST", path(instance, "run-step"), body=body)

    @call
    async def steps(
        self, instance: str, number: int, settings: Settings | None = None, *, flat: bool = False
    ) -> list[Object]:
        """Several steps; settings hold from the first on. :raises: as `step`."""
        body = {"settings": {}, **(_step(settings, flat) or {}), "numberSteps": number}
        return await self._ask(list[Object], "POST", path(instance, "run-steps"), body=body)

    @each
    def stream(
        self, instance: str, settings: Settings | None = None, *, flat: bool = False
    ) -> AsyncGenerator[Object, None]:
        """All steps that are left, as they are computed. To stop early, close the iterator.

        :raises: as `step`.
        """
        request = Request("POST", path(instance, "stream-steps"), body=_step(settings, flat))
        return elements(self._sender.stream(request))

    @call
    async def results(self, instance: str) -> Results:
        """All steps so far."""
        return await self._ask(Results, "GET", path(instance, "session-results"))

    @call
    async def flat_results(self, instance: str) -> Results:
        """All steps so far, as lists of numbers without their times."""
        return await self._ask(Results, "GET", path(instance, "flat-session-results"))

    @call
    async def end(self, instance: str) -> Message:
        """End the session, if there is one."""
        return await self._ask(Message, "POST", path(instance, "end-session"), repeat="safe")

    @call
    async def keep_alive(self, instance: str) -> Message:
        """Begin the timeout anew."""
        return await self._ask(Message, "POST", path(instance, "keep-alive"), repeat="safe")

    @call
    async def stop(self, instance: str) -> Message:
        """Delete the instance."""
        return await self._ask(Message, "POST", path(instance, "stop-instance"))

    @call
    async def save_state(self) -> list[InstanceState]:
        """The user's instances as they are stored, which they are at all times."""
        return await self._ask(list[InstanceState], "GET", "/save-state")

    @call
    async def load_state(self) -> list[InstanceState]:
        """The same: nothing is to be loaded, a stored instance comes back when it is used."""
        return await self._ask(list[InstanceState], "GET", "/load-state")


def _step(settings: Settings | None, flat: bool) -> Object | None:
    return None if settings is None and not flat else {"settings": settings or {}, "flatResults": flat}
