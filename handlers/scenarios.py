"""The scenario API: a BptkServer's endpoints, for the models of the user who is logged in.

Errors are `{"error": text}`. Paths take a trailing slash.
"""

from __future__ import annotations

from typing import ClassVar

import tornado.iostream

from handlers.base import Access, BaseHandler
from streamsim.config import Settings
from streamsim.errors import BadRequest, StreamsimError
from streamsim.models.instances import Instances
from streamsim.models.scenarios import Scenarios
from streamsim.values import JsonObject

NOT_JSON = "please pass the request with content-type application/json"
MAX_VALUES = 200_000


class ScenarioHandler(BaseHandler):
    """What these endpoints share: the form of bodies and of errors."""

    access: ClassVar[Access] = "user"

    @property
    def scenarios(self) -> Scenarios:
        return self.services.scenarios

    @property
    def instances(self) -> Instances:
        return self.services.instances

    @property
    def tenant(self) -> str:
        return self.user.name

    def optional_body(self) -> JsonObject | None:
        """The JSON body; None without the content type of one. :raises BadRequest: it is no object."""
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not self.request.body or not (kind == "application/json" or kind.endswith("+json")):
            return None
        return self.json_object(MAX_VALUES)

    def body(self) -> JsonObject:
        """The JSON body. :raises BadRequest: there is none."""
        content = self.optional_body()
        if content is None:
            raise BadRequest(NOT_JSON)
        return content

    def told(self, error: StreamsimError) -> tuple[int, JsonObject]:
        return told(self.service_settings, error)


def told(settings: Settings, error: StreamsimError) -> tuple[int, JsonObject]:
    """The status and the body that tell an error to a BptkServer's client."""
    legacy = settings.compat.bptk_status == "legacy" and error.status in (400, 404, 409, 422)
    return 500 if legacy else error.status, {"error": error.message}


class ScenariosHandler(ScenarioHandler):
    """`/scenarios`"""

    async def get(self) -> None:
        """Scenario names by scenario manager, of all models of the user."""
        self.write_json(await self.scenarios.names(self.tenant))


class EquationsHandler(ScenarioHandler):
    """`/equations`"""

    async def post(self) -> None:
        """Body: scenarioManager (or scenario_manager), scenario. Names by kind."""
        self.write_json(await self.scenarios.equations(self.tenant, self.body()))


class AgentsHandler(ScenarioHandler):
    """`/agents`"""

    async def post(self) -> None:
        """Body: scenarioManager, scenario. States and properties by agent type."""
        self.write_json(await self.scenarios.agents(self.tenant, self.body()))

    put = post


class RunHandler(ScenarioHandler):
    """`/run`"""

    async def post(self) -> None:
        """Body: scenario_managers, scenarios, equations or agents, settings?, seed?. Whole runs."""
        self.write_json(await self.scenarios.run(self.tenant, self.body()))

    put = post


class ExecuteHandler(ScenarioHandler):
    """`/execute`"""

    async def post(self) -> None:
        """Body: model, equations, scenarios?. Whole runs of the model that the body brings."""
        self.write_json(await self.scenarios.execute(self.tenant, self.body()))


class StartInstanceHandler(ScenarioHandler):
    """`/start-instance`"""

    async def post(self) -> None:
        """Body: timeout?. A private instance."""
        instance, timeout = await self.instances.start(self.tenant, self.optional_body() or {})
        self.write_json({"instance_uuid": instance, "timeout": timeout})


class StartInstancesHandler(ScenarioHandler):
    """`/start-instances`"""

    async def post(self) -> None:
        """Body: instances?, timeout?. Several at once."""
        instances, timeout = await self.instances.start_many(self.tenant, self.optional_body() or {})
        self.write_json({"instance_uuids": instances, "timeout": timeout})


class BeginSessionHandler(ScenarioHandler):
    """`/{instance}/begin-session`"""

    async def post(self, instance: str) -> None:
        """Body: as `/run`, and stepSize?. Starts a session in place of any other."""
        await self.instances.begin(self.tenant, instance, self.body())
        self.write_json({"msg": "session started"})


class RunStepHandler(ScenarioHandler):
    """`/{instance}/run-step`"""

    async def post(self, instance: str) -> None:
        """Body, if any: settings, flatResults?. One step."""
        self.write_json(await self.instances.step(self.tenant, instance, self.optional_body()))


class RunStepsHandler(ScenarioHandler):
    """`/{instance}/run-steps`"""

    async def post(self, instance: str) -> None:
        """Body: numberSteps, settings, flatResults?. An array of steps."""
        self.write_json(await self.instances.steps(self.tenant, instance, self.body()))


class StreamStepsHandler(ScenarioHandler):
    """`/{instance}/stream-steps`"""

    async def post(self, instance: str) -> None:
        """Body, if any: settings, flatResults?. All steps that are left, as they are computed."""
        stream = self.instances.stream(self.tenant, instance, self.optional_body())
        separator = b"["
        try:
            async for step in stream:
                self.write(separator + step)
                await self.flush()
                separator = b","
        except tornado.iostream.StreamClosedError:
            return  # the client went away: there is nobody to answer
        finally:
            await stream.aclose()
        self.finish(b"[]" if separator == b"[" else b"]")


class SessionResultsHandler(ScenarioHandler):
    """`/{instance}/session-results`"""

    flat: ClassVar[bool] = False

    async def get(self, instance: str) -> None:
        """All steps so far."""
        self.write_json(await self.instances.results(self.tenant, instance, flat=self.flat))


class FlatSessionResultsHandler(SessionResultsHandler):
    """`/{instance}/flat-session-results`"""

    flat: ClassVar[bool] = True


class EndSessionHandler(ScenarioHandler):
    """`/{instance}/end-session`"""

    async def post(self, instance: str) -> None:
        """Ends the session, if there is one."""
        await self.instances.end(self.tenant, instance)
        self.write_json({"msg": "session terminated"})


class KeepAliveHandler(ScenarioHandler):
    """`/{instance}/keep-alive`"""

    async def post(self, instance: str) -> None:
        """Resets the instance's timeout."""
        await self.instances.keep_alive(self.tenant, instance)
        self.write_json({"msg": "instance timer reset"})


class StopInstanceHandler(ScenarioHandler):
    """`/{instance}/stop-instance`"""

    async def post(self, instance: str) -> None:
        """Deletes the instance."""
        await self.instances.stop(self.tenant, instance)
        self.write_json({"msg": "Instance deleted."})


class SaveStateHandler(ScenarioHandler):
    """`/save-state`"""

    async def get(self) -> None:
        """The user's instances as they are stored, which they are at all times."""
        self.write_json(await self.instances.states(self.tenant))


class LoadStateHandler(ScenarioHandler):
    """`/load-state`"""

    async def get(self) -> None:
        """Nothing is to be loaded: a stored instance comes back when it is used."""
        self.write_json(await self.instances.states(self.tenant))

    post = get


class FullMetricsHandler(ScenarioHandler):
    """`/full-metrics`"""

    access: ClassVar[Access] = "public"

    async def get(self) -> None:
        """Counts; for a logged-in user also the own instances."""
        user = await self.services.accounts.authenticated(self.credential())
        self.write_json(await self.instances.metrics(user.name if user else None))


_PATHS = [
    ("/{instance:part}/run-step", RunStepHandler),
    ("/{instance:part}/run-steps", RunStepsHandler),
    ("/{instance:part}/stream-steps", StreamStepsHandler),
    ("/{instance:part}/begin-session", BeginSessionHandler),
    ("/{instance:part}/end-session", EndSessionHandler),
    ("/{instance:part}/session-results", SessionResultsHandler),
    ("/{instance:part}/flat-session-results", FlatSessionResultsHandler),
    ("/{instance:part}/keep-alive", KeepAliveHandler),
    ("/{instance:part}/stop-instance", StopInstanceHandler),
    ("/run", RunHandler),
    ("/execute", ExecuteHandler),
    ("/scenarios", ScenariosHandler),
    ("/equations", EquationsHandler),
    ("/agents", AgentsHandler),
    ("/start-instance", StartInstanceHandler),
    ("/start-instances", StartInstancesHandler),
    ("/save-state", SaveStateHandler),
    ("/load-state", LoadStateHandler),
    ("/full-metrics", FullMetricsHandler),
]

# With the slash first, so that metrics know a handler by the path without it.
routes = [(path + slash, handler) for path, handler in _PATHS for slash in ("/", "")]
