-- Statements of closed months, as they were issued. Never changed: a month that was reopened and closed again gets the
-- next version beside the one before.

-- One for each close. It is a function of the ledger at the close, so one that a crash kept from being written is made
-- later, byte for byte what it would have been.
CREATE TABLE statements (
    month       TEXT   NOT NULL,          -- 'YYYY-MM'
    version     BIGINT NOT NULL,          -- from 1: how often the month was closed
    number      TEXT   NOT NULL UNIQUE,   -- as it is printed
    posting     BIGINT NOT NULL,          -- the close
    booked_at   BIGINT NOT NULL,          -- when it was booked
    ledger_head TEXT   NOT NULL,          -- hash of the close
    PRIMARY KEY (month, version)
);

-- The bytes that are served. Hashes are kept per document, because a tenant's own must not depend on what others were
-- charged.
CREATE TABLE statement_documents (
    month   TEXT   NOT NULL,
    version BIGINT NOT NULL,
    tenant  TEXT   NOT NULL,              -- whose own statement; '' is the whole organisation's
    format  TEXT   NOT NULL CHECK (format IN ('json', 'csv', 'journal')),
    sha256  TEXT   NOT NULL,              -- of the body, hex
    body    TEXT   NOT NULL,
    PRIMARY KEY (month, version, tenant, format),
    FOREIGN KEY (month, version) REFERENCES statements (month, version)
);
