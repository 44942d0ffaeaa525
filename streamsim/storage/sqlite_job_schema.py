"""Tables of jobs: versions of the SQLite schema, never changed once released."""

SCHEMA = """
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
"""

KINDS = """
    ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'simulation';
    CREATE INDEX jobs_of_tenant ON jobs (tenant, num);
"""
