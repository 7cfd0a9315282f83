-- Labels: sampled predictions wait for them, each label finds its prediction, and the windows of both are marked.

-- Whoever joins labels of a model holds its row, so that a label and its prediction cannot miss one another.
CREATE TABLE joined_models (
    model_no  integer GENERATED ALWAYS AS IDENTITY CONSTRAINT joined_models_pkey PRIMARY KEY,
    model_id  text    NOT NULL CONSTRAINT joined_models_model_id UNIQUE,
    -- Some prediction was made at another time than its id (UUIDv7) says: labels are looked for on all days.
    scattered boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

CREATE TABLE joined_versions (
    version_no    integer GENERATED ALWAYS AS IDENTITY CONSTRAINT joined_versions_pkey PRIMARY KEY,
    model_no      integer NOT NULL CONSTRAINT joined_versions_model_fkey REFERENCES joined_models ON DELETE CASCADE,
    model_version text    NOT NULL,
    CONSTRAINT joined_versions_name UNIQUE (model_no, model_version)
);

CREATE TABLE class_codes (
    model_no integer NOT NULL CONSTRAINT class_codes_model_fkey REFERENCES joined_models ON DELETE CASCADE,
    code     integer NOT NULL,
    class    text    NOT NULL,
    CONSTRAINT class_codes_pkey PRIMARY KEY (model_no, code),
    CONSTRAINT class_codes_class UNIQUE (model_no, class)
);

-- Combinations of the values of a version's segment columns, in the order of its schema; NULL is missing.
CREATE TABLE segment_codes (
    version_no integer NOT NULL CONSTRAINT segment_codes_version_fkey REFERENCES joined_versions ON DELETE CASCADE,
    code       integer NOT NULL,
    segments   text[]  NOT NULL,
    CONSTRAINT segment_codes_pkey PRIMARY KEY (version_no, code)
);

-- Windows of prediction time; `seq` counts what changed their pairs, `computed_seq` is what was computed from.
CREATE TABLE performance_windows (
    window_id      integer     GENERATED ALWAYS AS IDENTITY CONSTRAINT performance_windows_pkey PRIMARY KEY,
    version_no     integer     NOT NULL
                   CONSTRAINT performance_windows_version_fkey REFERENCES joined_versions ON DELETE CASCADE,
    window_start   timestamptz NOT NULL,
    window_end     timestamptz NOT NULL,
    row_count      bigint      NOT NULL,               -- predictions
    weight         bigint      NOT NULL,
    labeled_count  bigint      NOT NULL DEFAULT 0,
    labeled_weight bigint      NOT NULL DEFAULT 0,     -- sampling weight of labelled predictions
    seq            bigint      NOT NULL DEFAULT 0,
    computed_seq   bigint      NOT NULL DEFAULT 0,
    computed_at    timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    expired_at     timestamptz,                        -- when max_label_delay was over
    expiry_label   float8,                             -- what predictions without a label have had since then
    CONSTRAINT performance_windows_start UNIQUE (version_no, window_start)
) WITH (fillfactor = 50);
CREATE INDEX performance_windows_uncomputed ON performance_windows (window_end) WHERE seq > computed_seq;
CREATE INDEX performance_windows_unexpired ON performance_windows (window_end) WHERE expired_at IS NULL;

-- One row per sampled prediction, and its label once it is known. The widest columns come first: no byte is lost.
CREATE TABLE predictions (
    predicted_at timestamptz NOT NULL,
    score        float8,
    value        float8,                               -- regression and ranking
    window_id    integer     NOT NULL,
    weight       integer     NOT NULL,
    class_code   integer,
    segment_code integer,
    key          uuid        NOT NULL,                 -- the id if it is a UUID, else a hash; or the entity's
    id_hash      bigint,                               -- where the key is the entity's
    group_hash   bigint,                               -- of the list, for rankings
    scores       float8[],
    label        float8,                               -- class code or number
    label_weight float8,
    known_at     timestamptz,                          -- of the label, or of its withdrawal
    first_known_at timestamptz                         -- of the first label
) PARTITION BY RANGE (predicted_at);
CREATE INDEX predictions_key ON predictions (key);
CREATE INDEX predictions_window ON predictions (window_id);
CREATE TABLE predictions_default PARTITION OF predictions DEFAULT;

-- Labels whose prediction has not come. Those of entities stay here: a nearer prediction may still come.
CREATE TABLE waiting_labels (
    model_no  integer     NOT NULL CONSTRAINT waiting_labels_model_fkey REFERENCES joined_models ON DELETE CASCADE,
    key       uuid        NOT NULL,
    label_at  timestamptz NOT NULL DEFAULT '-infinity',  -- of entities: newest prediction up to here
    dated     boolean     NOT NULL DEFAULT false,        -- whether the label said so, or it is when it became known
    label     float8,                                    -- NULL: withdrawn
    weight    float8      NOT NULL,
    known_at  timestamptz NOT NULL,
    waits_from timestamptz NOT NULL,
    joined    boolean     NOT NULL DEFAULT false,        -- an entity's label that some prediction has
    CONSTRAINT waiting_labels_pkey PRIMARY KEY (model_no, key, label_at)
);
CREATE INDEX waiting_labels_age ON waiting_labels (model_no, waits_from);

-- What a label was before it was corrected, and corrections that came too late to count.
CREATE TABLE label_history (
    model_no  integer     NOT NULL CONSTRAINT label_history_model_fkey REFERENCES joined_models ON DELETE CASCADE,
    key       uuid        NOT NULL,
    label     float8,                                  -- NULL: withdrawn
    weight    float8      NOT NULL,
    known_at  timestamptz NOT NULL,
    noted_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX label_history_key ON label_history (model_no, key);
CREATE INDEX label_history_noted_at ON label_history (noted_at);

-- What became of labels: all of a model ('') and those of one import.
CREATE TABLE label_counts (
    model_no   integer NOT NULL CONSTRAINT label_counts_model_fkey REFERENCES joined_models ON DELETE CASCADE,
    import_id  text    NOT NULL DEFAULT '',
    joined     bigint  NOT NULL DEFAULT 0,             -- first label of a prediction
    corrected  bigint  NOT NULL DEFAULT 0,
    withdrawn  bigint  NOT NULL DEFAULT 0,
    superseded bigint  NOT NULL DEFAULT 0,             -- known earlier than the label in force
    duplicate  bigint  NOT NULL DEFAULT 0,
    waiting    bigint  NOT NULL DEFAULT 0,             -- no prediction when it came
    unmatched  bigint  NOT NULL DEFAULT 0,             -- waited in vain
    late       bigint  NOT NULL DEFAULT 0,             -- of those above, known after max_label_delay
    refused    bigint  NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT label_counts_pkey PRIMARY KEY (model_no, import_id)
) WITH (fillfactor = 50);

-- Labels of an import that were taken in: it is done once so many have been counted in label_counts.
CREATE TABLE label_imports (
    model_id    text        NOT NULL CONSTRAINT label_imports_model_fkey REFERENCES models ON DELETE CASCADE,
    import_id   text        NOT NULL,
    accepted    bigint      NOT NULL,
    not_sampled bigint      NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT label_imports_pkey PRIMARY KEY (model_id, import_id)
) WITH (fillfactor = 50);

CREATE VIEW labeled_predictions AS
SELECT m.model_id, v.model_version, p.key AS prediction_key, p.predicted_at, w.window_start, w.window_end,
       predicted.class AS predicted_class, p.value AS predicted_value, p.score, p.scores, s.segments,
       truth.class AS label_class,
       CASE WHEN truth.class IS NULL THEN coalesce(p.label, w.expiry_label) END AS label_value,
       p.label IS NULL AS label_on_expiry,
       CASE WHEN p.label IS NOT NULL THEN p.known_at END AS known_at, p.first_known_at,
       p.weight AS sampling_weight, coalesce(p.label_weight, 1) AS label_weight
FROM predictions p
JOIN performance_windows w USING (window_id)
JOIN joined_versions v USING (version_no)
JOIN joined_models m USING (model_no)
LEFT JOIN class_codes predicted ON predicted.model_no = m.model_no AND predicted.code = p.class_code
LEFT JOIN class_codes truth ON truth.model_no = m.model_no AND p.class_code IS NOT NULL
          AND truth.code = coalesce(p.label, w.expiry_label)
LEFT JOIN segment_codes s ON s.version_no = v.version_no AND s.code = p.segment_code
WHERE coalesce(p.label, w.expiry_label) IS NOT NULL;
