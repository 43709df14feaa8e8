-- Runs that somebody asked to be cancelled: whoever carries a run out looks here until it posts.
CREATE TABLE run_cancels (
    run          TEXT   NOT NULL PRIMARY KEY,
    requested_by TEXT   NOT NULL,
    requested_at BIGINT NOT NULL
);
