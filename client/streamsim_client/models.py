"""The models of a user, and sweeps over them."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Unpack

from streamsim_client.answers import JobEvent
from streamsim_client.groups import Group, S, call, each, path
from streamsim_client.model_answers import (
    EndedJob,
    Message,
    Model,
    ModelFields,
    ModelWithFiles,
    Sweep,
    SweepFields,
    Work,
)
from streamsim_client.values import Object

File = str | bytes | Mapping[str, str]
"""Text, bytes, or what `Models.get` gives for bytes."""


class Models(Group[S]):
    """`client.models`

    >>> code = "stock = 10\\ndef buy(n):\\n    global stock\\n    stock += n\\n    return stock\\n"
    >>> model = client.models.push("shop", {"shop.py": code}, engine="python")
    >>> model["version"], [one["name"] for one in model["operations"]]
    (1, ['buy'])
    """

    @call
    async def push(self, name: str, files: Mapping[str, File], **fields: Unpack[ModelFields]) -> Model:
        """Upload a model, or a new version of it if there is one of this name.

        :param files: path -> text, or bytes of any file, e.g. of a table of Excel or a `.zip` archive; of
            several, `main` names the one to load.
        :raises BadRequest: naming what is wrong; where the model does not load, its file and line.
        """
        if any(model["name"] == name for model in await self._ask(list[Model], "GET", "/models")):
            return await self._ask(Model, "PUT", path("models", name), body={"files": _sent(files), **fields})
        return await self._create(name, files, fields)

    @call
    async def create(self, name: str, files: Mapping[str, File], **fields: Unpack[ModelFields]) -> Model:
        """As `push`, for a new model only. :raises Conflict: the name is taken."""
        return await self._create(name, files, fields)

    @call
    async def update(self, name: str, files: Mapping[str, File], **fields: Unpack[ModelFields]) -> Model:
        """As `push`, for a model that there is. :raises NotFound:"""
        return await self._ask(Model, "PUT", path("models", name), body={"files": _sent(files), **fields})

    @call
    async def all(self) -> list[Model]:
        """The newest versions of all models of the user."""
        return await self._ask(list[Model], "GET", "/models")

    @call
    async def get(self, name: str) -> ModelWithFiles:
        """A model with its files. :raises NotFound:"""
        return await self._ask(ModelWithFiles, "GET", path("models", name))

    @call
    async def delete(self, name: str) -> Message:
        """Delete a model; instances and runs that have it go on. :raises NotFound:"""
        return await self._ask(Message, "DELETE", path("models", name))

    async def _create(self, name: str, files: Mapping[str, File], fields: ModelFields) -> Model:
        return await self._ask(Model, "POST", "/models", body={"name": name, "files": _sent(files), **fields})


class Sweeps(Group[S]):
    """`client.sweeps`: a scenario under many values of its constants.

    >>> _ = client.models.push("tea", {"tea.mdl": MDL}, scenarios={"cup": {}}, manager="tea")
    >>> rooms = {"Room Temperature": [60.0, 80.0]}
    >>> sweep = client.sweeps.run("tea", "cup", ["Teacup Temperature"], rooms, seed=1)
    >>> sweep["runs"], sweep["bands"]["Teacup Temperature"]["max"]["0.0"]
    (2, 180.0)
    """

    @call
    async def run(
        self,
        manager: str,
        scenario: str,
        equations: Iterable[str],
        parameters: Mapping[str, object],
        **fields: Unpack[SweepFields],
    ) -> Sweep:
        """Bands of equations over time.

        :param parameters: constant -> a list, a range or a distribution; see docs/models.md.
        :raises BadRequest: naming what is wrong. :raises TooManyRequests: too many are under way.
        """
        body = _body(manager, scenario, equations, parameters, fields)
        return await self._ask(Sweep, "POST", "/sweep", body=body)

    @call
    async def start(
        self,
        manager: str,
        scenario: str,
        equations: Iterable[str],
        parameters: Mapping[str, object],
        **fields: Unpack[SweepFields],
    ) -> Work:
        """The same in the background: a job, see `client.jobs`. :raises: as `run`."""
        body = _body(manager, scenario, equations, parameters, fields)
        return await self._ask(Work, "POST", "/sweep", body={**body, "background": True})


class Jobs(Group[S]):
    """`client.jobs`: sweeps in the background, simulation jobs and comparisons.

    >>> job = client.evaluation.start(ID, n=10)
    >>> *_, last = client.jobs.events(job["id"])
    >>> last["event"], client.jobs.get(job["id"])["kind"]
    ('end', 'simulation')
    """

    @each
    def all(self, *, limit: int | None = None) -> AsyncGenerator[Work, None]:
        """The user's jobs, newest first. :param limit: how many one request fetches."""
        return self._items(Work, "/jobs", {"limit": limit})

    @call
    async def get(self, job: str) -> Work:
        """State and progress, and the result once it is done. :raises NotFound:"""
        return await self._ask(Work, "GET", path("jobs", job))

    @each
    def events(self, job: str) -> AsyncGenerator[JobEvent, None]:
        """The job's progress as it happens, at last an event `end`.

        If the server stops before, the last event is a `progress`: ask again. :raises NotFound:
        """
        return self._events(path("jobs", job, "events"))

    @call
    async def cancel(self, job: str) -> EndedJob:
        """Cancel a job; remove one that is finished. :raises NotFound:"""
        return await self._ask(EndedJob, "DELETE", path("jobs", job))


def _sent(files: Mapping[str, File]) -> dict[str, object]:
    return {
        name: {"base64": base64.b64encode(content).decode()} if isinstance(content, bytes) else content
        for name, content in files.items()
    }


def _body(
    manager: str,
    scenario: str,
    equations: Iterable[str],
    parameters: Mapping[str, object],
    fields: SweepFields,
) -> Object:
    more = {"everyRun" if name == "every_run" else name: value for name, value in fields.items()}
    return {
        "scenario_manager": manager,
        "scenario": scenario,
        "equations": list(equations),
        "parameters": dict(parameters),
        **more,
    }
