"""Instances: private simulations that advance step by step, as those of a BptkServer."""

from __future__ import annotations

import secrets
import threading
from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from streamsim import values
from streamsim.config import ModelSettings
from streamsim.dates import iso
from streamsim.errors import BadRequest, Conflict, ModelError, NotFound
from streamsim.models import answers, requests
from streamsim.models.answers import Steps
from streamsim.models.journal import Entry, RunJournal
from streamsim.models.live_runs import LiveRuns
from streamsim.models.scenarios import Scenarios
from streamsim.models.session import STOPPED
from streamsim.models.turn import NotBegun, Turn
from streamsim.storage.contract.runs import Run, RunQuery
from streamsim.values import JsonObject

INSTANCE: Final = "instance"
LOCKED: Final = "instance is locked"
MAX_STEPS: Final = 10_000
MAX_INSTANCES: Final = 1_000
METRICS_AT_ONCE: Final = 1_000
STREAM_MS: Final = 30_000
"""A stream that computed no step for so long, as its process ended, no longer locks its instance."""


class StreamLock(msgspec.Struct):
    """What an instance's metadata say of a stream: its token, and until when it locks the instance."""

    stream: tuple[str, int] = ("", 0)

    @property
    def token(self) -> str:
        return self.stream[0]

    @property
    def until_ms(self) -> int:
        return self.stream[1]


_stream_lock = msgspec.json.Decoder(StreamLock).decode


class Instances:
    """Instances and their sessions; every method takes the tenant that asks.

    Every method that is given an instance is an access, and raises NotFound for one that is not the tenant's.
    """

    def __init__(self, runs: LiveRuns, scenarios: Scenarios, settings: ModelSettings) -> None:
        self._runs = runs
        self._journal: RunJournal = runs.journal
        self._scenarios = scenarios
        self._settings = settings
        self.counted = 0

    async def start(self, tenant: str, body: JsonObject) -> tuple[str, JsonObject]:
        """A new instance: its id and its timeout."""
        ids, timeout = await self.start_many(tenant, {**body, "instances": 1})
        return ids[0], timeout

    async def start_many(self, tenant: str, body: JsonObject) -> tuple[list[str], JsonObject]:
        """New instances: their ids and their timeout. :raises BadRequest: :raises TooManyRequests:"""
        timeout, idle_ms = requests.timeout(body)
        count = requests.count(body, "instances", MAX_INSTANCES, 1)
        models = await self._scenarios.versions(tenant)
        runs = await self._journal.create(
            tenant, INSTANCE, models, count=count, idle_ms=idle_ms, most=self._settings.instances
        )
        return [run.id for run in runs], timeout

    async def keep_alive(self, tenant: str, instance: str) -> None:
        """An access, which resets the timeout."""
        await self._journal.get(tenant, instance)

    async def stop(self, tenant: str, instance: str) -> None:
        """Delete the instance."""
        await self._runs.delete(tenant, instance)

    # ---- sessions

    async def begin(self, tenant: str, instance: str, body: JsonObject) -> None:
        """Begin a session in place of any other. Its settings end with it. :raises BadRequest:"""
        run = await self._journal.get(tenant, instance)
        known = await self._scenarios.known(tenant, run.models)
        begin = requests.begin(
            body,
            known.scenarios,
            step_size=requests.step_size(body),
            frozen_stocks=self._scenarios.frozen_stocks,
        )
        versions = {
            known.owner[manager].name: known.owner[manager].version for manager, _, _ in begin.scenarios
        }
        entry = {"op": "begin", "begin": msgspec.to_builtins(begin)}

        async def begin_anew(turn: Turn) -> None:
            began = answers.decoded(answers.began, await turn.ask_anew(entry, versions))
            await turn.restart({**entry, "models": versions}, values.dump({"step": began.step}))

        await self._runs.change(tenant, instance, INSTANCE, begin_anew)

    async def step(self, tenant: str, instance: str, body: JsonObject | None) -> bytes:
        """The next step: JSON text. :raises BadRequest: :raises Conflict: it is being streamed."""
        steps = await self._advance(tenant, instance, body, 1)
        return values.dump(steps.answers[0])

    async def steps(self, tenant: str, instance: str, body: JsonObject) -> bytes:
        """Several steps: JSON text of an array. :raises BadRequest: :raises Conflict: as `step`."""
        count = requests.count(body, "numberSteps", MAX_STEPS)
        steps = await self._advance(tenant, instance, body, count)
        return values.dump(steps.answers)

    async def stream(
        self, tenant: str, instance: str, body: JsonObject | None
    ) -> AsyncGenerator[bytes, None]:
        """All steps that are left, each as JSON text; other steps of the instance wait until it ends.

        :raises BadRequest: there is no session. :raises Conflict: it is being streamed already.
        """
        token = secrets.token_hex(8)
        await self._lock(tenant, instance, token)
        settings, ended = body, False
        try:
            while not ended:
                steps = await self._advance(tenant, instance, settings, 1, token)
                if steps.answers[0] == STOPPED:
                    return  # nothing was stored, so the lock is still there
                ended = steps.ended
                settings = None if body is None else {**body, "settings": {}}
                yield values.dump(steps.answers[0])
        except Conflict:
            if await self._has(tenant, instance, token):
                raise
        finally:
            if not ended:
                await self._unlock(tenant, instance, token)

    async def results(self, tenant: str, instance: str, *, flat: bool) -> bytes:
        """What the session answered so far: JSON text; `{}` if there is none."""
        try:
            answer = await self._runs.read(tenant, instance, {"op": "results", "flat": flat})
        except NotBegun:
            return b"{}"
        return values.dump(answers.decoded(answers.series, answer))

    async def end(self, tenant: str, instance: str) -> None:
        """End the session, if there is one."""

        async def drop_session(turn: Turn) -> None:
            await turn.restart({"op": "end"}, b"{}")

        await self._runs.change(tenant, instance, INSTANCE, drop_session)

    # ---- the whole of it

    async def states(self, tenant: str) -> list[JsonObject]:
        """One entry per instance of the tenant: what it needs to go on. All of it is stored at all times."""
        result = []
        for run in await self._instances(tenant):
            entries = await self._journal.entries(run)
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
                        "lock": self._is_locked(run),
                    },
                }
            )
        return result

    async def metrics(self, tenant: str | None) -> JsonObject:
        """Counts over all tenants, and the steps of the tenant's own instances."""
        result: JsonObject = {}
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
        self.counted = await self._journal.count(None, INSTANCE)
        return self.counted

    async def _instances(self, tenant: str) -> list[Run]:
        runs: list[Run] = []
        while True:
            query = RunQuery(tenant=tenant, kind=INSTANCE, first=len(runs), limit=METRICS_AT_ONCE)
            page, total = await self._journal.page(query)
            runs += page
            if len(runs) >= total or not page:
                now_ms = self._journal.now_ms()
                return [run for run in runs if not run.expires_ms or run.expires_ms > now_ms]

    # ---- inside

    async def _advance(
        self, tenant: str, instance: str, body: JsonObject | None, count: int, token: str = ""
    ) -> Steps:
        """:param token: of the stream that asks; "" for other steps, which no stream may be in the way of."""
        entry: Entry = {"op": "steps", "count": count}
        if body is not None:
            entry |= await self._step_settings(tenant, instance, body)

        def locked(run: Run) -> bool:
            return self._token(run) != token if token else self._is_locked(run)

        async def advance(turn: Turn) -> Steps:
            if locked(turn.run):
                await turn.confirm(locked)
                raise Conflict(LOCKED)
            steps = answers.decoded(answers.steps, await turn.ask(entry))
            if steps is None:
                raise NotBegun
            if len(steps.answers) != count:
                raise ModelError(answers.NO_ANSWER)
            if steps.answers[0] == STOPPED:
                # Past the stop time nothing happened, and nothing is to be kept.
                await turn.confirm()
                return steps
            metadata: JsonObject = {"step": steps.step}
            if token and not steps.ended:
                metadata["stream"] = (token, self._journal.now_ms() + STREAM_MS)
            await turn.append(entry, metadata=values.dump(metadata))
            return steps

        return await self._runs.change(tenant, instance, INSTANCE, advance)

    async def _step_settings(self, tenant: str, instance: str, body: JsonObject) -> Entry:
        """What the body of a request for steps adds to their entry. :raises BadRequest:"""
        entry: Entry = {}
        if "settings" not in body:
            raise BadRequest("expecting settings to be set", field="settings")
        flat = requests.flag(body, "flatResults")
        if body["settings"]:
            run = await self._journal.look(tenant, instance)
            known = await self._scenarios.known(tenant, run.models)
            settings = requests.settings(
                body["settings"], known.scenarios, frozen_stocks=self._scenarios.frozen_stocks
            )
            entry["settings"] = msgspec.to_builtins(settings)
        if flat:
            entry["flat"] = True
        return entry

    def _token(self, run: Run) -> str:
        return _stream_lock(run.metadata).token

    def _is_locked(self, run: Run) -> bool:
        """Whether a stream is under way, in any server process."""
        return b'"stream"' in run.metadata and _stream_lock(run.metadata).until_ms > self._journal.now_ms()

    async def _lock(self, tenant: str, instance: str, token: str) -> None:
        async def lock(turn: Turn) -> None:
            if self._is_locked(turn.run):
                await turn.confirm(self._is_locked)
                raise Conflict(LOCKED)
            metadata = msgspec.json.decode(turn.run.metadata)
            metadata["stream"] = (token, self._journal.now_ms() + STREAM_MS)
            await turn.append({"op": "note"}, metadata=values.dump(metadata))

        await self._runs.change(tenant, instance, INSTANCE, lock)

    async def _unlock(self, tenant: str, instance: str, token: str) -> None:
        """Let others step again, if the session that was streamed is still there and nobody stepped it."""

        async def unlock(turn: Turn) -> None:
            if self._token(turn.run) != token:
                await turn.confirm(lambda run: self._token(run) != token)
                return
            metadata = msgspec.json.decode(turn.run.metadata)
            del metadata["stream"]
            await turn.append({"op": "note"}, metadata=values.dump(metadata))

        try:
            await self._runs.change(tenant, instance, INSTANCE, unlock)
        except NotFound:
            return  # there is nothing to unlock

    async def _has(self, tenant: str, instance: str, token: str) -> bool:
        """Whether a stream still has the session that it began with."""
        return self._token(await self._journal.look(tenant, instance)) == token
