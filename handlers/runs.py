"""The run API: runs of models, their variables and operations, in the forms of Forio Epicenter.

Errors are the error record of that API. Paths begin with `/v2`, which may be left out before `/model`.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from handlers.base import Access, BaseHandler
from streamsim import values
from streamsim.errors import BadRequest, ModelError, StreamsimError
from streamsim.models import paths, run_queries
from streamsim.models.run_service import Page, RunService

MAX_VALUES: Final = 200_000
HEADERS: Final = "content-type, authorization, x-autorestore, x-request-id"
EXPOSED: Final = "Content-Range, Pragma, Retry-After, X-Request-Id"


class RunApiHandler(BaseHandler):
    """What these endpoints share: bodies, errors, and OPTIONS.

    `properties`: fields of bodies and parameters, with what they mean. `described`: the endpoint that OPTIONS
    tells about, if it is another one. `kind`: what a bad request is about, in error records.
    """

    access: ClassVar[Access] = "user"
    kind: ClassVar[str] = "run"
    described: ClassVar[type[BaseHandler] | None] = None
    properties: ClassVar[dict[str, str]] = {}

    def initialize(self) -> None:
        super().initialize()
        # What an error record names.
        self.about: dict[str, Any] = {}

    @property
    def service(self) -> RunService:
        return self.services.run_service

    @property
    def tenant(self) -> str:
        return self.user.name

    def set_default_headers(self) -> None:
        super().set_default_headers()
        if "Access-Control-Expose-Headers" in self._headers:
            self.set_header("Access-Control-Expose-Headers", EXPOSED)

    def options(self, *_args: str, **_kwargs: str) -> None:
        """What this endpoint takes; also a browser's question before a request from another origin."""
        super().options()
        if "Access-Control-Allow-Headers" in self._headers:
            self.set_header("Access-Control-Allow-Headers", HEADERS)
        described = self.described or type(self)
        methods = [one for one in described.allowed_methods() if one != "OPTIONS"]
        self.set_status(200)
        self.write_json(
            {
                "uri": self.request.path,
                "methods": {one: inspect.getdoc(getattr(described, one.lower())) for one in methods},
                "properties": self.properties,
            }
        )

    def segments(self) -> list[str]:
        """Parts of the path after `/v2`, as they were sent: matrix parameters are split before decoding."""
        parts = self.request.path.split("/")[1:]
        return parts[1:] if parts[0].lower() == "v2" else parts

    def body(self) -> dict[str, Any]:
        """The JSON body. :raises BadRequest: it is no object."""
        try:
            content = values.parse(self.request.body, "body", max_values=MAX_VALUES)
        except values.InvalidValue as error:
            raise BadRequest(str(error), field=error.where) from None
        if type(content) is not dict:
            raise BadRequest("the request body must be a JSON object", field="body")
        return content

    def included(self) -> list[str]:
        """Variables that the query names in `include`."""
        return [path for text in self.get_query_arguments("include") for path in paths.split(text)]

    def error_status(self, error: StreamsimError) -> int:
        # These documents know of no 422.
        return 400 if error.status == 422 else error.status

    def error_body(self, error: StreamsimError) -> dict[str, Any]:
        return error_record(error, self.kind, self.about)


def error_record(error: StreamsimError, kind: str, about: dict[str, Any]) -> dict[str, Any]:
    """The error record: `type`, `message`, `error`, what the request was about, and a model's `fault`."""
    of_model = isinstance(error, ModelError)
    detail = error.detail if isinstance(error.detail, dict) else {}
    message = f"{detail['type']}: {detail['message']}" if of_model and "type" in detail else error.message
    arguments = values.dump(about["arguments"]).decode() if "arguments" in about else None
    record: dict[str, Any] = {
        "type": f"invalid_{kind}" if error.status in (400, 422) else error.code,
        **about,
        **({} if arguments is None else {"arguments": arguments}),
        "message": message,
        "error": True,
    }
    if of_model:
        trace = [{"type": "python", **frame} for frame in detail.get("trace", [])]
        record["fault"] = {
            "cause": trace[-1] if trace else None,
            "context": None,
            "trace": trace,
            "information": {
                "class": detail.get("type", error.code),
                "value": {
                    "type": kind,
                    "runId": about.get("run_id"),
                    "key": about.get("name"),
                    "detail": arguments,
                },
            },
            "type": "python",
            "message": message,
            "native": None,
        }
    return record


class _Runs(RunApiHandler):
    async def create(self, account: Any, project: Any, body: dict[str, Any]) -> None:
        self.kind = "model"  # type: ignore[misc]
        record = await self.service.create(self.tenant, account, project, body)
        self.set_status(201)
        self.write_json(record)

    async def find(self, account: str, project: str, raw: str) -> None:
        """Answer with the runs that meet the matrix parameters of a path segment."""
        first = self.integer_argument("startrecord", 0, 0, 10**9)
        last = (
            self.integer_argument("endrecord", -1, first, 10**9) if self.text_argument("endrecord") else None
        )
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
        self.write_json(records)


class RunsHandler(_Runs):
    """`/v2/run/{account}/{project}`"""

    properties: ClassVar[dict[str, str]] = {
        "model": "name of a model, or of its main file; required",
        "scope": "an object of your own",
        "files": "an object of your own",
        "ephemeral": "true or false, kept in the record",
    }

    async def post(self, account: str, project: str) -> None:
        """Makes a run of a model, and answers 201 with its record."""
        await self.create(account, project, self.body())

    async def get(self, account: str, project: str) -> None:
        """Records of all runs of the project; see the form with filters."""
        await self.find(account, project, "")


class OneRunHandler(_Runs):
    """`/v2/run/{account}/{project}/{id}`, or `/v2/run/{account}/{project}/;saved=true;variables.price>1`"""

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
        self.write_json(
            await self.service.record(self.tenant, account, project, run, self.included(), restore=restore)
        )

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
        for field in body:
            if field not in ("name", "arguments"):
                raise BadRequest(f"there is no field {field[:100]}", field=field[:100])
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


class _Variables(RunApiHandler):
    kind: ClassVar[str] = "variable"
    properties: ClassVar[dict[str, str]] = {
        "name": "a variable; repeat it for several",
        "id": "matrix parameter, ;id=A;id=B: recorded variables of several runs",
    }

    async def read(self, project: str | None, selector: str, name: str | None) -> None:
        """Answer with one variable by name, or with those that the query names."""
        names = [name] if name is not None else self.get_query_arguments("name", strip=False)
        if not names:
            raise BadRequest("name a variable in the path, or several as ?name=A&name=B", field="name")
        if not selector.startswith(";"):
            self.about["run_id"] = run = unquote(selector)
            found = await self.service.variables(self.tenant, run, names)
            self.write_json(found[name] if name is not None else found)
            return
        filters = run_queries.filters(selector)
        several = await self.service.many(self.tenant, project, filters, names)
        self.write_json(
            [{"run": run, "variables": one[name] if name is not None else one} for run, one in several]
        )

    async def change(self, selector: str) -> None:
        """Set the variables of the body."""
        if selector.startswith(";"):
            raise BadRequest("variables of one run can be set at a time")
        self.about["run_id"] = run = unquote(selector)
        self.write_json(await self.service.set(self.tenant, run, self.body()))


class VariablesHandler(_Variables):
    """`/v2/model/variable/{id}`, or with `;id=A;id=B` for the id"""

    async def get(self, run: str) -> None:
        """Values of the variables that the query names: of one run by path, or recorded ones of several."""
        await self.read(None, self.segments()[2], None)

    async def patch(self, run: str) -> None:
        """Sets variables by path, all or none; answers their values afterwards."""
        await self.change(self.segments()[2])


class VariableHandler(_Variables):
    """`/v2/model/variable/{id}/{name}`, or with `;id=A;id=B` for the id"""

    async def get(self, run: str, name: str) -> None:
        """Value of a variable: of one run by path, or a recorded one of several."""
        await self.read(None, self.segments()[2], name)


class _RunVariables(_Variables):
    async def inside(self, account: str, project: str, run: str) -> str:
        """The project, in which a single run must be."""
        if run.startswith(";"):
            self.service.own(self.tenant, account)
        else:
            await self.service.look(self.tenant, account, project, run)
        return project


class RunVariablesHandler(_RunVariables):
    """`/v2/run/{account}/{project}/{id}/variables`, and as the variable API"""

    async def get(self, account: str, project: str, run: str) -> None:
        """Values of the variables that the query names: of one run by path, or recorded ones of several."""
        await self.read(await self.inside(account, project, run), self.segments()[3], None)

    async def patch(self, account: str, project: str, run: str) -> None:
        """Sets variables by path, all or none; answers their values afterwards."""
        await self.inside(account, project, run)
        await self.change(self.segments()[3])


class RunVariableHandler(_RunVariables):
    """`/v2/run/{account}/{project}/{id}/variables/{name}`, and as the variable API"""

    async def get(self, account: str, project: str, run: str, name: str) -> None:
        """Value of a variable: of one run by path, or a recorded one of several."""
        await self.read(await self.inside(account, project, run), self.segments()[3], name)


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
        "action": "replay or clone; required",
        "stopBefore": "name of an operation: what was done from its first call on is left out",
        "exclude": "array of names of operations that are left out",
    }

    async def post(self, run: str) -> None:
        """Brings a run back from its journal, or copies it; answers `{"run": id}`."""
        self.about["run_id"] = run
        body = self.body()
        for name in body:
            if name not in self.properties:
                raise BadRequest(f"there is no field {name[:100]}", field=name[:100])
        action, stop, exclude = body.get("action"), body.get("stopBefore"), body.get("exclude", [])
        if action not in ("replay", "clone"):
            raise BadRequest("action must be replay or clone", field="action")
        if stop is not None and not isinstance(stop, str):
            raise BadRequest("stopBefore must be the name of an operation", field="stopBefore")
        if not isinstance(exclude, list) or not all(isinstance(name, str) for name in exclude):
            raise BadRequest("exclude must be an array of names of operations", field="exclude")
        act = self.service.replay if action == "replay" else self.service.clone
        self.write_json({"run": await act(self.tenant, run, stop, exclude)})


class DescribeOperationHandler(_Operations):
    """`/v2/model/operation`, for OPTIONS"""

    described: ClassVar[type[BaseHandler] | None] = OperationHandler


class DescribeVariableHandler(_Variables):
    """`/v2/model/variable`, for OPTIONS"""

    described: ClassVar[type[BaseHandler] | None] = VariablesHandler


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
    (path + end, handler)
    for path, handler in _PATHS
    for end in (("",) if path.endswith(":rest}") else ("/", ""))
]
