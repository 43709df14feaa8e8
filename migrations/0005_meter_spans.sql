-- When each definition of a meter took events.

-- Of the events received from `from_at` on, up to but not including `until_at` (null: still). A row is written before the
-- event log begins or stops to use the definition, so a backfill knows which events were metered as they came.
CREATE TABLE meter_spans (
    name     TEXT   NOT NULL,
    from_at  BIGINT NOT NULL,
    until_at BIGINT,
    body     TEXT   NOT NULL,   -- JSON of the definition
    PRIMARY KEY (name, from_at)
);

-- What older programs recorded: a definition took events from its record on, until the next record of its name.
INSERT INTO meter_spans (name, from_at, until_at, body)
SELECT m.name, m.recorded_at,
       (SELECT MIN(n.recorded_at) FROM meters n WHERE n.name = m.name AND n.recorded_at > m.recorded_at),
       m.body
FROM meters m WHERE m.state = 'active';
