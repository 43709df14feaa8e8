-- What was used at providers, day by day, as collectors read it: what limits are compared with and rates are applied to.

-- A collection replaces the days that it speaks of. Days are those of the provider's own zone.
CREATE TABLE provider_usage (
    source       TEXT   NOT NULL,   -- name of the source in the configuration
    provider     TEXT   NOT NULL,   -- its kind, such as `vercel`
    usage_date   TEXT   NOT NULL,
    resource     TEXT   NOT NULL,
    labels_key   TEXT   NOT NULL,   -- canonical JSON: project, bucket, ...
    unit         TEXT   NOT NULL,   -- FOCUS
    quantity     TEXT   NOT NULL,   -- decimal
    collected_at BIGINT NOT NULL,
    PRIMARY KEY (source, usage_date, resource, labels_key)
);
