"""The scenario endpoints' service: what a BptkServer does for one model, for the models of every tenant."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import msgspec

from streamsim import values
from streamsim.config import ModelSettings
from streamsim.dates import iso
from streamsim.errors import BadRequest, Conflict, ModelError, NotFound
from streamsim.models import requests
from streamsim.models.engines.base import KINDS, Found, ScenarioFound
from streamsim.models.journal import LOCKED, NO_SESSION, UNKNOWN, Outcome, RunJournal
from streamsim.models.library import found
from streamsim.models.runners import Runners
from streamsim.models.session import STOPPED, Begin
from streamsim.models.workers import ask
from streamsim.storage.contract.runs import Model, Run, RunQuery, RunStore

INSTANCE: Final = "instance"
MAX_STEPS: Final = 10_000
MAX_INSTANCES: Final = 1_000
METRICS_AT_ONCE: Final = 1_000
STREAM_MS: Final = 30_000
"""A stream that computed no step for so long, as its process ended, no longer locks its instance."""


class Steps(msgspec.Struct):
    """What a worker answers to steps."""

    answers: list[dict[str, Any]]
    step: float
    ended: bool


class Began(msgspec.Struct):
    """What a worker answers to the beginning of a session."""

    step: float


_steps = msgspec.msgpack.Decoder(Steps | None)
_began = msgspec.msgpack.Decoder(Began)
_results = msgspec.msgpack.Decoder(dict[str, dict[str, dict[str, Any]]])
_versions = msgspec.json.Decoder(dict[str, Any])


class StreamLock(msgspec.Struct):
    """What an instance's metadata say of a stream: its token, and until when it locks the instance."""

    stream: tuple[str, int] = ("", 0)

    @property
    def token(self) -> str:
        return self.stream[0]

    @property
    def until_ms(self) -> int:
        return self.stream[1]


_known = msgspec.json.Decoder(StreamLock).decode


class _Replaced(Exception):
    """The session that was streamed is no longer, or somebody stepped it meanwhile."""


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
    """Scenarios, whole runs and stepwise instances; every method takes the tenant that asks."""

    def __init__(
        self,
        store: RunStore,
        runs: RunJournal,
        runners: Runners,
        settings: ModelSettings,
        now_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._runs = runs
        self._runners = runners
        self._settings = settings
        self._now_ms = now_ms
        self.counted = 0
        # A version never changes, so that what was decoded once stays right.
        self._found: OrderedDict[tuple[str, str, int], Found] = OrderedDict()

    # ---- models

    async def known(self, tenant: str, versions: dict[str, int] | None = None) -> KnownModels:
        """The tenant's models as they are; or as an instance has them, with those that came later."""
        models = await self._store.list_models(tenant)
        if versions is not None:
            newest = {model.name: model for model in models}
            for name, version in versions.items():
                if name not in newest or newest[name].version != version:
                    kept = await self._store.get_model(tenant, name, version)
                    if kept is not None:
                        newest[name] = kept
            # In case of clash the instance's own versions win.
            models = sorted(newest.values(), key=lambda model: model.name in versions)
        loaded = {(model.name, model.version): self._decoded(model) for model in models}
        return KnownModels(models, loaded)

    async def names(self, tenant: str) -> dict[str, list[str]]:
        """Scenarios by scenario manager, in the order of registration. :raises NotFound: there are none."""
        scenarios = (await self.known(tenant)).scenarios
        if not scenarios:
            raise NotFound("expecting the model to have scenarios")
        return {manager: list(names) for manager, names in scenarios.items()}

    async def equations(self, tenant: str, body: dict[str, Any]) -> dict[str, list[str]]:
        """Equations of a scenario by kind. :raises BadRequest:"""
        known = await self.known(tenant)
        one = requests.scenario_of(body, known.scenarios, ("scenarioManager", "scenario_manager"))
        return {kind: one.equations.get(kind, []) for kind in KINDS}

    async def agents(self, tenant: str, body: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
        """States and properties of a scenario's agents by type. :raises BadRequest: it has none."""
        known = await self.known(tenant)
        one = requests.scenario_of(body, known.scenarios, ("scenarioManager",))
        if not one.agents:
            raise BadRequest("expecting the model to have agents", field="scenario")
        return one.agents

    # ---- whole runs

    async def run(self, tenant: str, body: dict[str, Any]) -> bytes:
        """Run scenarios from start to stop: JSON text by manager, scenario and equation or agent."""
        known = await self.known(tenant)
        begin = requests.begin(body, known.scenarios)
        parts = await asyncio.gather(*(self._whole(tenant, *part) for part in by_model(begin, known)))
        merged = {manager: scenarios for part in parts for manager, scenarios in part.items()}
        wanted = dict.fromkeys(manager for manager, _, _ in begin.scenarios)
        return values.dump({manager: merged[manager] for manager in wanted if manager in merged})

    async def _whole(self, tenant: str, model: Model, begin: Begin) -> dict[str, Any]:
        complete = await self._complete(tenant, model)
        async with self._runners.one([complete]) as worker:
            answer = await ask(worker, [{"op": "run", "begin": msgspec.to_builtins(begin)}])
            result: dict[str, Any] = decoded(_results, answer)
            return result

    async def _complete(self, tenant: str, model: Model) -> Model:
        complete = await self._store.get_model(tenant, model.name, model.version)
        if complete is None:
            raise NotFound(f"you have no model {model.name}")
        return complete

    # ---- instances

    async def start(self, tenant: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """A new instance: its id and its timeout."""
        ids, timeout = await self.start_many(tenant, {**body, "instances": 1})
        return ids[0], timeout

    async def start_many(self, tenant: str, body: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """New instances: their ids and their timeout. :raises BadRequest: :raises TooManyRequests:"""
        timeout, idle_ms = requests.timeout(body)
        count = requests.count(body, "instances", MAX_INSTANCES, 1)
        models = {model.name: model.version for model in await self._store.list_models(tenant)}
        runs = await self._runs.create(
            tenant, INSTANCE, models, count=count, idle_ms=idle_ms, most=self._settings.instances
        )
        return [run.id for run in runs], timeout

    async def begin(self, tenant: str, instance: str, body: dict[str, Any]) -> None:
        """Begin a session in place of any other. Its settings end with it.

        :raises BadRequest: :raises NotFound:
        """
        run = await self._instance(tenant, instance)
        known = await self.known(tenant, run.models)
        begin = requests.begin(body, known.scenarios, step_size=requests.step_size(body))
        used = {known.owner[manager].name: known.owner[manager] for manager, _, _ in begin.scenarios}
        versions = {name: model.version for name, model in used.items()}
        entry = {"op": "begin", "begin": msgspec.to_builtins(begin)}

        def decide(answer: msgspec.Raw) -> Outcome:
            return Outcome(None, metadata=values.dump({"step": decoded(_began, answer).step}))

        await self._runs.write(tenant, instance, entry, decide, models=versions)

    async def step(self, tenant: str, instance: str, body: dict[str, Any] | None) -> bytes:
        """The next step: JSON text. :raises BadRequest: :raises NotFound:"""
        answers, _ = await self._advance(tenant, instance, body, 1)
        return values.dump(answers[0])

    async def steps(self, tenant: str, instance: str, body: dict[str, Any]) -> bytes:
        """Several steps: JSON text of an array."""
        count = requests.count(body, "numberSteps", MAX_STEPS)
        answers, _ = await self._advance(tenant, instance, body, count)
        return values.dump(answers)

    async def stream(
        self, tenant: str, instance: str, body: dict[str, Any] | None
    ) -> AsyncGenerator[bytes, None]:
        """All steps that are left, each as JSON text; other steps of the instance wait until it ends.

        :raises BadRequest: there is no session. :raises Conflict: it is being streamed already.
        """
        token = secrets.token_hex(8)
        await self._mark(tenant, instance, lambda old: self._locked(old, token))
        settings, ended = body, False
        try:
            while not ended:
                answers, ended = await self._advance(tenant, instance, settings, 1, token)
                if answers[0] == STOPPED:
                    ended = False  # nothing was stored, so the lock is still there
                    return
                settings = None if body is None else {**body, "settings": {}}
                yield values.dump(answers[0])
        except Conflict:
            if await self._has(tenant, instance, token):
                raise
        finally:
            if not ended:
                await self._unlock(tenant, instance, token)

    async def results(self, tenant: str, instance: str, *, flat: bool) -> bytes:
        """What the session answered so far: JSON text."""
        await self._instance(tenant, instance)
        answer = await self._runs.read(tenant, instance, {"op": "results", "flat": flat})
        return b"{}" if answer is None else values.dump(decoded(_results, answer))

    async def end(self, tenant: str, instance: str) -> None:
        """End the session, if there is one."""
        await self._instance(tenant, instance)
        await self._runs.clear(tenant, instance, {"op": "end"}, b"{}")

    async def keep_alive(self, tenant: str, instance: str) -> None:
        """An access, which resets the timeout."""
        await self._instance(tenant, instance)

    async def stop(self, tenant: str, instance: str) -> None:
        """Delete the instance. :raises NotFound:"""
        await self._instance(tenant, instance)
        await self._runs.delete(tenant, instance)

    # ---- the whole of it

    async def states(self, tenant: str) -> list[dict[str, Any]]:
        """One entry per instance of the tenant: what it needs to go on. All of it is stored at all times."""
        result = []
        for run in await self._instances(tenant):
            entries = [_versions.decode(entry) for entry in await self._store.entries(run.id, run.base)]
            metadata = msgspec.json.decode(run.metadata)
            begin = entries[0].get("begin") if entries else None
            result.append(
                {
                    "instance_id": run.id,
                    "time": iso(run.modified_ms),
                    "timeout": {"milliseconds": run.idle_ms},
                    "step": metadata.get("step"),
                    "state": None
                    if begin is None
                    else {
                        "scenarios": begin["scenarios"],
                        "settings": begin["settings"],
                        "step": metadata.get("step"),
                        "settings_log": [
                            {"count": entry["count"], "settings": entry.get("settings") or {}}
                            for entry in entries[1:]
                            if entry["op"] == "steps"
                        ],
                        "lock": self._is_locked(run.metadata),
                    },
                }
            )
        return result

    async def metrics(self, tenant: str | None) -> dict[str, Any]:
        """Counts over all tenants, and the steps of the tenant's own instances."""
        result: dict[str, Any] = {}
        if tenant is not None:
            for run in await self._instances(tenant):
                metadata = msgspec.json.decode(run.metadata)
                if "step" in metadata:
                    result[run.id] = {"startTime": iso(run.created_ms), "step": metadata["step"]}
        result["instanceCount"] = await self.count()
        result["threadCount"] = threading.active_count()
        return result

    async def count(self) -> int:
        """Live instances of all tenants; `counted` keeps the last answer."""
        self.counted = await self._store.count_runs(None, INSTANCE, self._now_ms())
        return self.counted

    async def _instances(self, tenant: str) -> list[Run]:
        runs: list[Run] = []
        while True:
            query = RunQuery(tenant=tenant, kind=INSTANCE, first=len(runs), limit=METRICS_AT_ONCE)
            page, total = await self._store.list_runs(query)
            runs += page
            if len(runs) >= total or not page:
                now_ms = self._now_ms()
                return [run for run in runs if not run.expires_ms or run.expires_ms > now_ms]

    # ---- inside

    async def _instance(self, tenant: str, instance: str) -> Run:
        run = await self._runs.get(tenant, instance)
        if run.kind != INSTANCE:
            raise NotFound(UNKNOWN)
        return run

    async def _advance(
        self,
        tenant: str,
        instance: str,
        body: dict[str, Any] | None,
        count: int,
        token: str = "",
    ) -> tuple[list[dict[str, Any]], bool]:
        """:param token: of the stream that asks; "" for other steps, which no stream may be in the way of."""
        flat = False
        entry: dict[str, Any] = {"op": "steps", "count": count}
        if body is not None:
            if "settings" not in body:
                raise BadRequest("expecting settings to be set", field="settings")
            flat = requests.flag(body, "flatResults")
            if body["settings"]:
                run = await self._runs.look(tenant, instance)
                known = await self.known(tenant, run.models)
                checked = requests.settings(body["settings"], known.scenarios)
                entry["settings"] = msgspec.to_builtins(checked)
        if flat:
            entry["flat"] = True

        def decide(answer: msgspec.Raw) -> Outcome:
            steps = decoded(_steps, answer)
            if steps is None:
                raise BadRequest(NO_SESSION)
            moved = any(one != STOPPED for one in steps.answers)
            # Past the stop time nothing happened, and nothing is to be kept.
            metadata: dict[str, Any] = {"step": steps.step}
            if token and not steps.ended:
                metadata["stream"] = (token, self._now_ms() + STREAM_MS)
            return Outcome((steps.answers, steps.ended), keep=moved, metadata=values.dump(metadata))

        def allow(metadata: bytes) -> bool:
            return _known(metadata).token == token if token else not self._is_locked(metadata)

        answer: tuple[list[dict[str, Any]], bool] = await self._runs.write(
            tenant, instance, entry, decide, allow=allow
        )
        return answer

    def _is_locked(self, metadata: bytes) -> bool:
        """Whether a stream is under way, in any server process."""
        return b'"stream"' in metadata and _known(metadata).until_ms > self._now_ms()

    def _locked(self, metadata: bytes, token: str) -> bytes:
        if self._is_locked(metadata):
            raise Conflict(LOCKED)
        known = msgspec.json.decode(metadata)
        return values.dump({**known, "stream": (token, self._now_ms() + STREAM_MS)})

    async def _has(self, tenant: str, instance: str, token: str) -> bool:
        """Whether a stream still has the session that it began with."""
        return _known((await self._runs.look(tenant, instance)).metadata).token == token

    async def _unlock(self, tenant: str, instance: str, token: str) -> None:
        def unlocked(metadata: bytes) -> bytes:
            if _known(metadata).token != token:
                raise _Replaced
            known = msgspec.json.decode(metadata)
            del known["stream"]
            return values.dump(known)

        try:
            await self._mark(tenant, instance, unlocked)
        except (_Replaced, NotFound):
            return  # there is nothing to unlock

    async def _mark(self, tenant: str, instance: str, metadata: Callable[[bytes], bytes]) -> None:
        await self._runs.note(tenant, instance, INSTANCE, {"op": "note"}, metadata)

    def _decoded(self, model: Model) -> Found:
        key = (model.tenant, model.name, model.version)
        one = self._found.get(key)
        if one is None:
            one = self._found[key] = found(model)
            if len(self._found) > 1000:
                self._found.popitem(last=False)
        return one


def by_model(begin: Begin, known: KnownModels) -> list[tuple[Model, Begin]]:
    """A request in parts, each for one model."""
    parts: dict[str, list[Any]] = {}
    for one in begin.scenarios:
        parts.setdefault(known.owner[one[0]].name, []).append(one)
    result = []
    for name, scenarios in parts.items():
        managers = {manager for manager, _, _ in scenarios}
        settings = {manager: one for manager, one in begin.settings.items() if manager in managers}
        part = msgspec.structs.replace(begin, scenarios=scenarios, settings=settings)
        result.append((known.models[name], part))
    return result


def decoded(decoder: Any, answer: msgspec.Raw) -> Any:
    """A worker's answer. :raises ModelError: it is not of the expected form."""
    try:
        return decoder.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ModelError("the model's process answered what no model does") from None
