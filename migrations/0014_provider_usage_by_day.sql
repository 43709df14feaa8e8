-- Quantities of a large account are very many rows: they are read a day at a time, of all sources together, and each
-- scrape asks when one changed last.

CREATE INDEX provider_usage_by_day ON provider_usage (usage_date);
CREATE INDEX provider_usage_by_time ON provider_usage (collected_at);
