-- Cumulative streams of pushed metrics: what of each was counted last.

-- The row is written before the event of its current reading. Whether that event came to be is told by the index of
-- ids, not by this table: if it is not there, the previous reading is the one counted last. Instants of readings are
-- nanoseconds since 1970, because senders tell apart what happens within a microsecond.
CREATE TABLE metric_streams (
    stream         TEXT   NOT NULL PRIMARY KEY,   -- hex SHA-256 of the tenant as sent and of the source
    tenant         TEXT   NOT NULL,               -- of the current reading's event
    source         TEXT   NOT NULL,               -- of its events: protocol, metric name and all attributes
    event_id       TEXT   NOT NULL,               -- of the current reading's event
    current_start  BIGINT,                        -- null if the sender does not say since when it counts
    current_at     BIGINT NOT NULL,
    current_value  TEXT   NOT NULL,               -- decimal, in the metric's own unit
    previous_start BIGINT,
    previous_at    BIGINT,                        -- null if there is no previous reading
    previous_value TEXT,
    updated_at     BIGINT NOT NULL
);
