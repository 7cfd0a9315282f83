-- Where a dead letter came from, so that it can be sent again as it was; and each record's letters only once.

ALTER TABLE dead_letters
    ADD headers    jsonb  NOT NULL DEFAULT '{}',  -- of the record, or the request's content-type
    ADD record_key bytea,                         -- of the record that was refused as a whole
    ADD partition  integer,                       -- origin in the log; none when it came over HTTP
    ADD log_offset bigint;

-- Kafka may have committed what a worker read when the worker's letters are written a second time.
CREATE UNIQUE INDEX dead_letters_origin ON dead_letters (topic, partition, log_offset, sha256(payload))
    WHERE log_offset IS NOT NULL;
CREATE INDEX dead_letters_waiting ON dead_letters (id) WHERE replayed_at IS NULL;
