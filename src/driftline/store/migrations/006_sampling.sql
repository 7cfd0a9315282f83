-- Which predictions are kept, and halves of predictions that wait for their other half.

-- One prediction in n is kept, from `since` until a later row replaces it.
CREATE TABLE sampling_rates (
    model_id      text        NOT NULL,
    model_version text        NOT NULL,
    since         timestamptz NOT NULL DEFAULT clock_timestamp(),
    n             integer     NOT NULL CONSTRAINT sampling_rates_n CHECK (n >= 1),
    CONSTRAINT sampling_rates_pkey PRIMARY KEY (model_id, model_version, since),
    CONSTRAINT sampling_rates_version_fkey FOREIGN KEY (model_id, model_version)
        REFERENCES model_versions ON DELETE CASCADE
);
INSERT INTO sampling_rates (model_id, model_version, since, n)
SELECT model_id, model_version, created_at, sampling_n FROM model_versions;

-- Weights below the version's n that came all the same (an unsampled producer sends weight 1), and when last.
CREATE TABLE sampling_weights (
    model_id      text        NOT NULL,
    model_version text        NOT NULL,
    weight        integer     NOT NULL CONSTRAINT sampling_weights_weight CHECK (weight >= 1),
    seen_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT sampling_weights_pkey PRIMARY KEY (model_id, model_version, weight),
    CONSTRAINT sampling_weights_version_fkey FOREIGN KEY (model_id, model_version)
        REFERENCES model_versions ON DELETE CASCADE
) WITH (fillfactor = 50);

-- What a serving platform logged of a call, request or response, until the other one comes.
CREATE TABLE event_halves (
    model_id      text        NOT NULL,
    model_version text        NOT NULL,
    event_id      text        NOT NULL,
    side          text        NOT NULL CONSTRAINT event_halves_side CHECK (side IN ('request', 'response')),
    n             integer     NOT NULL,  -- the version's, by which the pair is kept
    event_time    timestamptz NOT NULL,
    payload       bytea       NOT NULL,
    received_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT event_halves_pkey PRIMARY KEY (model_id, event_id),
    CONSTRAINT event_halves_version_fkey FOREIGN KEY (model_id, model_version)
        REFERENCES model_versions ON DELETE CASCADE
);
CREATE INDEX event_halves_received_at ON event_halves (received_at);
