"""Everything in a SQLite file as records, and back: see `migrate_contract`."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Final, get_args

import msgspec

from streamsim.storage.contract.accounts import LoginSession, User
from streamsim.storage.contract.decisions import (
    Advice,
    Experiment,
    IdempotencyRecord,
    Summary,
    ThetaAddress,
    Transaction,
)
from streamsim.storage.contract.deliveries import Delivery
from streamsim.storage.contract.logs import LogKind, LogRow
from streamsim.storage.contract.migration import (
    ExperimentRecord,
    JobRecord,
    ModelRecord,
    Owned,
    Record,
    RunRecord,
    SecretRecord,
    Shared,
    ThetaRecord,
)
from streamsim.storage.contract.revisions import Revision
from streamsim.storage.contract.runs import Model, Run, scalar
from streamsim.storage.sqlite import theta as sqlite_theta
from streamsim.storage.sqlite.database import Database
from streamsim.storage.sqlite.deliveries import COLUMNS, to_delivery
from streamsim.storage.sqlite.jobs import job_columns, to_job
from streamsim.storage.sqlite.revisions import SHOWN, add_revisions, to_revision

_PAGE: Final = 500
_USER: Final = "name, password_hash, admin, session_epoch, created_ms"
_SESSION: Final = "id, user, kind, label, epoch, created_ms, expires_ms"
_EXPERIMENT: Final = "id, key, tenant, name, code, properties, revision, created_ms, modified_ms, archived"
_SUMMARY: Final = "action_calls, last_action_ms, reward_calls, last_reward_ms"
_MODEL: Final = "version, engine, main, managers, created_ms, modified_ms, found, options, files"
_RUN: Final = (
    "id, tenant, kind, project, model, models, seed, length, base, created_ms, modified_ms, expires_ms,"
    " idle_ms, metadata"
)
_JOB: Final = (
    "id, kind, tenant, experiment, state, done, total, attempts, owner, lease_ms, created_ms, modified_ms,"
    " spec, result, error"
)


class SQLiteMigration:
    """A `Migratable` on the database of a `SQLiteStore`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def experiments(self) -> list[str]:
        return [row[0] for row in await self._rows("SELECT id FROM experiments ORDER BY id")]

    async def note(self, text: str | None = None) -> str:
        def work(db: sqlite3.Connection) -> str:
            db.execute("CREATE TABLE IF NOT EXISTS migration (note TEXT NOT NULL)")
            if text is not None:
                db.execute("DELETE FROM migration")
                db.execute("INSERT INTO migration VALUES (?)", (text,))
            found = db.execute("SELECT note FROM migration").fetchall()
            if not found or not found[0][0]:
                db.execute("DROP TABLE migration")
                return ""
            return str(found[0][0])

        return await self._db.write(work)

    # Reading.

    async def export(self) -> AsyncGenerator[Shared, None]:
        for row in await self._rows("SELECT name, secret FROM secrets"):
            yield SecretRecord(*row)
        for row in await self._rows(f"SELECT {_USER} FROM users"):
            yield _to_user(row)
        for row in await self._rows(f"SELECT {_SESSION} FROM sessions"):
            yield LoginSession(**_named(_SESSION, row))
        for number, tenant, name, deleted in await self._rows(
            "SELECT num, tenant, name, deleted FROM models ORDER BY num"
        ):
            sql = f"SELECT {_MODEL} FROM model_versions WHERE model = ? ORDER BY version"
            versions = [_to_model(tenant, name, row) for row in await self._rows(sql, number)]
            yield ModelRecord(tuple(versions), bool(deleted))
        async for number, *run in self._pages("runs", _RUN):
            entries = await self._rows(
                "SELECT entry FROM run_entries WHERE run = ? ORDER BY position", number
            )
            variables = await self._rows("SELECT name, value FROM run_variables WHERE run = ?", number)
            yield RunRecord(_to_run(run), tuple(entry for (entry,) in entries), dict(variables))
        async for _, *fields in self._pages("jobs", _JOB):
            job = to_job(_named(_JOB, fields))
            parts = await self._rows(
                "SELECT number, data FROM job_parts WHERE job = ? ORDER BY number", job.id
            )
            yield JobRecord(job, tuple((number, data) for number, data in parts))

    async def export_experiment(self, experiment_id: str) -> AsyncGenerator[Owned, None]:
        ((number, *row),) = await self._rows(
            f"SELECT num, {_EXPERIMENT} FROM experiments WHERE id = ?", experiment_id
        )
        summaries = await self._rows(f"SELECT {_SUMMARY} FROM summaries WHERE experiment = ?", number)
        yield ExperimentRecord(_to_experiment(row), Summary(*summaries[0]) if summaries else Summary())
        async for _, *row in self._pages("theta", "name, key, value, data", number):
            yield ThetaRecord(experiment_id, *row)
        async for _, *row in self._pages("revisions", f"{SHOWN}, code", number):
            yield to_revision(experiment_id, row)
        columns = "id, expires_ms, context, action, redeemed_by, gathered"
        async for _, *row in self._pages("advices", columns, number):
            yield Advice(experiment_id, *row)
        async for _, *row in self._pages("idempotency", "key, fingerprint, answer, expires_ms", number):
            yield IdempotencyRecord(experiment_id, *row)
        async for _, *row in self._pages("deliveries", COLUMNS, number):
            yield to_delivery(experiment_id, row)
        for kind in get_args(LogKind):
            count = 0
            async for _, *row in self._pages("logs", "id, date_ms, data", number, kind):
                count += 1
                id, date_ms, data = row
                yield LogRow(experiment_id, kind, id, date_ms, data, str(count))

    async def _rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return await self._db.read(lambda db: db.execute(sql, parameters).fetchall())

    async def _pages(
        self, table: str, columns: str, experiment: int | None = None, kind: str | None = None
    ) -> AsyncIterator[tuple[Any, ...]]:
        """Row number and columns of a table's rows, of one experiment and log if these are given."""
        number = "position" if table == "logs" else "num"
        where = f"{number} > ?" + " AND experiment = ?" * (experiment is not None)
        where += " AND kind = ?" * (kind is not None)
        sql = f"SELECT {number}, {columns} FROM {table} WHERE {where} ORDER BY {number} LIMIT {_PAGE}"
        given = [one for one in (experiment, kind) if one is not None]
        last = 0
        while True:
            rows = await self._rows(sql, last, *given)
            for row in rows:
                yield row
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    # Restoring.

    async def restore(self, records: Sequence[Record]) -> None:
        def work(db: sqlite3.Connection) -> None:
            for record in records:
                _RESTORE[type(record)](db, record)

        await self._db.write(work)


def _restore_secret(db: sqlite3.Connection, record: SecretRecord) -> None:
    _insert(db, "secrets", {"name": record.name, "secret": record.value})


def _restore_user(db: sqlite3.Connection, record: User) -> None:
    _insert(db, "users", msgspec.structs.asdict(record))


def _restore_session(db: sqlite3.Connection, record: LoginSession) -> None:
    _insert(db, "sessions", msgspec.structs.asdict(record))


def _restore_model(db: sqlite3.Connection, record: ModelRecord) -> None:
    last = record.versions[-1]
    head = {"tenant": last.tenant, "name": last.name, "version": last.version, "deleted": record.deleted}
    _insert(db, "models", head)
    (number,) = db.execute(
        "SELECT num FROM models WHERE tenant = ? AND name = ?", (last.tenant, last.name)
    ).fetchone()
    for one in record.versions:
        fields = {name.strip(): getattr(one, name.strip()) for name in _MODEL.split(",")}
        fields |= {"managers": msgspec.json.encode(one.managers), "files": msgspec.json.encode(one.files)}
        _insert(db, "model_versions", {"model": number, **fields})
    if not record.deleted:
        for manager in last.managers:
            _insert(db, "model_managers", {"tenant": last.tenant, "manager": manager, "model": number})


def _restore_run(db: sqlite3.Connection, record: RunRecord) -> None:
    fields = msgspec.structs.asdict(record.run)
    fields |= {"models": msgspec.json.encode(record.run.models), "metadata": record.run.metadata.decode()}
    _insert(db, "runs", fields)
    (number,) = db.execute("SELECT num FROM runs WHERE id = ?", (record.run.id,)).fetchone()
    for position, entry in enumerate(record.entries, record.run.base):
        _insert(db, "run_entries", {"run": number, "position": position, "entry": entry})
    for name, text in record.variables.items():
        value = scalar(text)
        compared = {"run": number, "name": name, "value": text}
        if value is not None:
            compared |= {"text": value} if isinstance(value, str) else {"number": float(value)}
        _insert(db, "run_variables", compared)


def _restore_job(db: sqlite3.Connection, record: JobRecord) -> None:
    _insert(db, "jobs", job_columns(record.job))
    for number, data in record.parts:
        _insert(db, "job_parts", {"job": record.job.id, "number": number, "data": data})


def _restore_experiment(db: sqlite3.Connection, record: ExperimentRecord) -> None:
    fields = msgspec.structs.asdict(record.experiment)
    fields |= {name: msgspec.json.encode(fields[name]) for name in ("code", "properties")}
    _insert(db, "experiments", fields)
    number = _number(db, record.experiment.id)
    _insert(db, "summaries", {"experiment": number, **msgspec.structs.asdict(record.summary)})


def _restore_theta(db: sqlite3.Connection, record: ThetaRecord) -> None:
    scope = ThetaAddress(record.experiment_id, record.name, record.key, record.value)
    written = Transaction(tenant="", revisions={}, writes={scope: record.data})
    sqlite_theta.write_theta(db, written, {record.experiment_id: _number(db, record.experiment_id)})


def _restore_revision(db: sqlite3.Connection, record: Revision) -> None:
    add_revisions(db, [record])


def _restore_owned(db: sqlite3.Connection, record: Advice | IdempotencyRecord | Delivery | LogRow) -> None:
    table = _TABLES[type(record)]
    fields = msgspec.structs.asdict(record)
    del fields["experiment_id"]
    fields.pop("position", None)
    _insert(db, table, fields | {"experiment": _number(db, record.experiment_id)})


_TABLES: Final[dict[type, str]] = {
    Advice: "advices",
    IdempotencyRecord: "idempotency",
    Delivery: "deliveries",
    LogRow: "logs",
}
_RESTORE: dict[type, Callable[[sqlite3.Connection, Any], None]] = {
    SecretRecord: _restore_secret,
    User: _restore_user,
    LoginSession: _restore_session,
    ModelRecord: _restore_model,
    RunRecord: _restore_run,
    JobRecord: _restore_job,
    ExperimentRecord: _restore_experiment,
    ThetaRecord: _restore_theta,
    Revision: _restore_revision,
    Advice: _restore_owned,
    IdempotencyRecord: _restore_owned,
    Delivery: _restore_owned,
    LogRow: _restore_owned,
}


def _insert(db: sqlite3.Connection, table: str, fields: dict[str, Any]) -> None:
    """Unless the row is there."""
    names, marks = ", ".join(fields), ", ".join("?" * len(fields))
    db.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING", tuple(fields.values())
    )


def _number(db: sqlite3.Connection, experiment_id: str) -> int:
    (number,) = db.execute("SELECT num FROM experiments WHERE id = ?", (experiment_id,)).fetchone()
    return int(number)


def _named(names: str, row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip((name.strip() for name in names.split(",")), row, strict=True))


def _to_user(row: Sequence[Any]) -> User:
    fields = _named(_USER, row)
    return User(**fields | {"admin": bool(fields["admin"])})


def _to_model(tenant: str, name: str, row: Sequence[Any]) -> Model:
    fields = _named(_MODEL, row)
    managers, files = (msgspec.json.decode(fields[one]) for one in ("managers", "files"))
    return Model(tenant=tenant, name=name, **fields | {"managers": tuple(managers), "files": files})


def _to_run(row: Sequence[Any]) -> Run:
    fields = _named(_RUN, row)
    models, metadata = msgspec.json.decode(fields["models"]), fields["metadata"].encode()
    return Run(**fields | {"models": models, "metadata": metadata})


def _to_experiment(row: Sequence[Any]) -> Experiment:
    fields = _named(_EXPERIMENT, row)
    decoded = {name: msgspec.json.decode(fields[name]) for name in ("code", "properties")}
    return Experiment(**fields | decoded | {"archived": bool(fields["archived"])})
