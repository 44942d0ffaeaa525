"""The SQLite file: how it is made, opened and upgraded."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final, Literal

from streamsim.storage.contract.errors import StoreUnavailable

Synchronous = Literal["FULL", "NORMAL"]

APPLICATION_ID = 0x53425354

# One script per schema version, never changed once released; `PRAGMA user_version` counts those applied.
# Large columns come last, so that reading the others does not touch overflow pages. Rows that may be large
# live in rowid tables: an index b-tree would read a whole row to compare its key. References are checked at
# the end of a commit (DEFERRED), so that an insert of many rows needs no statement journal.
MIGRATIONS = (
    """
    CREATE TABLE experiments (
        num INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        archived INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL,
        key TEXT NOT NULL,
        properties BLOB NOT NULL,
        code BLOB NOT NULL
    );
    CREATE UNIQUE INDEX experiments_by_name ON experiments (tenant, name) WHERE archived = 0;
    CREATE INDEX experiments_by_tenant ON experiments (tenant, id) WHERE archived = 0;

    CREATE TABLE theta (
        num INTEGER PRIMARY KEY,
        experiment INTEGER NOT NULL REFERENCES experiments DEFERRABLE INITIALLY DEFERRED,
        name TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        version INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (experiment, name, key, value)
    );

    -- Versions of an experiment (level 0, the counter) and of its sets (1) and groups (2) that have rows.
    CREATE TABLE scopes (
        experiment INTEGER NOT NULL REFERENCES experiments DEFERRABLE INITIALLY DEFERRED,
        level INTEGER NOT NULL,
        name TEXT NOT NULL,
        key TEXT NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (experiment, level, name, key)
    ) WITHOUT ROWID;

    CREATE TABLE logs (
        position INTEGER PRIMARY KEY,
        experiment INTEGER NOT NULL REFERENCES experiments DEFERRABLE INITIALLY DEFERRED,
        kind TEXT NOT NULL,
        id TEXT NOT NULL UNIQUE,
        date_ms INTEGER NOT NULL,
        data BLOB NOT NULL
    );
    CREATE INDEX logs_in_order ON logs (experiment, kind);

    CREATE TABLE summaries (
        experiment INTEGER PRIMARY KEY REFERENCES experiments DEFERRABLE INITIALLY DEFERRED,
        action_calls INTEGER NOT NULL,
        last_action_ms INTEGER,
        reward_calls INTEGER NOT NULL,
        last_reward_ms INTEGER
    );

    CREATE TABLE advices (
        num INTEGER PRIMARY KEY,
        experiment INTEGER NOT NULL REFERENCES experiments DEFERRABLE INITIALLY DEFERRED,
        id TEXT NOT NULL,
        expires_ms INTEGER NOT NULL,
        redeemed_by TEXT,
        context BLOB NOT NULL,
        action BLOB NOT NULL,
        UNIQUE (experiment, id)
    );
    CREATE INDEX advices_open ON advices (expires_ms) WHERE redeemed_by IS NULL;
    CREATE INDEX advices_redeemed ON advices (expires_ms) WHERE redeemed_by IS NOT NULL;

    CREATE TABLE idempotency (
        num INTEGER PRIMARY KEY,
        experiment INTEGER NOT NULL REFERENCES experiments DEFERRABLE INITIALLY DEFERRED,
        key TEXT NOT NULL,
        expires_ms INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        answer BLOB NOT NULL,
        UNIQUE (experiment, key)
    );
    CREATE INDEX idempotency_by_date ON idempotency (expires_ms);

    CREATE TABLE users (
        name TEXT PRIMARY KEY NOT NULL,
        password_hash TEXT NOT NULL,
        admin INTEGER NOT NULL,
        session_epoch INTEGER NOT NULL,
        created_ms INTEGER NOT NULL
    );
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY NOT NULL,
        user TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
        kind TEXT NOT NULL,
        label TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL
    );
    CREATE INDEX sessions_by_user ON sessions (user, kind, created_ms);
    CREATE INDEX sessions_by_date ON sessions (expires_ms);

    CREATE TABLE secrets (name TEXT PRIMARY KEY NOT NULL, secret BLOB NOT NULL);
    CREATE TABLE claims (work TEXT PRIMARY KEY NOT NULL, owner TEXT NOT NULL, expires_ms INTEGER NOT NULL);
    CREATE INDEX claims_by_date ON claims (expires_ms);
    CREATE TABLE windows (name TEXT PRIMARY KEY NOT NULL, hits INTEGER NOT NULL, expires_ms INTEGER NOT NULL);
    CREATE INDEX windows_by_date ON windows (expires_ms);
    CREATE TABLE pulse (beats INTEGER NOT NULL);
    INSERT INTO pulse VALUES (0);
    """,
    # Models and runs.
    """
    CREATE TABLE models (
        num INTEGER PRIMARY KEY,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        deleted INTEGER NOT NULL DEFAULT 0,
        UNIQUE (tenant, name)
    );
    CREATE TABLE model_managers (
        tenant TEXT NOT NULL,
        manager TEXT NOT NULL,
        model INTEGER NOT NULL REFERENCES models,
        PRIMARY KEY (tenant, manager)
    ) WITHOUT ROWID;
    CREATE INDEX managers_of_model ON model_managers (model);
    CREATE TABLE model_versions (
        num INTEGER PRIMARY KEY,
        model INTEGER NOT NULL REFERENCES models,
        version INTEGER NOT NULL,
        engine TEXT NOT NULL,
        main TEXT NOT NULL,
        managers BLOB NOT NULL,
        created_ms INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL,
        found BLOB NOT NULL,
        options BLOB NOT NULL,
        files BLOB NOT NULL,
        UNIQUE (model, version)
    );

    CREATE TABLE runs (
        num INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        kind TEXT NOT NULL,
        project TEXT NOT NULL,
        model TEXT NOT NULL,
        seed INTEGER NOT NULL,
        length INTEGER NOT NULL,
        base INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL,
        idle_ms INTEGER NOT NULL,
        models BLOB NOT NULL,
        metadata TEXT NOT NULL
    );
    CREATE INDEX runs_of_tenant ON runs (tenant, kind, project, created_ms);
    CREATE INDEX runs_by_date ON runs (expires_ms) WHERE expires_ms > 0;
    CREATE TABLE run_entries (
        num INTEGER PRIMARY KEY,
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        position INTEGER NOT NULL,
        entry BLOB NOT NULL,
        UNIQUE (run, position)
    );
    CREATE TABLE run_variables (
        num INTEGER PRIMARY KEY,
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        name TEXT NOT NULL,
        number REAL,
        text TEXT,
        value BLOB NOT NULL,
        UNIQUE (run, name)
    );
    CREATE INDEX run_variables_by_number ON run_variables (name, number, run) WHERE number IS NOT NULL;
    CREATE INDEX run_variables_by_text ON run_variables (name, text, run) WHERE text IS NOT NULL;
""",
    # Jobs, and then their kinds.
    """
    CREATE TABLE jobs (
        num INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        experiment TEXT NOT NULL,
        state TEXT NOT NULL,
        done INTEGER NOT NULL,
        total INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        owner TEXT NOT NULL,
        lease_ms INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL,
        spec BLOB NOT NULL,
        error BLOB,
        result BLOB
    );
    CREATE INDEX jobs_of_experiment ON jobs (tenant, experiment, num);
    CREATE INDEX jobs_unfinished ON jobs (num) WHERE state IN ('waiting', 'running');
    CREATE TABLE job_parts (
        num INTEGER PRIMARY KEY,
        job TEXT NOT NULL,
        number INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (job, number)
    );
""",
    """
    ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'simulation';
    CREATE INDEX jobs_of_tenant ON jobs (tenant, num);
""",
    """
    CREATE TABLE job_turns (
        turn INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant TEXT NOT NULL UNIQUE
    );
""",
    """
    ALTER TABLE advices ADD COLUMN gathered BLOB NOT NULL DEFAULT x'';
""",
    # Messages to webhooks.
    """
    CREATE TABLE deliveries (
        num INTEGER PRIMARY KEY AUTOINCREMENT,
        experiment INTEGER NOT NULL REFERENCES experiments DEFERRABLE INITIALLY DEFERRED,
        id TEXT NOT NULL UNIQUE,
        event TEXT NOT NULL,
        url TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        due_ms INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        modified_ms INTEGER NOT NULL,
        error TEXT NOT NULL,
        body BLOB NOT NULL
    );
    CREATE INDEX deliveries_due ON deliveries (due_ms) WHERE state = 'waiting';
    CREATE INDEX deliveries_settled ON deliveries (modified_ms) WHERE state <> 'waiting';
    CREATE INDEX deliveries_of_experiment ON deliveries (experiment, num);
""",
    # What was summed up of logs.
    """
    CREATE TABLE statistics (
        num INTEGER PRIMARY KEY,
        experiment INTEGER NOT NULL REFERENCES experiments DEFERRABLE INITIALLY DEFERRED,
        name TEXT NOT NULL,
        modified_ms INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (experiment, name)
    );
""",
    # Rewards by advice id.
    """
    CREATE INDEX logs_by_advice ON logs (experiment, json_extract(CAST(data AS TEXT), '$.advice_id'))
        WHERE kind = 'reward';
""",
    # Numbers of calls by minute and hour; `step` is their length in ms. None of what came before.
    """
    CREATE TABLE buckets (
        experiment INTEGER NOT NULL REFERENCES experiments DEFERRABLE INITIALLY DEFERRED,
        step INTEGER NOT NULL,
        start_ms INTEGER NOT NULL,
        arm TEXT NOT NULL,
        decisions INTEGER NOT NULL,
        rewards INTEGER NOT NULL,
        numbers INTEGER NOT NULL,
        reward_sum REAL NOT NULL,
        reward_squares REAL NOT NULL,
        errors INTEGER NOT NULL,
        PRIMARY KEY (experiment, step, start_ms, arm)
    ) WITHOUT ROWID;
    CREATE INDEX buckets_by_date ON buckets (step, start_ms);
    ALTER TABLE summaries ADD COLUMN buckets_since_ms INTEGER;
""",
    # The code that experiments had.
    """
    CREATE TABLE revisions (
        num INTEGER PRIMARY KEY,
        experiment INTEGER NOT NULL REFERENCES experiments DEFERRABLE INITIALLY DEFERRED,
        revision INTEGER NOT NULL,
        date_ms INTEGER NOT NULL,
        user TEXT NOT NULL,
        note TEXT NOT NULL,
        code BLOB NOT NULL,
        UNIQUE (experiment, revision)
    );
""",
    # What is looked for again and again among all experiments.
    """
    CREATE INDEX experiments_by_hourly_theta ON experiments (id)
        WHERE archived = 0 AND json_extract(CAST(properties AS TEXT), '$.hourly_theta') = 1;
    CREATE INDEX experiments_by_webhooks ON experiments (id)
        WHERE archived = 0 AND json_extract(CAST(properties AS TEXT), '$.webhooks') IS NOT NULL;
""",
)


CHECKPOINT_PAGES: Final = 4000
"""16 MB of log or more between checkpoints: one takes milliseconds, and a commit waits for it."""


def create(path: Path) -> None:
    """Make the folder (0700) and the file (0600) if missing; SQLite's own files take its mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def connect(path: Path, synchronous: Synchronous, busy_ms: int) -> sqlite3.Connection:
    """A connection in autocommit mode; `busy_ms` is how long it waits for others, e.g. a backup tool."""
    db = sqlite3.connect(
        path, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    try:
        if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise StoreUnavailable("the file system of the database does not support write-ahead logging")
        db.execute(f"PRAGMA synchronous = {synchronous}")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA cache_size = -32768")
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    except BaseException:
        db.close()
        raise
    return db


def upgrade(db: sqlite3.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> None:
    """Bring the schema to the newest version, in one transaction.

    :raises StoreUnavailable: the file is not ours, or a newer streamsim wrote it.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        mark = int(db.execute("PRAGMA application_id").fetchone()[0])
        empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        if mark != APPLICATION_ID and not (empty and mark == 0):
            raise StoreUnavailable("the database file belongs to another application")
        if version > len(migrations):
            raise StoreUnavailable(
                f"the database has schema version {version}, and this streamsim knows {len(migrations)}: "
                "a newer streamsim wrote it"
            )
        for script in migrations[version:]:
            for statement in _statements(script):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(migrations)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    # Not executescript(): that commits first, and the upgrade is one transaction.
    statements, text = [], ""
    for part in script.split(";")[:-1]:
        text += part + ";"
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements
