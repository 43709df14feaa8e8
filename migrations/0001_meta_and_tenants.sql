-- The catalog: everything small and relational. SQLite by default, PostgreSQL by URL; every statement
-- here and in the code is one text that both accept. Conventions, kept in all migrations:
--
--   * BIGINT and TEXT only. Instants are microseconds since 1970 in UTC; days are 'YYYY-MM-DD', months
--     'YYYY-MM', money and rates decimal text, maps and lists JSON text, truth a BIGINT 0 or 1.
--   * A column named seq is the next whole number, chosen inside the writing transaction.
--   * Rows that feed attribution are never overwritten: a later row supersedes an earlier one, so that a
--     run which pinned `recorded_at <= W` reads the same rows for ever. recorded_at rises strictly with
--     every write (see meta.recorded_high_water), so a row can never appear below a pinned W.
--   * What the lake can tell is a cache here and says so; it is repaired from the lake at start.
--   * A released migration is never edited; the next one gets the next number.

-- Facts about this store, one row each.
--   format_version       what the rows mean; a program that knows only a lower number refuses to open
--   lake_uri, lake_id    the lake this catalog belongs to; another lake refuses to start
--   org_timezone         the zone whose calendar days all *_date columns are; fixed at the first write
--   reporting_currency   fixed at the first posting
--   recorded_high_water  the greatest recorded_at written or pinned so far
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

INSERT INTO meta (key, value) VALUES ('format_version', '1');

-- A tenant exists from the first time anybody named it, and for ever: ids are never re-used or re-slugged.
CREATE TABLE tenants (
    id         TEXT   NOT NULL PRIMARY KEY,
    -- 'system': an event, import or template named it; 'put': somebody entered it; 'import': from a source's list.
    created_by TEXT   NOT NULL CHECK (created_by IN ('system', 'put', 'import')),
    created_at BIGINT NOT NULL
);

-- What was known about a tenant, for which days, and since when we knew it. For day D the row recorded
-- last among those with valid_from <= D <= valid_to counts, whole: rows are complete, not patches.
-- Rename: same tenant, new slug. Merge of B into A from D: a row of B with valid_from D and merged_into A.
CREATE TABLE tenant_facts (
    seq          BIGINT NOT NULL PRIMARY KEY,
    tenant       TEXT   NOT NULL REFERENCES tenants (id),
    valid_from   TEXT   NOT NULL,   -- first day; '0001-01-01' means always
    valid_to     TEXT,              -- last day, included; null means open
    recorded_at  BIGINT NOT NULL,
    name         TEXT,
    slug         TEXT,
    plan         TEXT,
    status       TEXT   NOT NULL CHECK (status IN ('active', 'archived')),
    parent       TEXT,
    owners       TEXT   NOT NULL,   -- JSON list of text
    cost_center  TEXT,
    gl_account   TEXT,
    billing_mode TEXT   NOT NULL CHECK (billing_mode IN ('showback', 'chargeback', 'central')),
    merged_into  TEXT   REFERENCES tenants (id),
    -- A tenant the system entered counts as active only on days with usage or cost of its own;
    -- one that somebody entered counts from valid_from to valid_to.
    entered_by   TEXT   NOT NULL CHECK (entered_by IN ('system', 'put', 'import'))
);
CREATE INDEX tenant_facts_by_tenant ON tenant_facts (tenant, recorded_at);

-- An incoming value that stands for a tenant. Dated like facts; a row without a tenant ends the alias.
CREATE TABLE tenant_aliases (
    seq         BIGINT NOT NULL PRIMARY KEY,
    alias       TEXT   NOT NULL,
    tenant      TEXT   REFERENCES tenants (id),
    valid_from  TEXT   NOT NULL,
    valid_to    TEXT,
    recorded_at BIGINT NOT NULL
);
CREATE INDEX tenant_aliases_by_alias ON tenant_aliases (alias, recorded_at);
