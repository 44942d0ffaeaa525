"""Variables of runs: of one by path, or recorded ones of several. Their routes are in `handlers.runs`."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import unquote

from handlers.base import BaseHandler
from handlers.run_api import RunApiHandler
from streamsim.errors import BadRequest
from streamsim.models import run_queries


class _Variables(RunApiHandler):
    kind: ClassVar[str] = "variable"
    properties: ClassVar[dict[str, str]] = {
        "name": "a variable; repeat it for several",
        "include": "variables, separated by commas",
        "id": "matrix parameter, ;id=A;id=B: recorded variables of several runs",
    }

    query: ClassVar[frozenset[str]] = frozenset(("name", "include"))

    async def read(self, project: str | None, selector: str, name: str | None) -> None:
        """Answer with one variable by name, or with those that the query names."""
        asked = [*self.get_query_arguments("name", strip=False), *self.included()]
        if name is not None and self.request.path.endswith("/"):
            # As for every path: a slash at the end says nothing. That of a name is sent as %2F.
            name = name.removesuffix("/")
        if name is not None and asked:
            raise BadRequest("name variables in the path or in the query, not in both", field="name")
        names = asked if name is None else [name]
        if not names:
            raise BadRequest("name a variable in the path, or several as ?name=A&name=B", field="name")
        if not selector.startswith(";"):
            self.about["run_id"] = run = unquote(selector)
            by_path = await self.service.variables(self.tenant, run, names)
            self.write_json(by_path[name] if name is not None else by_path)
            return
        filters = run_queries.filters(selector)
        self.from_store()
        several = await self.service.many(self.tenant, project, filters, names)
        self.write_json(
            [
                {"run": run, "variables": recorded[name] if name is not None else recorded}
                for run, recorded in several
            ]
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


class DescribeVariableHandler(_Variables):
    """`/v2/model/variable`, for OPTIONS"""

    described: ClassVar[type[BaseHandler] | None] = VariablesHandler
