-- How well a model did on its reference, by segment; parallel arrays of one element per metric, NaN is not defined.
CREATE TABLE performance_baselines (
    model_id      text        NOT NULL,
    model_version text        NOT NULL,
    grid_id       text        NOT NULL,
    segment       text        NOT NULL,              -- '' is everything, else 'country=DE'
    rows          bigint      NOT NULL,              -- labelled ones that were used
    n_eff         float8      NOT NULL,
    classes       text[]      NOT NULL,              -- of a binary model the negative and the positive one
    metrics       text[]      NOT NULL,
    value         float8[]    NOT NULL,
    lower         float8[]    NOT NULL,
    upper         float8[]    NOT NULL,
    metric_status text[]      NOT NULL,
    computed_at   timestamptz NOT NULL,
    CONSTRAINT performance_baselines_pkey PRIMARY KEY (model_id, model_version, grid_id, segment),
    CONSTRAINT performance_baselines_reference_fkey FOREIGN KEY (model_id, model_version, grid_id)
        REFERENCES model_references ON DELETE CASCADE
);
