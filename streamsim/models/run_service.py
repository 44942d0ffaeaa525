"""Runs of one model each, by variables and operations: what the endpoints of the run API do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from streamsim import values
from streamsim.dates import iso
from streamsim.errors import BadRequest, ModelError, NotFound
from streamsim.models import library, paths
from streamsim.models.engines.base import Found
from streamsim.models.engines.variables import described
from streamsim.models.journal import Entry, Outcome, RunJournal
from streamsim.models.library import Models
from streamsim.storage.contract.runs import Filter, Model, Run, RunQuery

CREATE_FIELDS: Final = ("model", "scope", "files", "ephemeral")
READ_ONLY: Final = frozenset(
    ("id", "account", "project", "model", "user", "created", "lastModified", "initialized", "active")
)
MAX_RUNS: Final = 1000
"""Most runs that one request reads."""
MAX_VALUES: Final = 200_000
MAX_METADATA_BYTES: Final = 64 << 10

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_decode = msgspec.json.decode


class _Answer(msgspec.Struct):
    """What the model's process answers."""

    result: Any = None
    values: dict[str, Any] = {}
    recorded: dict[str, Any] = {}


_answer = msgspec.msgpack.Decoder(_Answer)
_values = msgspec.msgpack.Decoder(dict[str, Any])


class Page(msgspec.Struct, frozen=True):
    """Which of the runs that meet a query, and in which order. `last` is part of the page."""

    first: int = 0
    last: int | None = None
    sort: str = "created_ms"
    descending: bool = False


class RunService:
    """Every method takes the tenant that asks, and raises NotFound for what is not the tenant's."""

    def __init__(self, runs: RunJournal, models: Models) -> None:
        self._runs = runs
        self._models = models

    async def create(self, tenant: str, account: Any, project: Any, body: dict[str, Any]) -> dict[str, Any]:
        """A new run; its record. :raises BadRequest: :raises ModelError: the model does not start."""
        _own(tenant, account)
        for name in body:
            if name not in CREATE_FIELDS:
                raise BadRequest(f"there is no field {name[:100]}", field=name[:100])
        named = body.get("model")
        if not isinstance(named, str):
            raise BadRequest("model must be the name of a model, or of its main file", field="model")
        model = await self._model(tenant, named)
        metadata = {
            "scope": body.get("scope", {}),
            "files": body.get("files", {}),
            "ephemeral": body.get("ephemeral", False),
            "saved": False,
            "trashed": False,
        }
        [run] = await self._runs.create(
            tenant,
            "run",
            {model.name: model.version},
            project=_project(project),
            model=named,
            metadata=_checked(metadata),
        )
        try:
            await self._write(tenant, run.id, {"op": "open", "seed": run.seed})
        except BaseException:
            self._runs.forget(run.id)
            await self._runs.store.delete_runs([run.id])
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
    ) -> dict[str, Any]:
        """The record of a run, with variables: those of its process, or recorded ones if it is not in memory.

        :param restore: bring it into memory first.
        """
        found = await self.look(tenant, account, project, run)
        if restore:
            found = await self._runs.load(tenant, run, "run")
        included: dict[str, Any] = {}
        if include and self.active(run):
            included = await self.variables(tenant, run, include)
        elif include:
            stored = (await self._runs.store.variables([run], include))[run]
            included = {name: _decode(stored[name]) for name in include if name in stored}
        return self.shown(found, included)

    async def find(
        self,
        tenant: str,
        account: str,
        project: str,
        filters: tuple[Filter, ...],
        names: list[str],
        page: Page,
    ) -> tuple[list[dict[str, Any]], int]:
        """Records of runs with recorded variables, and how many runs there are."""
        _own(tenant, account)
        query = _query(tenant, project, filters, page)
        found, total = await self._runs.store.find_variables(query, _whole(names))
        return [self.shown(run, {n: _decode(v) for n, v in one.items()}) for run, one in found], total

    async def many(
        self,
        tenant: str,
        project: str | None,
        filters: tuple[Filter, ...],
        names: list[str],
    ) -> list[tuple[str, dict[str, Any]]]:
        """Recorded variables of the runs that meet filters.

        :raises NotFound: an id that is asked for. :raises BadRequest: one of those did not record a variable.
        """
        if not filters:
            raise BadRequest("name runs, e.g. ;id=A;id=B, or filter them, e.g. ;saved=true")
        query = _query(tenant, project, filters, Page())
        found, total = await self._runs.store.find_variables(query, _whole(names))
        if total > MAX_RUNS:
            raise BadRequest(f"{total} runs: at most {MAX_RUNS} in one request")
        by_id = {run.id: variables for run, variables in found}
        asked = [value for one in filters if one[:2] == ("id", "=") for value in one.values]
        if asked and len(filters) == 1:
            for run in asked:
                if str(run) not in by_id:
                    raise NotFound(f"there is no run {str(run)[:64]}")
            for run in asked:
                for name in names:
                    if name not in by_id[str(run)]:
                        raise BadRequest(f"run {run} has not recorded a variable {name}", field=name)
            by_id = {str(run): by_id[str(run)] for run in asked}
        return [
            (run, {name: _decode(one[name]) for name in names if name in one})
            for run, one in by_id.items()
            if one
        ]

    async def variables(self, tenant: str, run: str, texts: Sequence[str]) -> dict[str, Any]:
        """Values by path, from the run's process. :raises BadRequest: naming the path."""
        if len(texts) > MAX_RUNS:
            raise BadRequest(f"at most {MAX_RUNS} variables in one request")
        raw = await self._runs.read(tenant, run, {"op": "get", "paths": list(texts)}, "run")
        found: dict[str, Any] = _decoded(_values, raw, lambda found: found)
        return found

    async def set(self, tenant: str, run: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Set variables, all or none; their values afterwards."""
        found: dict[str, Any] = (await self._write(tenant, run, {"op": "set", "changes": changes})).values
        return found

    async def call(self, tenant: str, run: str, name: str, arguments: list[Any]) -> Any:
        """Call an operation; its result. :raises BadRequest: :raises ModelError: nothing was changed."""
        return (await self._write(tenant, run, {"op": "call", "name": name, "arguments": arguments})).result

    async def patch(
        self, tenant: str, account: str, project: str, run: str, changes: dict[str, Any]
    ) -> dict[str, Any]:
        """Change fields of the record, and variables; what was changed."""
        await self.look(tenant, account, project, run)
        fields = dict(changes)
        variables = fields.pop("variables", None)

        def change(metadata: bytes) -> bytes:
            return _changed(metadata, fields)

        change(b"{}")
        if variables is None:
            await self._runs.note(tenant, run, "run", {"op": "note"}, change)
            return changes
        if not isinstance(variables, dict):
            raise BadRequest("variables must be an object of path -> value", field="variables")
        answer = await self._write(tenant, run, {"op": "set", "changes": variables}, change)
        return {**fields, "variables": answer.values}

    async def unload(self, tenant: str, account: str, project: str, run: str) -> None:
        """Let it leave memory; it stays in the store."""
        await self.look(tenant, account, project, run)
        await self._runs.unload(tenant, run, "run")

    async def replay(self, tenant: str, run: str, stop_before: str | None, exclude: list[str]) -> str:
        """Bring a run back from its journal, without some operations and all that follow another."""
        if stop_before is None and not exclude:
            await self._runs.unload(tenant, run, "run")
            await self._runs.load(tenant, run, "run")
        else:
            await self._runs.rewrite(tenant, run, "run", _cut(stop_before, exclude), _all_recorded)
        return run

    async def clone(self, tenant: str, run: str, stop_before: str | None, exclude: list[str]) -> str:
        """A copy of a run, with the same cuts; its id."""
        made = (await self._runs.copy(tenant, run, "run")).id
        if stop_before is not None or exclude:
            try:
                await self._runs.rewrite(tenant, made, "run", _cut(stop_before, exclude), _all_recorded)
            except BaseException:
                self._runs.forget(made)
                await self._runs.store.delete_runs([made])
                raise
        return made

    async def introspect_run(self, tenant: str, run: str) -> dict[str, Any]:
        """Operations and variables of a run's model, in the version that the run has."""
        found = await self._runs.look(tenant, run, "run")
        [(name, version)] = found.models.items()
        model = await self._runs.store.get_model(tenant, name, version)
        if model is None:
            raise NotFound(f"model {name} has no version {version}")
        return _introspected(library.found(model))

    async def introspect(self, tenant: str, account: str, model: str) -> dict[str, Any]:
        """Operations and variables of a model. :raises NotFound:"""
        _own(tenant, account)
        try:
            return _introspected(library.found(await self._model(tenant, model)))
        except BadRequest as unknown:
            raise NotFound(unknown.message) from None

    async def look(self, tenant: str, account: str, project: str, run: str) -> Run:
        """A run of a project. :raises NotFound:"""
        _own(tenant, account)
        found = await self._runs.look(tenant, run, "run")
        if found.project != project:
            raise NotFound(f"there is no such run in project {project[:64]}")
        return found

    def own(self, tenant: str, account: str) -> None:
        """:raises NotFound: another user's account."""
        _own(tenant, account)

    def active(self, run: str) -> bool:
        """Whether this server process has it in memory."""
        return run in self._runs.live

    def shown(self, run: Run, variables: dict[str, Any]) -> dict[str, Any]:
        """The record of a run."""
        return {
            "id": run.id,
            "account": run.tenant,
            "project": run.project,
            "model": run.model,
            "user": {"id": run.tenant, "userName": run.tenant},
            **_decode(run.metadata),
            "created": iso(run.created_ms),
            "lastModified": iso(run.modified_ms),
            "initialized": run.length > 0,
            "active": self.active(run.id),
            "variables": variables,
        }

    # ---- inside

    async def _write(
        self, tenant: str, run: str, entry: Entry, metadata: Callable[[bytes], bytes] | None = None
    ) -> _Answer:
        def decide(raw: msgspec.Raw) -> Outcome:
            def outcome(answer: _Answer) -> Outcome:
                return Outcome(answer, variables=_texts(answer.recorded), metadata=metadata)

            decided: Outcome = _decoded(_answer, raw, outcome)
            return decided

        answer: _Answer = await self._runs.write(tenant, run, entry, decide, kind="run")
        return answer

    async def _model(self, tenant: str, named: str) -> Model:
        """The model of a name, or with a main file of that name. :raises BadRequest:"""
        try:
            return await self._models.get(tenant, named)
        except NotFound:
            found = [one for one in await self._models.list(tenant) if one.main == named]
        if len(found) != 1:
            many = f"{len(found)} models have a main file {named[:64]}: expecting the name of one"
            raise BadRequest(many if found else f"you have no model {named[:64]}", field="model")
        return found[0]


def _own(tenant: str, account: Any) -> None:
    if account != tenant:
        raise NotFound(f"you have no account {str(account)[:64]}")


def _project(project: Any) -> str:
    if not isinstance(project, str) or not _PROJECT.fullmatch(project):
        raise BadRequest("project must have 1 to 64 letters, digits, '_', '.' or '-'", field="project")
    return project


def _query(tenant: str, project: str | None, filters: tuple[Filter, ...], page: Page) -> RunQuery:
    last = page.first + MAX_RUNS - 1 if page.last is None else page.last
    return RunQuery(
        tenant=tenant,
        kind="run",
        project=project,
        filters=filters,
        sort=page.sort,
        descending=page.descending,
        first=page.first,
        limit=min(last - page.first + 1, MAX_RUNS),
    )


def _whole(names: list[str]) -> list[str]:
    """:raises BadRequest: one is not the name of a whole variable."""
    try:
        return [paths.whole(name) for name in names]
    except paths.BadPath as bad:
        raise BadRequest(str(bad)) from None


def _decoded(decoder: Any, raw: msgspec.Raw | None, use: Callable[[Any], Any]) -> Any:
    """Of an answer that the model's process, which is not to be trusted, gave."""
    try:
        found = decoder.decode(raw)
        values.check(msgspec.to_builtins(found), "answer", max_values=MAX_VALUES)
        return use(found)
    except (msgspec.DecodeError, values.InvalidValue, RecursionError, paths.BadPath) as error:
        raise ModelError(f"the model answered what cannot be passed on: {error}") from None


def _texts(recorded: dict[str, Any]) -> dict[str, bytes]:
    return {paths.whole(name): values.dump(value) for name, value in recorded.items()}


def _all_recorded(raw: msgspec.Raw) -> dict[str, bytes]:
    found: dict[str, bytes] = _decoded(_values, raw, _texts)
    return found


def _cut(stop_before: str | None, exclude: list[str]) -> Callable[[list[Entry]], list[Entry]]:
    def keep(entries: list[Entry]) -> list[Entry]:
        names = [entry.get("name") if entry["op"] == "call" else None for entry in entries]
        end = names.index(stop_before) if stop_before is not None and stop_before in names else len(names)
        return [
            entry
            for entry, name in zip(entries[:end], names, strict=False)
            if name is None or name not in exclude
        ]

    return keep


def _checked(metadata: dict[str, Any]) -> bytes:
    for name in ("scope", "files"):
        if not isinstance(metadata.get(name, {}), dict):
            raise BadRequest(f"{name} must be an object", field=name)
    for name in ("ephemeral", "saved", "trashed"):
        if type(metadata.get(name, False)) is not bool:
            raise BadRequest(f"{name} must be true or false", field=name)
    text = values.dump(metadata)
    if len(text) > MAX_METADATA_BYTES:
        raise BadRequest(f"a run's own fields have at most {MAX_METADATA_BYTES} bytes")
    return text


def _changed(metadata: bytes, fields: dict[str, Any]) -> bytes:
    """Metadata with some fields set; dots in a name lead into objects."""
    found = _decode(metadata)
    for name, value in fields.items():
        parts = name.split(".")
        if parts[0] in READ_ONLY:
            raise BadRequest(f"{name[:100]} cannot be changed", field=name[:100])
        if not all(map(_KEY.fullmatch, parts)) or len(parts) > 8:
            raise BadRequest(f"{name[:100]} is no name of a field", field=name[:100])
        holder = found
        for part in parts[:-1]:
            inner = holder.get(part)
            if not isinstance(inner, dict):
                inner = holder[part] = {}
            holder = inner
        holder[parts[-1]] = value
    return _checked(found)


def _introspected(found: Found) -> dict[str, Any]:
    operations, variables = found.operations, found.variables
    for scenarios in found.managers.values():
        for scenario in scenarios.values():
            operations, variables = described(scenario)
            break
        break
    return {"functions": operations, "variables": variables}
