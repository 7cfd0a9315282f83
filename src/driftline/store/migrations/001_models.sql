-- Models, their versions, and what each version is compared with.

CREATE TABLE models (
    model_id       text        NOT NULL CONSTRAINT models_pkey PRIMARY KEY,
    task           text,
    window_seconds integer     NOT NULL
                   CONSTRAINT models_window_divides_day CHECK (window_seconds > 0 AND 86400 % window_seconds = 0),
    owner          text,
    team           text,
    time_zone      text        NOT NULL DEFAULT 'UTC',
    settings       jsonb       NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE model_versions (
    model_id      text        NOT NULL CONSTRAINT model_versions_model_fkey REFERENCES models ON DELETE CASCADE,
    model_version text        NOT NULL,
    schema        jsonb,
    schema_id     text,
    feature_names text[]      NOT NULL DEFAULT '{}',  -- in profile order
    feature_kinds text[]      NOT NULL DEFAULT '{}',
    bins          smallint,
    sampling_n    integer     NOT NULL DEFAULT 1 CONSTRAINT model_versions_sampling CHECK (sampling_n >= 1),
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT model_versions_pkey PRIMARY KEY (model_id, model_version)
);

-- A reference never changes; another upload is another row, valid from a later window on.
CREATE TABLE model_references (
    model_id      text        NOT NULL,
    model_version text        NOT NULL,
    grid_id       text        NOT NULL,
    payload       bytea       NOT NULL,
    rows          bigint      NOT NULL,
    computed_at   timestamptz NOT NULL,
    valid_from    timestamptz NOT NULL,
    CONSTRAINT model_references_pkey PRIMARY KEY (model_id, model_version, grid_id),
    CONSTRAINT model_references_version_fkey FOREIGN KEY (model_id, model_version)
        REFERENCES model_versions ON DELETE CASCADE
);
ALTER TABLE model_references ALTER payload SET STORAGE EXTERNAL;  -- compressed already

CREATE TABLE model_reference_profiles (
    model_id       text        NOT NULL,
    model_version  text        NOT NULL,
    feature_name   text        NOT NULL,
    stats_json     jsonb       NOT NULL,
    histogram_json jsonb,
    computed_at    timestamptz NOT NULL,
    CONSTRAINT model_reference_profiles_pkey PRIMARY KEY (model_id, model_version, feature_name),
    CONSTRAINT model_reference_profiles_version_fkey FOREIGN KEY (model_id, model_version)
        REFERENCES model_versions ON DELETE CASCADE
);
