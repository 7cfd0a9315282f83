-- Windows and their profiles: parts as they are consumed, one profile per window and segment once merged.

CREATE TABLE windows (
    model_id      text        NOT NULL,
    model_version text        NOT NULL,
    window_start  timestamptz NOT NULL,
    window_end    timestamptz NOT NULL,
    grid_id       text        NOT NULL,
    seq           bigint      NOT NULL,
    computed_seq  bigint      NOT NULL DEFAULT 0,
    row_count     bigint      NOT NULL,
    weight        bigint      NOT NULL,
    first_event   timestamptz NOT NULL,
    last_event    timestamptz NOT NULL,
    last_append   timestamptz NOT NULL,
    closed_at     timestamptz,
    final_at      timestamptz,
    failed_at     timestamptz,                    -- its drift could not be computed; tried again later
    CONSTRAINT windows_pkey PRIMARY KEY (model_id, model_version, window_start),
    CONSTRAINT windows_version_fkey FOREIGN KEY (model_id, model_version)
        REFERENCES model_versions ON DELETE CASCADE
);
CREATE INDEX windows_open ON windows (window_end) WHERE closed_at IS NULL;
CREATE INDEX windows_uncomputed ON windows (model_id, model_version, window_start) WHERE seq > computed_seq;
CREATE INDEX windows_failed ON windows (failed_at) WHERE failed_at IS NOT NULL;
CREATE INDEX windows_not_final ON windows (closed_at) WHERE final_at IS NULL;

-- A version's own event time, and the append time of the last record that counted for it.
CREATE TABLE version_clocks (
    model_id      text        NOT NULL,
    model_version text        NOT NULL,
    event_time    timestamptz NOT NULL,
    last_append   timestamptz NOT NULL,
    CONSTRAINT version_clocks_pkey PRIMARY KEY (model_id, model_version),
    CONSTRAINT version_clocks_version_fkey FOREIGN KEY (model_id, model_version)
        REFERENCES model_versions ON DELETE CASCADE
) WITH (fillfactor = 50);

-- Everything appended to a partition up to append_time has been consumed.
CREATE TABLE partition_clocks (
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    append_time timestamptz NOT NULL,
    CONSTRAINT partition_clocks_pkey PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE profile_parts (
    topic         text        NOT NULL,
    partition     integer     NOT NULL,
    first_offset  bigint      NOT NULL,
    model_id      text        NOT NULL,
    model_version text        NOT NULL,
    window_start  timestamptz NOT NULL,
    grid_id       text        NOT NULL,
    row_count     bigint      NOT NULL,
    payload       bytea,                          -- dropped once merged into the window's profile
    ids           bytea,                          -- 64-bit hashes; dropped when the window is final
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT profile_parts_pkey
        PRIMARY KEY (topic, partition, first_offset, model_id, model_version, window_start)
) PARTITION BY RANGE (window_start);
CREATE INDEX profile_parts_window ON profile_parts (model_id, model_version, window_start);
ALTER TABLE profile_parts ALTER payload SET STORAGE EXTERNAL, ALTER ids SET STORAGE EXTERNAL;
CREATE TABLE profile_parts_default PARTITION OF profile_parts DEFAULT;
ALTER TABLE profile_parts_default ALTER payload SET STORAGE EXTERNAL, ALTER ids SET STORAGE EXTERNAL;

CREATE TABLE profiles (
    model_id      text        NOT NULL,
    model_version text        NOT NULL,
    segment       text        NOT NULL,           -- '' is everything, else 'country=DE'
    window_start  timestamptz NOT NULL,
    grid_id       text        NOT NULL,
    row_count     bigint      NOT NULL,
    n_eff         real        NOT NULL,
    payload       bytea,                          -- the full grid; dropped before the coarse one
    coarse        bytea,
    computed_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT profiles_pkey PRIMARY KEY (model_id, model_version, segment, window_start)
) PARTITION BY RANGE (window_start);
ALTER TABLE profiles ALTER payload SET STORAGE EXTERNAL, ALTER coarse SET STORAGE EXTERNAL;
CREATE INDEX profiles_full ON profiles (window_start) WHERE payload IS NOT NULL;
CREATE TABLE profiles_default PARTITION OF profiles DEFAULT;
ALTER TABLE profiles_default ALTER payload SET STORAGE EXTERNAL, ALTER coarse SET STORAGE EXTERNAL;

-- Files of the sample lake, registered in the transaction of their parts.
CREATE TABLE sample_files (
    path          text        NOT NULL CONSTRAINT sample_files_pkey PRIMARY KEY,
    model_id      text        NOT NULL,
    model_version text        NOT NULL,
    topic         text        NOT NULL,
    partition     integer     NOT NULL,
    first_offset  bigint      NOT NULL,
    last_offset   bigint      NOT NULL,
    row_count     bigint      NOT NULL,
    min_event     timestamptz NOT NULL,
    max_event     timestamptz NOT NULL,
    status        text        NOT NULL
                  CONSTRAINT sample_files_status CHECK (status IN ('profiled', 'no_reference', 'missing', 'unreadable')),
    bytes         bigint      NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sample_files_model ON sample_files (model_id, model_version, min_event);
CREATE INDEX sample_files_waiting ON sample_files (model_id, model_version) WHERE status = 'no_reference';
CREATE INDEX sample_files_missing ON sample_files (topic, partition) WHERE status = 'missing';
CREATE INDEX sample_files_created_at ON sample_files (created_at);
