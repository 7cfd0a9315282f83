-- Natural variation learned from production, for references that carry no timestamps.

CREATE TABLE learned_variation (
    model_id      text        NOT NULL,
    model_version text        NOT NULL,
    grid_id       text        NOT NULL,
    step_seconds  integer     NOT NULL,  -- the version's windows, or whole days
    since         timestamptz NOT NULL,
    until         timestamptz NOT NULL,  -- when learning ends
    through       timestamptz NOT NULL,  -- what has been learned from: windows up to here
    windows       integer     NOT NULL,
    psi           real[]      NOT NULL,  -- what thresholds are raised to, in profile order
    ks            real[]      NOT NULL,
    psi_offset    real[]      NOT NULL,  -- how far production lies from training as a rule
    skewed        boolean[]   NOT NULL,
    CONSTRAINT learned_variation_pkey PRIMARY KEY (model_id, model_version, grid_id, step_seconds),
    CONSTRAINT learned_variation_version_fkey FOREIGN KEY (model_id, model_version)
        REFERENCES model_versions ON DELETE CASCADE
);
