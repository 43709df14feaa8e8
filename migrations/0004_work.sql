-- What was done: imports, runs, postings, and the state of work under way.

-- CACHE of the lake: each import is a commit whose commitInfo carries the same facts.
CREATE TABLE imports (
    id          TEXT   NOT NULL PRIMARY KEY,
    kind        TEXT   NOT NULL CHECK (kind IN ('focus', 'events', 'fixed')),
    source      TEXT   NOT NULL,
    imported_at BIGINT NOT NULL,
    table_name  TEXT   NOT NULL,   -- table of the lake
    version     BIGINT NOT NULL,   -- version of that table which the import made
    row_count   BIGINT NOT NULL,
    body        TEXT   NOT NULL    -- JSON: files, hashes, keys replaced, totals, warnings
);
CREATE INDEX imports_by_time ON imports (imported_at);

-- CACHE of the lake: the ledger's Delta log is the only authority for postings. Rows here save reading it.
CREATE TABLE postings (
    posting    BIGINT NOT NULL PRIMARY KEY,
    run        TEXT,              -- null for closes, reopens and adjustments
    booked_at  BIGINT NOT NULL,
    version    BIGINT NOT NULL,   -- version of the ledger table
    entries    BIGINT NOT NULL,
    hash       TEXT   NOT NULL,
    prev_hash  TEXT   NOT NULL,
    log_sha256 TEXT   NOT NULL,   -- of the log entry's own bytes
    body       TEXT   NOT NULL    -- JSON: the posting header
);
CREATE INDEX postings_by_time ON postings (booked_at);

-- Attribution runs, also those that posted nothing.
CREATE TABLE runs (
    id           TEXT   NOT NULL PRIMARY KEY,
    status       TEXT   NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed')),
    from_day     TEXT   NOT NULL,
    to_day       TEXT   NOT NULL,   -- included
    pools        TEXT,              -- JSON list; null means all
    dry_run      BIGINT NOT NULL CHECK (dry_run IN (0, 1)),
    created_at   BIGINT NOT NULL,
    started_at   BIGINT,
    finished_at  BIGINT,
    posting      BIGINT,            -- null while nothing was posted
    entries      BIGINT NOT NULL,
    warnings     TEXT   NOT NULL,   -- JSON list
    error        TEXT,
    requested_by TEXT   NOT NULL,
    body         TEXT   NOT NULL    -- JSON: pinned versions and whatever else the run recorded
);
CREATE INDEX runs_by_time ON runs (created_at, id);
CREATE INDEX runs_by_status ON runs (status);

-- What each day's last run saw. A partition newer than that makes the day due: days to run are derived.
CREATE TABLE run_days (
    day        TEXT   NOT NULL PRIMARY KEY,
    run        TEXT   NOT NULL,
    inputs     TEXT   NOT NULL,   -- JSON: versions of tables, policies, cards and the recorded_at pinned
    updated_at BIGINT NOT NULL
);

-- How each pool fared in the day's last run. Replaced per day. A pool that could not run keeps its old
-- entries, and the proof answers `not_run` with this reason.
CREATE TABLE run_pool_states (
    day    TEXT NOT NULL,
    pool   TEXT NOT NULL,
    run    TEXT NOT NULL,
    state  TEXT NOT NULL CHECK (state IN ('run', 'not_run')),
    reason TEXT,                  -- e.g. 'fx_missing', 'rate_missing', 'inputs_expired', 'out_of_bound'
    PRIMARY KEY (day, pool)
);

-- Whose turn it is. A lease saves work, nothing more: two holders at once still post once.
CREATE TABLE leases (
    name       TEXT   NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Background work (snapshots, collection, compaction), with its next start.
CREATE TABLE jobs (
    id          TEXT   NOT NULL PRIMARY KEY,
    kind        TEXT   NOT NULL,
    target      TEXT   NOT NULL,   -- e.g. the source's name or the day
    status      TEXT   NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed')),
    run_after   BIGINT NOT NULL,
    attempts    BIGINT NOT NULL,
    started_at  BIGINT,
    finished_at BIGINT,
    error       TEXT,
    body        TEXT   NOT NULL
);
CREATE INDEX jobs_by_turn ON jobs (status, run_after);

-- CACHE of the lake: closing and reopening a month are postings. A month without a row is open.
CREATE TABLE periods (
    month           TEXT   NOT NULL PRIMARY KEY,   -- 'YYYY-MM'
    state           TEXT   NOT NULL CHECK (state IN ('open', 'closed')),
    changed_at      BIGINT NOT NULL,
    changed_by      TEXT   NOT NULL,
    posting         BIGINT NOT NULL,               -- the close or reopen that made this state
    reason          TEXT,                          -- of a reopen or a forced close
    statement_sha256 TEXT
);

-- Where usage and cost come from, and how each fared last (health for GET /sources).
CREATE TABLE sources (
    name            TEXT   NOT NULL PRIMARY KEY,
    kind            TEXT   NOT NULL,
    last_started_at BIGINT,
    last_success_at BIGINT,
    last_error_at   BIGINT,
    last_error      TEXT,
    row_count       BIGINT NOT NULL,
    cursor_json     TEXT                            -- where the next collection resumes
);

-- Billing periods of a source's accounts: while one is open at the provider its amounts are estimates.
CREATE TABLE source_periods (
    source          TEXT   NOT NULL,
    billing_account TEXT   NOT NULL,
    billing_month   TEXT   NOT NULL,
    state           TEXT   NOT NULL CHECK (state IN ('open', 'closed', 'missing')),
    import_id       TEXT,                           -- the import that filled it last
    updated_at      BIGINT NOT NULL,
    PRIMARY KEY (source, billing_account, billing_month)
);

-- Totals printed on providers' invoices, entered by hand: the only thing a bill can be reconciled with.
CREATE TABLE invoices (
    source        TEXT   NOT NULL,
    billing_month TEXT   NOT NULL,
    invoice_id    TEXT   NOT NULL,
    currency      TEXT   NOT NULL,
    total         TEXT   NOT NULL,
    issued_on     TEXT,
    due_on        TEXT,
    note          TEXT,
    entered_by    TEXT   NOT NULL,
    entered_at    BIGINT NOT NULL,
    PRIMARY KEY (source, billing_month, invoice_id)
);
