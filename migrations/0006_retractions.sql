-- Usage events that a later event took back (type apportion.retract). An event that is taken back before it comes is
-- looked up here when the server starts, so that it never counts; the retracting events themselves are in the lake.
CREATE TABLE retractions (
    tenant      TEXT   NOT NULL,
    source      TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, source, id)
);
