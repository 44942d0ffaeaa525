"""Runs of one model each: variables and operations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Unpack
from urllib.parse import quote

from streamsim_client.errors import Unreadable
from streamsim_client.groups import Group, S, call, each, given, path
from streamsim_client.model_answers import Description, Introspection, Recorded, Run, RunFields
from streamsim_client.reading import content
from streamsim_client.sending import Request
from streamsim_client.values import Json, Object

Operator = Literal["=", "!=", "<", ">", "<=", ">="]
Filter = tuple[str, Operator, str | int | float | bool]
"""E.g. `("variables.price", ">", 1)` or `("saved", "=", True)`. The same name and operator again is an
alternative; everything else must hold together. Names: see docs/runs.md."""

PAGE = 200
_RAW = ("id", "model", "created", "lastModified")


@dataclass(frozen=True)
class Page:
    """Some of the runs that meet filters. `first`: place of the first record; `total`: how many there are."""

    records: list[Run]
    first: int
    total: int


class _Runs(Group[S]):
    """What can be done with runs, wherever their endpoints are.

    Everything raises NotFound for a run that is not the user's. Nothing that may change a run is sent again.
    """

    def _variables(self, runs: str) -> str:
        raise NotImplementedError

    def _operation(self, run: str, name: str) -> str:
        raise NotImplementedError

    @call
    async def operate(self, run: str, name: str, *arguments: object) -> Json:
        """Call an operation of the model; its result. What it recorded is stored by then.

        :raises BadRequest: there is none; or it failed, and changed nothing: `detail["fault"]` says where.
        :raises Conflict: too many change this run at once. :raises CodeTimeout:
        """
        body = {"name": name, "arguments": list(arguments)}
        answer = await self._ask(Object, "POST", self._operation(run, name), body=body)
        return answer.get("result")

    @call
    async def variable(self, run: str, name: str) -> Json:
        """The value of a variable, e.g. of `stock.apples` or `matrix[1, 2]`. :raises BadRequest:"""
        where = f"{self._variables(_part(run))}/{quote(name, safe='')}"
        value: Json = content(await self._sender.ask(Request("GET", where, repeat="safe")), object)
        return value

    @call
    async def variables(self, run: str, *names: str) -> Object:
        """Values of several variables by path. :raises BadRequest: naming the path."""
        where = self._variables(_part(run))
        return await self._ask(Object, "GET", where, query={"name": names})

    @call
    async def set(self, run: str, changes: Mapping[str, object]) -> Object:
        """Set variables by path, all or none; their values afterwards.

        :raises BadRequest: naming the path. :raises Conflict: too many change this run at once.
        """
        where = self._variables(_part(run))
        return await self._ask(Object, "PATCH", where, body=dict(changes))

    @call
    async def recorded(self, names: Iterable[str], *filters: Filter) -> list[Recorded]:
        """Recorded variables of the runs that meet filters. No model runs for this.

        :raises BadRequest: no filter, over 1,000 runs, or a variable that a run given by id did not record.
        """
        where = self._variables(_matrix(filters))
        return await self._ask(list[Recorded], "GET", where, query={"name": list(names)})


class Runs(_Runs[S]):
    """`client.runs`: runs by their id alone.

    >>> code = "stock = 10\\ndef buy(n):\\n    global stock\\n    stock += n\\n    return stock\\n"
    >>> _ = client.models.push("store", {"store.py": code}, engine="python")
    >>> run = client.runs.create("admin", "fair", "store")["id"]
    >>> client.runs.operate(run, "buy", 5), client.runs.variable(run, "stock")
    (15, 15)
    """

    def _variables(self, runs: str) -> str:
        return f"/v2/model/variable/{runs}"

    def _operation(self, run: str, name: str) -> str:
        return path("v2", "model", "operation", run)

    @call
    async def create(self, account: str, project: str, model: str, **fields: Unpack[RunFields]) -> Run:
        """A run of a model. :param account: the user's name. :param project: a name for a group of runs.

        :raises BadRequest: there is no such model, or it does not start.
        """
        body = {"account": account, "project": project, "model": model, **fields}
        return await self._ask(Run, "POST", "/v2/model/run", body=body)

    @call
    async def introspect(self, run: str) -> Introspection:
        """Operations and variables of a run's model."""
        return await self._ask(Introspection, "GET", path("v2", "model", "introspect", run))

    @call
    async def replay(self, run: str, *, stop_before: str | None = None, exclude: Iterable[str] = ()) -> str:
        """Bring a run back from its journal; its id.

        :param stop_before: an operation: what was done from its first call on is undone.
        :param exclude: operations that are undone.
        """
        return await self._state("replay", run, stop_before, exclude)

    @call
    async def clone(self, run: str, *, stop_before: str | None = None, exclude: Iterable[str] = ()) -> str:
        """Copy a run, with the same cuts as `replay`; the id of the copy."""
        return await self._state("clone", run, stop_before, exclude)

    @call
    async def rewind(self, run: str, count: int = 1) -> str:
        """Take back the last changes of a run, so many of them; its id. :raises BadRequest: it has fewer."""
        body = {"action": "rewind", "count": count}
        return (await self._ask(dict[str, str], "POST", path("v2", "model", "state", run), body=body))["run"]

    @call
    async def history(self, run: str) -> list[Object]:
        """The changes of a run that count, oldest first: variables that were set, operations called."""
        return await self._ask(list[Object], "GET", path("v2", "model", "history", run))

    @call
    async def describe(self, endpoint: Literal["run", "operation", "variable"]) -> Description:
        """What an endpoint under `/v2/model` takes; needs no login."""
        where = path("v2", "model", endpoint)
        return await self._ask(Description, "OPTIONS", where, repeat="safe")

    async def _state(self, action: str, run: str, stop_before: str | None, exclude: Iterable[str]) -> str:
        body = {"action": action, "exclude": list(exclude), **given(stopBefore=stop_before)}
        where = path("v2", "model", "state", run)
        return (await self._ask(dict[str, str], "POST", where, body=body))["run"]


class Project(_Runs[S]):
    """`client.project(account, project)`: its runs. Calls raise NotFound for a run of another project.

    >>> client.project("admin", "nobody").page().total
    0
    """

    def __init__(self, sender: S, account: str, project: str) -> None:
        super().__init__(sender)
        self.account = account
        self.project = project
        self._place = path("v2", "run", account, project)

    def _variables(self, runs: str) -> str:
        return f"{self._place}/{runs}/variables"

    def _operation(self, run: str, name: str) -> str:
        return self._place + path(run, "operations", name)

    @call
    async def create(self, model: str, **fields: Unpack[RunFields]) -> Run:
        """A run of a model. :raises BadRequest: there is no such model, or it does not start."""
        return await self._ask(Run, "POST", self._place, body={"model": model, **fields})

    @call
    async def get(self, run: str, *, include: Iterable[str] = (), restore: bool = False) -> Run:
        """The record of a run. :param include: variables: recorded ones, if the run is not in memory.

        :param restore: bring it into memory first.
        """
        headers = {"X-AutoRestore": "true"} if restore else {}
        query = {"include": ",".join(include) or None}
        request = Request("GET", self._place + path(run), query, headers=headers, repeat="safe")
        return content(await self._sender.ask(request), Run)

    @call
    async def page(
        self,
        *filters: Filter,
        include: Iterable[str] = (),
        sort: str = "created",
        descending: bool = False,
        first: int = 0,
        limit: int = PAGE,
    ) -> Page:
        """Records of the runs that meet filters, with recorded variables.

        :param sort: created, lastModified, id, model, variables.NAME or a field of your own.
        :param first: place of the first record. :param limit: so many, at most 1,000.
        """
        return await self._page(filters, include, sort, descending, first, limit)

    @each
    async def all(
        self,
        *filters: Filter,
        include: Iterable[str] = (),
        sort: str = "created",
        descending: bool = False,
        limit: int = PAGE,
    ) -> AsyncGenerator[Run, None]:
        """All records, as `page`, fetched page by page. :param limit: how many one request fetches."""
        names, first, total = list(include), 0, 1
        while first < total:
            page = await self._page(filters, names, sort, descending, first, limit)
            for record in page.records:
                yield record
            first, total = first + limit, page.total

    @call
    async def patch(self, run: str, changes: Mapping[str, object]) -> Object:
        """Change a record, and variables with it, all or none: `saved`, `trashed`, `scope`, `variables`, or a
        field of your own; dots lead into objects. What was changed. :raises BadRequest:
        """
        return await self._ask(Object, "PATCH", self._place + path(run), body=dict(changes))

    @call
    async def unload(self, run: str) -> None:
        """Let a run leave the server's memory; it stays stored."""
        await self._sender.ask(Request("DELETE", self._place + path(run), repeat="safe"))

    @call
    async def introspect(self, model: str) -> Introspection:
        """Operations and variables of a model. :raises NotFound:"""
        where = path("v2", "model", "introspect", self.account, self.project, model)
        return await self._ask(Introspection, "GET", where)

    @call
    async def describe(self) -> Description:
        """What the endpoint of the project's runs takes; needs no login."""
        return await self._ask(Description, "OPTIONS", self._place, repeat="safe")

    async def _page(
        self,
        filters: tuple[Filter, ...],
        include: Iterable[str],
        sort: str,
        descending: bool,
        first: int,
        limit: int,
    ) -> Page:
        query = {
            "include": ",".join(include) or None,
            "sort": sort,
            "direction": "desc" if descending else "asc",
            "startrecord": first,
            "endrecord": first + limit - 1,
        }
        where = f"{self._place}/{_matrix(filters)}" if filters else self._place
        response = await self._sender.ask(Request("GET", where, query, repeat="safe"))
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdecimal():
            raise Unreadable(f"{where} answered no Content-Range")
        return Page(content(response, list[Run]), first, int(total))


def _part(run: str) -> str:
    return path(run)[1:]


def _matrix(filters: Iterable[Filter]) -> str:
    """Matrix parameters of a path. Text is put in quotes, so that "3" is no number, where both may be."""
    texts = []
    for name, operator, value in filters:
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, str):
            text = value if name in _RAW else f'"{value}"'
        else:
            text = repr(value)
        texts.append(quote(f"{name}{operator}{text}", safe=""))
    return "".join(f";{text}" for text in texts) or ";"
