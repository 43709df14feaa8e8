-- Who may do what, what they did, and what they were answered.

-- Bearer tokens. The token itself is shown once and never stored, only its SHA-256: a stolen catalog
-- opens nothing. Tokens are 256 random bits, so a plain hash is enough.
CREATE TABLE tokens (
    id           TEXT   NOT NULL PRIMARY KEY,
    hash         TEXT   NOT NULL UNIQUE,   -- SHA-256 of the token, hex
    hint         TEXT   NOT NULL,          -- the few leading characters shown in lists
    name         TEXT   NOT NULL,
    role         TEXT   NOT NULL,
    tenants      TEXT,                     -- JSON list of tenant ids; null means every tenant
    scopes       TEXT   NOT NULL,          -- JSON list of text; empty means all the role may do
    created_at   BIGINT NOT NULL,
    created_by   TEXT   NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    last_used_at BIGINT                    -- to the minute or so: written rarely, not per request
);

-- People who sign in instead of carrying a token (filled when single sign-on arrives).
CREATE TABLE users (
    id           TEXT   NOT NULL PRIMARY KEY,
    subject      TEXT   NOT NULL UNIQUE,   -- the identity provider's stable name for the person
    name         TEXT   NOT NULL,
    email        TEXT,
    role         TEXT   NOT NULL,
    tenants      TEXT,                     -- as in tokens
    created_at   BIGINT NOT NULL,
    disabled_at  BIGINT,
    last_seen_at BIGINT
);

-- Every change somebody made, in order, only ever added to.
CREATE TABLE audit_log (
    seq         BIGINT NOT NULL PRIMARY KEY,
    at          BIGINT NOT NULL,
    actor       TEXT   NOT NULL,   -- token or user id, or 'system'
    action      TEXT   NOT NULL,   -- e.g. 'tenant.put'
    target      TEXT   NOT NULL,   -- what was changed, e.g. the tenant's id
    before_json TEXT,
    after_json  TEXT,
    request_id  TEXT
);

-- The first answer to each keyed write; a repeat gets it again. A row without a status is a write still
-- under way, or one whose process died: it may be taken over once it is old enough.
CREATE TABLE idempotency_keys (
    actor            TEXT   NOT NULL,
    idempotency_key  TEXT   NOT NULL,
    body_sha256      TEXT   NOT NULL,   -- of method, path, query and body: the same key with another one is refused
    status           BIGINT,
    response_headers TEXT,              -- JSON
    response_body    TEXT,
    created_at       BIGINT NOT NULL,
    PRIMARY KEY (actor, idempotency_key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
