-- What attribution is computed from, besides usage and cost lines: policies, rate cards, meters,
-- exchange rates, recurring costs. All of it is dated, and what a posting used is kept.

-- Versions of policy.toml. For day D the greatest valid_from <= D applies; among equal dates the one
-- published last. An unused version may be replaced (it then counts as published again); a used one never.
CREATE TABLE policies (
    version       TEXT   NOT NULL PRIMARY KEY,
    valid_from    TEXT   NOT NULL,
    published_at  BIGINT NOT NULL,
    published_seq BIGINT NOT NULL UNIQUE,
    body          TEXT   NOT NULL,
    format        TEXT   NOT NULL CHECK (format IN ('toml', 'json')),
    sha256        TEXT   NOT NULL,   -- of the content, chosen by the publisher so that layout does not matter
    first_used_at BIGINT             -- when a posting first rested on it; null means it may be replaced
);

-- Versions of rates.toml: the same life as policies. The currency is part of the body.
CREATE TABLE rate_cards (
    version       TEXT   NOT NULL PRIMARY KEY,
    valid_from    TEXT   NOT NULL,
    published_at  BIGINT NOT NULL,
    published_seq BIGINT NOT NULL UNIQUE,
    body          TEXT   NOT NULL,
    format        TEXT   NOT NULL CHECK (format IN ('toml', 'json')),
    sha256        TEXT   NOT NULL,
    first_used_at BIGINT
);

-- Definitions of meters as they were recorded; the last row of a name is the current one. A meter applies
-- to events accepted after it, so there is no valid_from. Hiding is a row too.
CREATE TABLE meters (
    name        TEXT   NOT NULL,
    recorded_at BIGINT NOT NULL,
    body        TEXT   NOT NULL,   -- JSON
    state       TEXT   NOT NULL CHECK (state IN ('active', 'hidden')),
    entered_by  TEXT   NOT NULL,   -- 'builtin', 'file', or the actor who put it
    PRIMARY KEY (name, recorded_at)
);

-- Meters that have usage: their defining fields can no longer change. A cache of what the lake can tell.
CREATE TABLE meters_in_use (
    name          TEXT   NOT NULL PRIMARY KEY,
    first_used_at BIGINT NOT NULL
);

-- One from_currency costs `rate` to_currency on that day. The row recorded last for a day and pair counts;
-- earlier ones stay, because postings rest on them.
CREATE TABLE fx_rates (
    day           TEXT   NOT NULL,
    from_currency TEXT   NOT NULL,
    to_currency   TEXT   NOT NULL,
    recorded_at   BIGINT NOT NULL,
    rate          TEXT   NOT NULL,   -- decimal, at most 15 fractional digits
    source        TEXT   NOT NULL,   -- e.g. 'ecb', 'manual'
    PRIMARY KEY (from_currency, to_currency, day, recorded_at)
);

-- Recurring and manual costs. They become cost lines like any bill; deleting one is a date, not a loss.
CREATE TABLE fixed_costs (
    id         TEXT   NOT NULL PRIMARY KEY,
    source     TEXT   NOT NULL CHECK (source IN ('fixed', 'manual')),
    provider   TEXT   NOT NULL,
    service    TEXT   NOT NULL,
    currency   TEXT   NOT NULL,
    amount     TEXT   NOT NULL,
    per        TEXT   NOT NULL CHECK (per IN ('day', 'month', 'year', 'once')),
    from_date  TEXT   NOT NULL,
    to_date    TEXT,                -- last day, included; null means open
    note       TEXT,
    tags       TEXT   NOT NULL,     -- JSON map
    created_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
