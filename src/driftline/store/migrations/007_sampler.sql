-- How far a topic has been handed over to another one, so that windows wait for what the sampler has not sampled.

-- Everything appended to the partition up to append_time, which is all below next_offset, has been handed over,
-- and what came of it was appended to the target at or before output_time. A short history: the newest row whose
-- output has been consumed counts.
CREATE TABLE relay_clocks (
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    output_time timestamptz NOT NULL,
    append_time timestamptz NOT NULL,
    next_offset bigint      NOT NULL,
    CONSTRAINT relay_clocks_pkey PRIMARY KEY (topic, partition, output_time)
) WITH (fillfactor = 50);
