-- Runs that somebody asked to be cancelled: whoever carries a run out looks here until it posts.
CREATE TABLE run_cancels (
    run          TEXT   NOT NULL PRIMARY KEY,
    requested_by TEXT   NOT NULL,
    requested_at BIGINT NOT NULL
);

-- Runs and jobs may end as cancelled. A check cannot be changed in place in SQLite, so both tables are made anew.
CREATE TABLE runs_cancellable (
    id           TEXT   NOT NULL PRIMARY KEY,
    status       TEXT   NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
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
INSERT INTO runs_cancellable SELECT id, status, from_day, to_day, pools, dry_run, created_at, started_at, finished_at,
    posting, entries, warnings, error, requested_by, body FROM runs;
DROP TABLE runs;
ALTER TABLE runs_cancellable RENAME TO runs;
CREATE INDEX runs_by_time ON runs (created_at, id);
CREATE INDEX runs_by_status ON runs (status);

CREATE TABLE jobs_cancellable (
    id          TEXT   NOT NULL PRIMARY KEY,
    kind        TEXT   NOT NULL,
    target      TEXT   NOT NULL,   -- e.g. the source's name or the day
    status      TEXT   NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    run_after   BIGINT NOT NULL,
    attempts    BIGINT NOT NULL,
    started_at  BIGINT,
    finished_at BIGINT,
    error       TEXT,
    body        TEXT   NOT NULL
);
INSERT INTO jobs_cancellable SELECT id, kind, target, status, run_after, attempts, started_at, finished_at, error, body
    FROM jobs;
DROP TABLE jobs;
ALTER TABLE jobs_cancellable RENAME TO jobs;
CREATE INDEX jobs_by_turn ON jobs (status, run_after);
