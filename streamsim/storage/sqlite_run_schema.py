"""Tables of models and runs: the second version of the SQLite schema, never changed once released."""

SCHEMA = """
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
"""
