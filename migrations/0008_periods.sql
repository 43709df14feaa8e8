-- Closed billing months, and what of a closed month was not corrected.

-- CACHE of the lake: closing and reopening a month are postings, and their commits say what stands here. Every change is
-- kept, not only the last: a statement belongs to the close that made it.
DROP TABLE periods;
CREATE TABLE period_changes (
    posting BIGINT NOT NULL PRIMARY KEY,
    month   TEXT   NOT NULL,   -- 'YYYY-MM'
    kind    TEXT   NOT NULL CHECK (kind IN ('close', 'reopen')),
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    reason  TEXT,              -- of a reopen or a forced close
    forced   TEXT NOT NULL,    -- JSON list: what stood against a forced close
    evidence TEXT NOT NULL     -- JSON list: files of the lake with what the windows of the month looked like
);
CREATE INDEX period_changes_by_month ON period_changes (month);

-- What was said of a billing period of a source: by the provider in FOCUS BillingPeriod rows, by the collector that reads
-- it, or by a person. Nothing said: it follows from the invoices and from when its bill was imported.
DROP TABLE source_periods;
CREATE TABLE source_periods (
    source          TEXT   NOT NULL,
    billing_account TEXT   NOT NULL,   -- empty: all accounts of the source
    billing_month   TEXT   NOT NULL,
    said_by         TEXT   NOT NULL CHECK (said_by IN ('billing_period', 'collector', 'person')),
    state           TEXT   NOT NULL CHECK (state IN ('open', 'closed')),
    actor           TEXT   NOT NULL,   -- who entered it, or the import
    note            TEXT,
    updated_at      BIGINT NOT NULL,
    PRIMARY KEY (source, billing_account, billing_month, said_by)
);

-- Differences of closed months that are too small to be corrected by themselves. Each run replaces those of its days.
CREATE TABLE pending_corrections (
    day       TEXT   NOT NULL,
    pool      TEXT   NOT NULL,
    month     TEXT   NOT NULL,   -- of the day
    run       TEXT   NOT NULL,
    noted_at  BIGINT NOT NULL,
    consumers TEXT   NOT NULL,   -- JSON: what each tenant or reserved word would be corrected by
    PRIMARY KEY (day, pool)
);
CREATE INDEX pending_corrections_by_month ON pending_corrections (month);
