"""Models and runs in the SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from streamsim.storage.contract.runs import FIELDS, Append, Filter, Model, NameTaken, Run, RunQuery, scalar
from streamsim.storage.sqlite.appends import RUN, Appends, to_run
from streamsim.storage.sqlite.database import Database
from streamsim.storage.sqlite.rows import each_in, insert

_MODEL = (
    "m.tenant, m.name, v.version, v.engine, v.main, v.options, v.found, v.managers, v.created_ms,"
    " v.modified_ms"
)
_VERSIONS = "FROM models m JOIN model_versions v ON v.model = m.num"
_LIVE = "(expires_ms = 0 OR expires_ms > ?)"


class SQLiteRuns:
    """A complete `RunStore` on the database of a `SQLiteStore`."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._appends = Appends(db)

    async def put_model(self, model: Model, *, new: bool) -> Model:
        def work(db: sqlite3.Connection) -> Model:
            sql = "SELECT num, version, deleted FROM models WHERE tenant = ? AND name = ?"
            found = db.execute(sql, (model.tenant, model.name)).fetchall()
            live = bool(found) and not found[0][2]
            if new and live:
                raise NameTaken(model.name)
            if not new and not live:
                raise KeyError(model.name)
            number = found[0][0] if found else -1
            taken = each_in(
                db,
                "SELECT k.manager, m.name FROM model_managers k JOIN models m ON m.num = k.model"
                " WHERE k.tenant = ? AND k.model <> ? AND k.manager IN",
                (model.tenant, number),
                model.managers,
            )
            for manager, owner in taken:
                raise NameTaken(manager, owner)
            version = found[0][1] + 1 if found else 1
            if found:
                db.execute("UPDATE models SET version = ?, deleted = 0 WHERE num = ?", (version, number))
            else:
                sql = "INSERT INTO models (tenant, name, version) VALUES (?, ?, ?)"
                number = db.execute(sql, (model.tenant, model.name, version)).lastrowid
            db.execute("DELETE FROM model_managers WHERE model = ?", (number,))
            rows = [(model.tenant, manager, number) for manager in model.managers]
            insert(db, "model_managers (tenant, manager, model)", rows, "")
            db.execute(
                "INSERT INTO model_versions (model, version, engine, main, managers, created_ms, modified_ms,"
                " found, options, files) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    version,
                    model.engine,
                    model.main,
                    msgspec.json.encode(model.managers),
                    model.created_ms,
                    model.modified_ms,
                    model.found,
                    model.options,
                    msgspec.json.encode(model.files),
                ),
            )
            return msgspec.structs.replace(model, version=version)

        return await self._db.write(work)

    async def get_model(self, tenant: str, name: str, version: int = 0) -> Model | None:
        which = "v.version = ?" if version else "v.version = m.version AND m.deleted = ?"
        sql = f"SELECT {_MODEL}, v.files {_VERSIONS} WHERE m.tenant = ? AND m.name = ? AND {which}"
        rows = await self._db.read(lambda db: db.execute(sql, (tenant, name, version)).fetchall())
        return _to_model(rows[0]) if rows else None

    async def list_models(self, tenant: str) -> list[Model]:
        sql = (
            f"SELECT {_MODEL} {_VERSIONS} AND v.version = m.version WHERE m.tenant = ? AND m.deleted = 0"
            " ORDER BY m.num"
        )
        rows = await self._db.read(lambda db: db.execute(sql, (tenant,)).fetchall())
        return [_to_model(row) for row in rows]

    async def delete_model(self, tenant: str, name: str) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            sql = "UPDATE models SET deleted = 1 WHERE tenant = ? AND name = ? AND deleted = 0 RETURNING num"
            found = db.execute(sql, (tenant, name)).fetchall()
            if found:
                db.execute("DELETE FROM model_managers WHERE model = ?", found[0])
            return bool(found)

        return await self._db.write(work)

    async def create_runs(self, runs: list[Run]) -> None:
        rows = [_run_row(run) for run in runs]
        await self._db.write(lambda db: insert(db, f"runs ({RUN})", rows, ""))

    async def get_run(self, run: str, now_ms: int) -> Run | None:
        return await self._db.look_up(lambda db: _run(db, run, now_ms))

    async def entries(self, run: str, first: int, limit: int = -1) -> list[bytes]:
        sql = (
            "SELECT entry FROM run_entries WHERE run = (SELECT num FROM runs WHERE id = ?) AND position >= ?"
            " ORDER BY position LIMIT ?"
        )
        rows = await self._db.read(lambda db: db.execute(sql, (run, first, limit)).fetchall())
        return [row[0] for row in rows]

    async def append(self, change: Append) -> Run | None:
        if len(change.entries) == 1 and not change.restart and not change.variables:
            return await self._appends.add(change)
        base = "length" if change.restart else "base"
        sql = (
            f"UPDATE runs SET base = {base}, length = length + ?, modified_ms = ?,"
            " expires_ms = CASE WHEN idle_ms > 0 THEN ? + idle_ms ELSE 0 END,"
            " metadata = coalesce(?, metadata)"
            f" WHERE id = ? AND length = ? AND {_LIVE} RETURNING num, {RUN}"
        )
        metadata = None if change.metadata is None else change.metadata.decode()
        now_ms = change.now_ms
        parameters = (len(change.entries), now_ms, now_ms, metadata, change.run, change.expected, now_ms)
        variables = [(name, *_compared(text), text) for name, text in change.variables.items()]

        def work(db: sqlite3.Connection) -> Run | None:
            found = db.execute(sql, parameters).fetchall()
            if not found:
                return None
            number, *row = found[0]
            if change.restart:
                db.execute("DELETE FROM run_entries WHERE run = ?", (number,))
                db.execute("DELETE FROM run_variables WHERE run = ?", (number,))
            rows = [(number, at, entry) for at, entry in enumerate(change.entries, change.expected)]
            insert(db, "run_entries (run, position, entry)", rows, "")
            insert(
                db,
                "run_variables (run, name, number, text, value)",
                [(number, *variable) for variable in variables],
                "ON CONFLICT (run, name) DO UPDATE SET number = excluded.number, text = excluded.text,"
                " value = excluded.value",
            )
            return to_run(row)

        return await self._db.write(work)

    async def touch(self, run: str, now_ms: int) -> Run | None:
        sql = (
            "UPDATE runs SET expires_ms = CASE WHEN idle_ms > 0 THEN ? + idle_ms ELSE 0 END"
            f" WHERE id = ? AND {_LIVE} RETURNING {RUN}"
        )
        rows = await self._db.write(lambda db: db.execute(sql, (now_ms, run, now_ms)).fetchall())
        return to_run(rows[0]) if rows else None

    async def delete_runs(self, runs: Sequence[str]) -> int:
        def work(db: sqlite3.Connection) -> int:
            return sum(db.execute("DELETE FROM runs WHERE id = ?", (run,)).rowcount for run in runs)

        return await self._db.write(work)

    async def expired_runs(self, now_ms: int, limit: int) -> list[str]:
        where = "FROM runs INDEXED BY runs_by_date WHERE expires_ms > 0 AND expires_ms <= ?"
        if not await self._db.finds(f"SELECT 1 {where} LIMIT 1", (now_ms,)):
            return []
        sql = f"SELECT id {where} ORDER BY expires_ms LIMIT ?"
        return [row[0] for row in await self._db.read(lambda db: db.execute(sql, (now_ms, limit)).fetchall())]

    async def count_runs(self, tenant: str | None, kind: str, now_ms: int) -> int:
        sql = f"SELECT count(*) FROM runs WHERE kind = ? AND {_LIVE}"
        parameters: tuple[Any, ...] = (kind, now_ms)
        if tenant is not None:
            sql, parameters = f"{sql} AND tenant = ?", (*parameters, tenant)
        count: int = (await self._db.read(lambda db: db.execute(sql, parameters).fetchone()))[0]
        return count

    async def find_variables(
        self, query: RunQuery, names: Sequence[str] | None = None
    ) -> tuple[list[tuple[Run, dict[str, bytes]]], int]:
        sql, parameters = _find(query, names)
        found = await self._db.read(lambda db: db.execute(sql, parameters).fetchall())
        if not found and query.first:
            return [], (await self.list_runs(query))[1]
        result: dict[int, tuple[Run, dict[str, bytes]]] = {}
        for at, _, name, value, *row in found:
            if at not in result:
                result[at] = (to_run(row), {})
            if name is not None:
                result[at][1][name] = value
        return list(result.values()), found[0][1] if found else 0

    async def list_runs(self, query: RunQuery) -> tuple[list[Run], int]:
        where, parameters = _where(query)
        column, joined = _sorting(query.sort)
        order = "DESC" if query.descending else "ASC"
        count_sql = f"SELECT count(*) FROM runs WHERE {where}"
        sql = (
            f"SELECT {RUN} FROM runs {joined} WHERE {where} ORDER BY {column} {order}, id {order}"
            " LIMIT ? OFFSET ?"
        )
        name = (query.sort.partition(".")[2],) if joined else ()

        def work(db: sqlite3.Connection) -> tuple[list[Any], int]:
            total = db.execute(count_sql, parameters).fetchone()[0]
            rows = db.execute(sql, (*name, *parameters, query.limit, query.first)).fetchall()
            return rows, total

        rows, total = await self._db.read(work)
        return [to_run(row) for row in rows], total

    async def variables(
        self, runs: Sequence[str], names: Sequence[str] | None = None
    ) -> dict[str, dict[str, bytes]]:
        only = "" if names is None else f" AND v.name IN ({', '.join('?' * len(names))})"
        sql = (
            "SELECT r.id, v.name, v.value FROM runs r JOIN run_variables v ON v.run = r.num"
            f"{only} WHERE r.id IN"
        )
        result: dict[str, dict[str, bytes]] = {run: {} for run in runs}
        found = await self._db.read(lambda db: list(each_in(db, sql, tuple(names or ()), runs)))
        for run, name, value in found:
            result[run][name] = value
        return result

    async def copy_run(self, run: Run, source: str, entries: Sequence[bytes]) -> None:
        def work(db: sqlite3.Connection) -> None:
            marks = ", ".join("?" * (RUN.count(",") + 1))
            number = db.execute(f"INSERT INTO runs ({RUN}) VALUES ({marks})", _run_row(run)).lastrowid
            rows = [(number, position, entry) for position, entry in enumerate(entries, run.base)]
            insert(db, "run_entries (run, position, entry)", rows, "")
            db.execute(
                "INSERT INTO run_variables (run, name, number, text, value)"
                " SELECT ?, name, number, text, value FROM run_variables"
                " WHERE run = (SELECT num FROM runs WHERE id = ?)",
                (number, source),
            )

        await self._db.write(work)


def _compared(text: bytes) -> tuple[float | None, str | None]:
    value = scalar(text)
    return (None, value) if isinstance(value, str) else (None if value is None else float(value), None)


def _find(query: RunQuery, names: Sequence[str] | None) -> tuple[str, tuple[Any, ...]]:
    """Runs of a page, each with each of its variables, and with how many runs there are."""
    where, parameters = _where(query)
    column, joined = _sorting(query.sort)
    order = f"{column} {'DESC' if query.descending else 'ASC'}, id {'DESC' if query.descending else 'ASC'}"
    only = "" if names is None else f" AND v.name IN ({', '.join('?' * len(names))})"
    sql = (
        f"WITH page AS (SELECT runs.num AS num, {RUN}, row_number() OVER (ORDER BY {order}) AS at,"
        f" count(*) OVER () AS total FROM runs {joined} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?)"
        f" SELECT at, total, v.name, v.value, {RUN} FROM page"
        f" LEFT JOIN run_variables v ON v.run = page.num{only} ORDER BY at, v.num"
    )
    sorted_by = (query.sort.partition(".")[2],) if joined else ()
    return sql, (*sorted_by, *parameters, query.limit, query.first, *(names or ()))


def _where(query: RunQuery) -> tuple[str, tuple[Any, ...]]:
    parts, parameters = ["tenant = ?", "kind = ?"], [query.tenant, query.kind]
    for name, value in (("project", query.project), ("model", query.model)):
        if value is not None:
            parts.append(f"{name} = ?")
            parameters.append(value)
    for one in query.filters:
        part, values = _condition(one)
        parts.append(part)
        parameters += values
    return " AND ".join(parts), tuple(parameters)


def _condition(one: Filter) -> tuple[str, list[Any]]:
    kind, _, name = one.field.partition(".")
    parts, parameters = [], []
    for value in one.values:
        if one.field in FIELDS:
            parts.append(f"{one.field} {one.operator} ?")
            parameters.append(value)
        elif kind == "metadata":
            # IS: `!=` holds for what is absent, too.
            operator = {"=": "IS", "!=": "IS NOT"}.get(one.operator, one.operator)
            parts.append(f"json_extract(metadata, ?) {operator} ?")
            parameters += [_json_path(name), value]
        else:
            column = "text" if isinstance(value, str) else "number"
            parts.append(
                "runs.num IN (SELECT run FROM run_variables"
                f" WHERE name = ? AND {column} IS NOT NULL AND {column} {one.operator} ?)"
            )
            parameters += [name, value]
    return f"({' OR '.join(parts)})", parameters


def _sorting(sort: str) -> tuple[str, str]:
    """The expression to sort by, and what to join for it."""
    kind, _, name = sort.partition(".")
    if sort in FIELDS:
        return sort, ""
    if kind == "metadata":
        return f"json_extract(metadata, '{_json_path(name)}')", ""
    return "coalesce(s.number, s.text)", "LEFT JOIN run_variables s ON s.run = runs.num AND s.name = ?"


def _json_path(name: str) -> str:
    if '"' in name or "'" in name:
        raise ValueError(f"metadata has no field {name}")
    return "$" + "".join(f'."{part}"' for part in name.split("."))


def _run(db: sqlite3.Connection, run: str, now_ms: int) -> Run | None:
    rows = db.execute(f"SELECT {RUN} FROM runs WHERE id = ? AND {_LIVE}", (run, now_ms)).fetchall()
    return to_run(rows[0]) if rows else None


def _run_row(run: Run) -> tuple[Any, ...]:
    fields = msgspec.structs.asdict(run)
    fields["models"] = msgspec.json.encode(run.models)
    fields["metadata"] = run.metadata.decode()
    return tuple(fields[name.strip()] for name in RUN.split(","))


def _to_model(row: Sequence[Any]) -> Model:
    tenant, name, version, engine, main, options, found, managers, created_ms, modified_ms, *files = row
    return Model(
        tenant=tenant,
        name=name,
        version=version,
        engine=engine,
        main=main,
        files=msgspec.json.decode(files[0]) if files else {},
        options=options,
        found=found,
        managers=tuple(msgspec.json.decode(managers)),
        created_ms=created_ms,
        modified_ms=modified_ms,
    )
