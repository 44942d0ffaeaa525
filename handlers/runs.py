"""The run API: runs of models and their operations, in the forms of Forio Epicenter."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from handlers.base import BaseHandler
from handlers.run_api import RunApiHandler
from handlers.run_variables import (
    DescribeVariableHandler,
    RunVariableHandler,
    RunVariablesHandler,
    VariableHandler,
    VariablesHandler,
)
from streamsim.errors import BadRequest, refuse_unknown
from streamsim.models import run_queries
from streamsim.models.requests import count
from streamsim.models.run_service import Page

LISTED: Final = frozenset(("include", "startrecord", "endrecord", "sort", "direction"))


class _Runs(RunApiHandler):
    async def create(self, account: Any, project: Any, body: dict[str, Any]) -> None:
        self.kind = "model"  # type: ignore[misc]
        record = await self.service.create(self.tenant, account, project, body)
        self.set_status(201)
        self.write_json(record)

    async def find(self, account: str, project: str, raw: str) -> None:
        """Answer with the runs that meet the matrix parameters of a path segment."""
        first, last = self.page()
        direction = (self.text_argument("direction") or "asc").lower()
        if direction not in ("asc", "desc"):
            raise BadRequest("direction must be asc or desc", field="direction")
        page = Page(
            first, last, run_queries.field(self.text_argument("sort") or "created"), direction == "desc"
        )
        records, total = await self.service.find(
            self.tenant, account, project, run_queries.filters(raw), self.included(), page
        )
        shown = f"{first}-{first + len(records) - 1}" if records else "*"
        self.set_header("Content-Range", f"records {shown}/{total}")
        self.from_store()
        self.write_json(records)

    def page(self) -> tuple[int, int | None]:
        """The first and the last record that are asked for. :raises BadRequest:"""
        start = "startRecord" if self.text_argument("startrecord") is None else "startrecord"
        end = "endRecord" if self.text_argument("endrecord") is None else "endrecord"
        first = self.integer_argument(start, 0, 0, 10**9)
        return first, self.integer_argument(end, -1, first, 10**9) if self.text_argument(end) else None


class RunsHandler(_Runs):
    """`/v2/run/{account}/{project}`"""

    query: ClassVar[frozenset[str]] = LISTED

    properties: ClassVar[dict[str, str]] = {
        "model": "name of a model, or of its main file; required",
        "scope": "an object of your own",
        "files": "an object of your own",
        "ephemeral": "true or false, kept in the record",
        "sensitivityMode": "false; many values are what /sweep is for",
    }

    async def post(self, account: str, project: str) -> None:
        """Makes a run of a model, and answers 201 with its record."""
        await self.create(account, project, self.body())

    async def get(self, account: str, project: str) -> None:
        """Records of all runs of the project; see the form with filters."""
        await self.find(account, project, "")


class OneRunHandler(_Runs):
    """`/v2/run/{account}/{project}/{id}`, or `/v2/run/{account}/{project}/;saved=true;variables.price>1`"""

    query: ClassVar[frozenset[str]] = LISTED

    properties: ClassVar[dict[str, str]] = {
        "include": "variables in the answer, separated by commas",
        "startrecord": "of a list: the first record, from 0",
        "endrecord": "of a list: the last record",
        "sort": "of a list: created, lastModified, id, model, variables.NAME or a field of your own",
        "direction": "of a list: asc or desc",
        "saved": "PATCH: true or false",
        "trashed": "PATCH: true or false",
        "scope": "PATCH: an object, or scope.NAME",
        "variables": "PATCH: an object of path -> value, set all or none",
        "X-AutoRestore": "header, true: bring the run into memory first",
    }

    async def get(self, account: str, project: str, run: str) -> None:
        """The record of a run, or records of the runs that meet filters, with recorded variables."""
        if run.startswith(";"):
            await self.find(account, project, self.segments()[3])
            return
        self.about["run_id"] = run
        restore = self.request.headers.get("X-AutoRestore", "").lower() == "true"
        record = await self.service.record(
            self.tenant, account, project, run, self.included(), restore=restore
        )
        if not record["active"]:
            self.from_store()
        self.write_json(record)

    async def patch(self, account: str, project: str, run: str) -> None:
        """Changes fields of the record, and variables; answers what was changed."""
        self.about["run_id"] = run
        self.write_json(await self.service.patch(self.tenant, account, project, run, self.body()))

    async def delete(self, account: str, project: str, run: str) -> None:
        """Lets the run leave memory; it stays in the store."""
        self.about["run_id"] = run
        await self.service.unload(self.tenant, account, project, run)
        self.set_status(204)
        self.finish()


class ModelRunHandler(_Runs):
    """`/v2/model/run`"""

    properties: ClassVar[dict[str, str]] = {
        **RunsHandler.properties,
        "account": "your user name",
        "project": "a name for a group of runs",
    }

    async def post(self) -> None:
        """Makes a run of a model, and answers 201 with its record."""
        body = self.body()
        for name in ("account", "project"):
            if name not in body:
                raise BadRequest(f"{name} is missing", field=name)
        account, project = body.pop("account"), body.pop("project")
        await self.create(account, project, body)


class _Operations(RunApiHandler):
    kind: ClassVar[str] = "proc"
    properties: ClassVar[dict[str, str]] = {
        "name": "name of the operation",
        "arguments": "array of its arguments; may be left out",
    }

    async def call(self, run: str, name: Any, body: dict[str, Any]) -> None:
        if not isinstance(name, str):
            raise BadRequest("name must be the name of an operation", field="name")
        self.about |= {"run_id": run, "name": name}
        refuse_unknown(body, ("name", "arguments"))
        arguments = body.get("arguments", [])
        if not isinstance(arguments, list):
            raise BadRequest("arguments must be an array", field="arguments")
        given = {"arguments": arguments} if "arguments" in body else {}
        self.about |= given
        result = await self.service.call(self.tenant, run, name, arguments)
        self.write_json({"name": name, **given, **({} if result is None else {"result": result})})


class OperationHandler(_Operations):
    """`/v2/model/operation/{id}`"""

    async def post(self, run: str) -> None:
        """Calls an operation of the model; answers the operation record with its result."""
        body = self.body()
        await self.call(run, body.get("name"), body)


class RunOperationHandler(_Operations):
    """`/v2/run/{account}/{project}/{id}/operations/{name}`"""

    async def post(self, account: str, project: str, run: str, name: str) -> None:
        """Calls an operation of the model; answers the operation record with its result."""
        await self.service.look(self.tenant, account, project, run)
        body = self.body() if self.request.body else {}
        if body.get("name", name) != name:
            raise BadRequest("name in the body is another than that in the path", field="name")
        await self.call(run, name, body)


class IntrospectRunHandler(RunApiHandler):
    """`/v2/model/introspect/{id}`"""

    async def get(self, run: str) -> None:
        """Operations and variables of a run's model."""
        self.write_json(await self.service.introspect_run(self.tenant, run))


class IntrospectModelHandler(RunApiHandler):
    """`/v2/model/introspect/{account}/{project}/{model}`"""

    async def get(self, account: str, project: str, model: str) -> None:
        """Operations and variables of a model."""
        self.write_json(await self.service.introspect(self.tenant, account, model))


class StateHandler(RunApiHandler):
    """`/v2/model/state/{id}`"""

    properties: ClassVar[dict[str, str]] = {
        "action": "replay, clone or rewind; required",
        "count": "of rewind: how many changes are taken back, 1 if it is left out",
        "stopBefore": "name of an operation: what was done from its first call on is left out",
        "exclude": "array of names of operations that are left out",
    }

    async def post(self, run: str) -> None:
        """Brings a run back from its journal, copies it, or takes back changes; answers `{"run": id}`."""
        self.about["run_id"] = run
        body = self.body()
        refuse_unknown(body, self.properties)
        action, stop, exclude = body.get("action"), body.get("stopBefore"), body.get("exclude", [])
        if action not in ("replay", "clone", "rewind"):
            raise BadRequest("action must be replay, clone or rewind", field="action")
        if action == "rewind":
            refuse_unknown(body, ("action", "count"))
            taken = count(body, "count", 10**6, 1)
            self.write_json({"run": await self.service.rewind(self.tenant, run, taken)})
            return
        refuse_unknown(body, ("action", "stopBefore", "exclude"))
        if stop is not None and not isinstance(stop, str):
            raise BadRequest("stopBefore must be the name of an operation", field="stopBefore")
        if not isinstance(exclude, list) or not all(isinstance(name, str) for name in exclude):
            raise BadRequest("exclude must be an array of names of operations", field="exclude")
        act = self.service.replay if action == "replay" else self.service.clone
        self.write_json({"run": await act(self.tenant, run, stop, exclude)})


class HistoryHandler(RunApiHandler):
    """`/v2/model/history/{id}`"""

    async def get(self, run: str) -> None:
        """What was done to a run, oldest first: variables that were set, operations that were called."""
        self.about["run_id"] = run
        self.write_json(await self.service.history(self.tenant, run))


class DescribeOperationHandler(_Operations):
    """`/v2/model/operation`, for OPTIONS"""

    described: ClassVar[type[BaseHandler] | None] = OperationHandler


_RUN = "/v2/run/{account:part}/{project:part}"
_MODEL = [
    ("/run", ModelRunHandler),
    ("/operation", DescribeOperationHandler),
    ("/operation/{run:part}", OperationHandler),
    ("/variable", DescribeVariableHandler),
    ("/variable/{run:part}", VariablesHandler),
    ("/variable/{run:part}/{name:rest}", VariableHandler),
    ("/introspect/{run:part}", IntrospectRunHandler),
    ("/introspect/{account:part}/{project:part}/{model:part}", IntrospectModelHandler),
    ("/state/{run:part}", StateHandler),
    ("/history/{run:part}", HistoryHandler),
]
_PATHS = [
    *(
        (_RUN + "/{run:part}" + path, handler)
        for path, handler in (
            ("/operations/{name:part}", RunOperationHandler),
            ("/variables", RunVariablesHandler),
            ("/variables/{name:rest}", RunVariableHandler),
            ("", OneRunHandler),
        )
    ),
    (_RUN, RunsHandler),
    *((prefix + path, handler) for prefix in ("/model", "/v2/model") for path, handler in _MODEL),
]

# With the slash first, so that metrics know a handler by the path without it.
routes = [
    (path + slash, handler)
    for path, handler in _PATHS
    for slash in (("",) if path.endswith(":rest}") else ("/", ""))
]
