"""The tables of experiments and runs, but for metric points, which have a database of their own."""

DEFAULT = "0" * 32
"""The id of the experiment `Default`, whose number is 0; it is there from the first."""

MIGRATIONS = [
    f"""
    CREATE TABLE experiment (
        id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL, deleted_at INTEGER
    );
    CREATE TABLE experiment_tag (
        experiment TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (experiment, key)
    );
    INSERT INTO experiment VALUES ('{DEFAULT}', 0, 'Default', 0, 0, NULL) ON CONFLICT (id) DO NOTHING;
    CREATE TABLE run (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, experiment TEXT NOT NULL, parent TEXT,
        state TEXT NOT NULL, started_at INTEGER NOT NULL, ended_at INTEGER, actor TEXT NOT NULL, note TEXT NOT NULL,
        target TEXT NOT NULL, module TEXT NOT NULL, seed INTEGER NOT NULL, threads INTEGER NOT NULL,
        hash_seed_fixed INTEGER NOT NULL, code TEXT, code_digest TEXT, environment TEXT, environment_digest TEXT,
        git_commit TEXT, git_diff TEXT, replay_of TEXT, series TEXT NOT NULL, error TEXT, resumed_at INTEGER,
        worked_s REAL NOT NULL, log TEXT, cpu_s REAL, peak_bytes INTEGER, updated_at INTEGER NOT NULL, deleted_at INTEGER
    );
    CREATE INDEX run_by_parent ON run (parent, id);
    CREATE INDEX run_by_state ON run (state, id);
    CREATE INDEX run_by_start ON run (started_at DESC, id);
    CREATE INDEX run_by_experiment ON run (experiment, started_at DESC, id);
    CREATE INDEX run_by_series ON run (series);
    CREATE TABLE run_param (
        run TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, key)
    );
    CREATE TABLE run_tag (run TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, key));
    CREATE TABLE run_blob (run TEXT NOT NULL, blob TEXT NOT NULL, PRIMARY KEY (run, blob));
    CREATE TABLE run_artifact (run TEXT NOT NULL, name TEXT NOT NULL, artifact TEXT NOT NULL, PRIMARY KEY (run, name));
    CREATE TABLE run_file (
        owner TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL, size_bytes INTEGER NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (owner, path)
    );
    CREATE TABLE run_input (
        run TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, source_type TEXT NOT NULL, source TEXT NOT NULL,
        schema TEXT NOT NULL, profile TEXT NOT NULL, tags TEXT NOT NULL,
        context TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (run, name, digest)
    )
    """,
]
