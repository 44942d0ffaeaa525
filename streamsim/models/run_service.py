"""Runs of one model each, by variables and operations: what the endpoints of the run API do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from streamsim.errors import BadRequest, NotFound
from streamsim.models import answers, library, paths, run_introspection, run_queries, run_records
from streamsim.models.engines.base import RULES
from streamsim.models.journal import Entry
from streamsim.models.library import Models
from streamsim.models.live_runs import LiveRuns
from streamsim.models.turn import Turn
from streamsim.storage.contract.runs import Filter, Model, Run, RunQuery
from streamsim.values import Json, JsonObject

CHANGES: Final = ("set", "call")
"""Entries of a journal that clients made after the beginning."""
MAX_RUNS: Final = 1000
"""Most runs that one request reads."""


class Page(msgspec.Struct, frozen=True):
    """Which of the runs that meet a query, and in which order. `last` is part of the page."""

    first: int = 0
    last: int | None = None
    sort: str = "created_ms"
    descending: bool = False


class RunService:
    """Every method takes the tenant that asks, and raises NotFound for what is not the tenant's."""

    def __init__(self, runs: LiveRuns, models: Models) -> None:
        self._runs = runs
        self._journal = runs.journal
        self._models = models

    async def create(self, tenant: str, account: Json, project: Json, body: JsonObject) -> JsonObject:
        """A new run; its record. :raises BadRequest: :raises ModelError: the model does not start."""
        _own(tenant, account)
        named = run_records.model_name(body)
        model = await self._model(tenant, named)
        [run] = await self._journal.create(
            tenant,
            "run",
            {model.name: model.version},
            project=run_records.project_name(project),
            model=named,
            metadata=run_records.metadata_of(body),
        )
        try:
            await self._write(tenant, run.id, {"op": "open", "seed": run.seed, "rules": RULES})
        except BaseException:
            await self._runs.discard(run.id)
            raise
        return await self.record(tenant, account, project, run.id, [])

    async def record(
        self,
        tenant: str,
        account: str,
        project: str,
        run: str,
        include: list[str],
        *,
        restore: bool = False,
    ) -> JsonObject:
        """The record of a run, with variables: those of its process, or recorded ones if it is not in memory.

        :param restore: bring it into memory first.
        """
        stored = await self.look(tenant, account, project, run)
        if restore:
            stored = await self._runs.load(tenant, run, "run")
        included: JsonObject = {}
        if include and self.active(run):
            included = await self.variables(tenant, run, include)
        elif include:
            recorded = await self._journal.recorded(run, include)
            included = _decoded({name: recorded[name] for name in include if name in recorded})
        return self.shown(stored, included)

    async def find(
        self,
        tenant: str,
        account: str,
        project: str,
        filters: tuple[Filter, ...],
        names: list[str],
        page: Page,
    ) -> tuple[list[JsonObject], int]:
        """Records of the runs of a page with their recorded variables, and how many runs there are in all.

        :param names: of the variables. :raises BadRequest: one is no name of a whole variable.
        """
        _own(tenant, account)
        runs, total = await self._journal.find(self._query(tenant, project, filters, page), _whole(names))
        records = [self.shown(run, _decoded(recorded)) for run, recorded in runs]
        return records, total

    async def many(
        self,
        tenant: str,
        project: str | None,
        filters: tuple[Filter, ...],
        names: list[str],
    ) -> list[tuple[str, JsonObject]]:
        """Ids of the runs that meet filters, each with its recorded variables by name.

        :raises NotFound: an id that is asked for. :raises BadRequest: one of those did not record a variable.
        """
        if not filters:
            raise BadRequest("name runs, e.g. ;id=A;id=B, or filter them, e.g. ;saved=true")
        runs, total = await self._journal.find(self._query(tenant, project, filters, Page()), _whole(names))
        if total > MAX_RUNS:
            raise BadRequest(f"{total} runs: at most {MAX_RUNS} in one request")
        by_id = {run.id: recorded for run, recorded in runs}
        ids = [str(value) for given in filters if given[:2] == ("id", "=") for value in given.values]
        if ids and len(filters) == 1:
            for run in ids:
                if run not in by_id:
                    raise NotFound(f"there is no run {run[:64]}")
            for run in ids:
                for name in names:
                    if name not in by_id[run]:
                        raise BadRequest(f"run {run} has not recorded a variable {name}", field=name)
            by_id = {run: by_id[run] for run in ids}
        for name in names:
            if by_id and not any(name in recorded for recorded in by_id.values()):
                raise BadRequest(f"none of these runs has recorded a variable {name}", field=name)
        return [
            (run, _decoded({name: recorded[name] for name in names if name in recorded}))
            for run, recorded in by_id.items()
            if recorded
        ]

    async def variables(self, tenant: str, run: str, texts: Sequence[str]) -> JsonObject:
        """Values by path, from the run's process. :raises BadRequest: naming the path."""
        if len(texts) > MAX_RUNS:
            raise BadRequest(f"at most {MAX_RUNS} variables in one request")
        answer = await self._runs.read(tenant, run, {"op": "get", "paths": list(texts)}, "run")
        return answers.checked(answers.variables, answer)

    async def set(self, tenant: str, run: str, changes: JsonObject) -> JsonObject:
        """Set variables by path, all or none; their values afterwards.

        :raises BadRequest: naming the path. :raises ModelError: nothing was changed.
        """
        return (await self._write(tenant, run, {"op": "set", "changes": changes})).values

    async def call(self, tenant: str, run: str, name: str, arguments: list[Json]) -> Json:
        """Call an operation; its result. :raises BadRequest: :raises ModelError: nothing was changed."""
        return (await self._write(tenant, run, {"op": "call", "name": name, "arguments": arguments})).result

    async def patch(
        self, tenant: str, account: str, project: str, run: str, changes: JsonObject
    ) -> JsonObject:
        """Change fields of the record, and variables; what was changed. :raises BadRequest:"""
        await self.look(tenant, account, project, run)
        fields = dict(changes)
        variables = fields.pop("variables", None)
        run_records.changed(b"{}", fields)
        if variables is not None:
            if not isinstance(variables, dict):
                raise BadRequest("variables must be an object of path -> value", field="variables")
            answer = await self._write(tenant, run, {"op": "set", "changes": variables}, fields)
            return {**fields, "variables": answer.values}

        async def note(turn: Turn) -> None:
            metadata = run_records.changed(turn.run.metadata, fields)
            await turn.append({"op": "note"}, metadata=metadata)

        await self._runs.change(tenant, run, "run", note)
        return changes

    async def unload(self, tenant: str, account: str, project: str, run: str) -> None:
        """Let it leave memory; it stays in the store."""
        await self.look(tenant, account, project, run)
        await self._runs.unload(tenant, run, "run")

    async def replay(self, tenant: str, run: str, stop_before: str | None, exclude: list[str]) -> str:
        """Bring a run back from its journal; its id.

        :param stop_before: the operation from whose first call on everything is left out.
        :param exclude: operations whose calls are left out.
        :raises ModelError: what is left does not run; nothing was changed.
        """
        if stop_before is None and not exclude:
            await self._runs.unload(tenant, run, "run")
            await self._runs.load(tenant, run, "run")
        else:
            await self._shorten(tenant, run, stop_before, exclude)
        return run

    async def rewind(self, tenant: str, run: str, count: int) -> str:
        """Take back the last changes: settings of variables and calls, so many of them; the run's id.

        :raises BadRequest: there are fewer. :raises ModelError: what is left does not run; nothing changed.
        """

        def cut(entries: list[Entry]) -> list[Entry]:
            done = [at for at, entry in enumerate(entries) if entry["op"] in CHANGES]
            if count > len(done):
                raise BadRequest(f"count: there are {len(done)} changes to take back", field="count")
            return entries[: done[-count]]

        await self._rewrite(tenant, run, cut)
        return run

    async def history(self, tenant: str, run: str) -> list[JsonObject]:
        """What was done to a run since its beginning, oldest first, as far as it still counts.

        `{"type": "variables", "variables": {path: value}}`, or
        `{"type": "operation", "name": ..., "arguments": [...]}`.
        """
        stored = await self._journal.look(tenant, run, "run")
        return [_told(entry) for entry in await self._journal.entries(stored) if entry["op"] in CHANGES]

    async def clone(self, tenant: str, run: str, stop_before: str | None, exclude: list[str]) -> str:
        """A copy of a run, with the same cuts as `replay`; its id."""
        copied = (await self._runs.copy(tenant, run, "run")).id
        if stop_before is not None or exclude:
            try:
                await self._shorten(tenant, copied, stop_before, exclude)
            except BaseException:
                await self._runs.discard(copied)
                raise
        return copied

    async def introspect_run(self, tenant: str, run: str) -> JsonObject:
        """Operations and variables of a run's model, in the version that the run has."""
        [(name, version)] = (await self._journal.look(tenant, run, "run")).models.items()
        return run_introspection.shown(library.found_in(await self._models.version(tenant, name, version)))

    async def introspect(self, tenant: str, account: str, model: str) -> JsonObject:
        """Operations and variables of a model. :raises NotFound:"""
        _own(tenant, account)
        try:
            return run_introspection.shown(library.found_in(await self._model(tenant, model)))
        except BadRequest as unknown:
            raise NotFound(unknown.message) from None

    async def look(self, tenant: str, account: str, project: str, run: str) -> Run:
        """A run of a project. :raises NotFound:"""
        _own(tenant, account)
        stored = await self._journal.look(tenant, run, "run")
        if stored.project != project:
            raise NotFound(f"there is no such run in project {project[:64]}")
        return stored

    def own(self, tenant: str, account: str) -> None:
        """:raises NotFound: another user's account."""
        _own(tenant, account)

    def active(self, run: str) -> bool:
        """Whether this server process has it in memory."""
        return run in self._runs.all

    def shown(self, run: Run, variables: JsonObject) -> JsonObject:
        """The record of a run, with these values by path."""
        return run_records.shown(run, variables, active=self.active(run.id))

    # ---- inside

    async def _write(
        self, tenant: str, run: str, entry: Entry, fields: JsonObject | None = None
    ) -> answers.Changed:
        """:param fields: of the record, that change together with what the entry does."""

        async def write(turn: Turn) -> answers.Changed:
            answer, recorded = answers.changed_and_recorded(await turn.ask(entry))
            metadata = None if fields is None else run_records.changed(turn.run.metadata, fields)
            await turn.append(entry, variables=recorded, metadata=metadata)
            return answer

        return await self._runs.change(tenant, run, "run", write)

    async def _shorten(self, tenant: str, run: str, stop_before: str | None, exclude: list[str]) -> None:
        await self._rewrite(tenant, run, lambda entries: _cut(entries, stop_before, exclude))

    async def _rewrite(self, tenant: str, run: str, cut: Callable[[list[Entry]], list[Entry]]) -> None:
        """Let a run be as if only some entries of its journal had been made."""

        async def shorten(turn: Turn) -> None:
            kept = cut(await turn.entries())
            await turn.replay(kept)
            recorded = answers.recorded(await turn.ask({"op": "recorded"}))
            await turn.append(*kept, restart=True, variables=recorded)

        await self._runs.change(tenant, run, "run", shorten)

    def _query(self, tenant: str, project: str | None, filters: tuple[Filter, ...], page: Page) -> RunQuery:
        last = page.first + MAX_RUNS - 1 if page.last is None else page.last
        return RunQuery(
            tenant=tenant,
            kind="run",
            project=project,
            filters=run_queries.resolved(filters, tenant, self._runs.all),
            sort=page.sort,
            descending=page.descending,
            first=page.first,
            limit=min(last - page.first + 1, MAX_RUNS),
        )

    async def _model(self, tenant: str, named: str) -> Model:
        """The model of a name, or with a main file of that name. :raises BadRequest:"""
        try:
            return await self._models.get(tenant, named)
        except NotFound:
            models = [model for model in await self._models.list(tenant) if model.main == named]
        if len(models) != 1:
            many = f"{len(models)} models have a main file {named[:64]}: expecting the name of one"
            raise BadRequest(many if models else f"you have no model {named[:64]}", field="model")
        return models[0]


def _own(tenant: str, account: Json) -> None:
    if account != tenant:
        raise NotFound(f"you have no account {str(account)[:64]}")


def _whole(names: list[str]) -> list[str]:
    """:raises BadRequest: one is not the name of a whole variable."""
    try:
        return [paths.whole(name) for name in names]
    except paths.BadPath as bad:
        raise BadRequest(str(bad)) from None


def _decoded(recorded: dict[str, bytes]) -> JsonObject:
    return {name: msgspec.json.decode(text) for name, text in recorded.items()}


def _told(entry: Entry) -> JsonObject:
    """An entry of the journal as clients see it."""
    if entry["op"] == "set":
        return {"type": "variables", "variables": entry["changes"]}
    return {"type": "operation", "name": entry["name"], "arguments": entry["arguments"]}


def _cut(entries: list[Entry], stop_before: str | None, exclude: list[str]) -> list[Entry]:
    """Entries before the first call of an operation, without calls of others."""
    names = [entry.get("name") if entry["op"] == "call" else None for entry in entries]
    stop = names.index(stop_before) if stop_before is not None and stop_before in names else len(names)
    return [
        entry
        for entry, name in zip(entries[:stop], names, strict=False)
        if name is None or name not in exclude
    ]
