-- The durable log of the embedded default, what has been consumed of it, and what could not be used.

-- The counter row stays locked until the append commits, so that offsets become visible in order.
CREATE TABLE log_partitions (
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    next_offset bigint      NOT NULL DEFAULT 0,
    last_append timestamptz NOT NULL DEFAULT '-infinity',  -- append times never run backwards
    CONSTRAINT log_partitions_pkey PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE log_records (
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    log_offset  bigint      NOT NULL,
    key         bytea       NOT NULL,
    headers     jsonb       NOT NULL,
    payload     bytea       NOT NULL,
    appended_at timestamptz NOT NULL,
    CONSTRAINT log_records_pkey PRIMARY KEY (topic, partition, log_offset, appended_at)
) PARTITION BY RANGE (appended_at);
ALTER TABLE log_records ALTER payload SET STORAGE EXTERNAL;
CREATE TABLE log_records_default PARTITION OF log_records DEFAULT;
ALTER TABLE log_records_default ALTER payload SET STORAGE EXTERNAL;

CREATE TABLE consumer_offsets (
    consumer    text    NOT NULL,
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    CONSTRAINT consumer_offsets_pkey PRIMARY KEY (consumer, topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE accepted_batches (
    model_id    text        NOT NULL,
    batch_id    text        NOT NULL,
    digest      bytea       NOT NULL,              -- of the request's body
    rows        bigint      NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT accepted_batches_pkey PRIMARY KEY (model_id, batch_id)
);
CREATE INDEX accepted_batches_accepted_at ON accepted_batches (accepted_at);

CREATE TABLE dead_letters (
    id            bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT dead_letters_pkey PRIMARY KEY,
    received_at   timestamptz NOT NULL DEFAULT now(),
    topic         text        NOT NULL,
    model_id      text,
    model_version text,
    prediction_id text,
    reason_code   text        NOT NULL,
    reason        text        NOT NULL,
    payload       bytea       NOT NULL,
    rows          integer     NOT NULL DEFAULT 1,  -- events in the payload: several are NDJSON
    replayed_at   timestamptz
);
CREATE INDEX dead_letters_model ON dead_letters (model_id, id);
CREATE INDEX dead_letters_received_at ON dead_letters (received_at);
