-- Alerts: the rules, where each of them stands, what has fired, and the incidents by which people are told.

CREATE TABLE alert_rules (
    rule_id              text        NOT NULL CONSTRAINT alert_rules_pkey PRIMARY KEY,
    model_id             text        NOT NULL,           -- these four are names or globs
    model_version        text        NOT NULL,
    feature_name         text        NOT NULL,           -- '' is the model as a whole
    segment              text        NOT NULL,           -- '' is everything
    reference_kind       text        NOT NULL,
    metric_type          text        NOT NULL,
    comparison           text        NOT NULL,
    measure              text        NOT NULL,
    threshold            float8      NOT NULL,
    band_windows         integer     NOT NULL,
    consecutive_windows  integer     NOT NULL,
    recover_windows      integer     NOT NULL,
    min_samples          float8      NOT NULL,
    min_maturity         float8      NOT NULL,
    require_significance boolean     NOT NULL,
    severity             text        NOT NULL,
    actions              text[]      NOT NULL,
    owner                text        NOT NULL,
    runbook              text        NOT NULL,
    origin               text        NOT NULL
                         CONSTRAINT alert_rules_origin CHECK (origin IN ('preset', 'api', 'file')),
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX alert_rules_model ON alert_rules (model_id);

-- The states of all features under a rule, in a segment of a version; written when they change.
CREATE TABLE alert_states (
    model_id       text  NOT NULL,
    model_version  text  NOT NULL,
    segment        text  NOT NULL,
    rule_id        text  NOT NULL,
    payload        bytea NOT NULL,
    moving         boolean NOT NULL,                     -- the next window may fire or resolve an alert
    CONSTRAINT alert_states_pkey PRIMARY KEY (model_id, model_version, segment, rule_id)
);
CREATE INDEX alert_states_moving ON alert_states (model_id, model_version) WHERE moving;
CREATE INDEX alert_states_rule ON alert_states (rule_id);

-- What people are told about: the open alerts of a model, or of models that share a source. When due, it is looked
-- at: due_at is the job.
CREATE TABLE incidents (
    incident_id     bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT incidents_pkey PRIMARY KEY,
    model_id        text        NOT NULL,                -- of its first alert
    team            text        NOT NULL,
    severity        text        NOT NULL,                -- the worst so far
    opened_at       timestamptz NOT NULL,
    resolved_at     timestamptz,
    due_at          timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    acknowledged_alert_id bigint NOT NULL DEFAULT 0,     -- the newest alert that there was then
    escalations     integer     NOT NULL DEFAULT 0
);
CREATE INDEX incidents_due ON incidents (due_at) WHERE due_at IS NOT NULL;
CREATE UNIQUE INDEX incidents_open ON incidents (model_id) WHERE resolved_at IS NULL;

CREATE TABLE drift_alerts (
    alert_id       bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT drift_alerts_pkey PRIMARY KEY,
    incident_id    bigint      NOT NULL CONSTRAINT drift_alerts_incident_fkey REFERENCES incidents,
    rule_id        text        NOT NULL,
    model_id       text        NOT NULL,
    model_version  text        NOT NULL,
    segment        text        NOT NULL,
    feature_name   text        NOT NULL,
    opened         timestamptz NOT NULL,                 -- the end of the window that fired it
    metric_type    text        NOT NULL,
    metric_value   float8      NOT NULL,
    threshold      float8      NOT NULL,
    severity       text        NOT NULL,
    worst          text        NOT NULL,                 -- the feature that a number of the model is of, else ''
    source         text        NOT NULL,                 -- where the feature comes from, as its schema says
    window_starts  timestamptz[] NOT NULL,               -- the windows that led there, oldest first
    window_ends    timestamptz[] NOT NULL,
    owner          text        NOT NULL,
    runbook        text        NOT NULL,
    actions        text[]      NOT NULL,
    fired_at       timestamptz NOT NULL,
    resolved_at    timestamptz,
    ended          text        NOT NULL DEFAULT '',      -- why, once resolved
    action_taken   text        NOT NULL DEFAULT '',
    -- An alert fires once, however often its window is computed.
    CONSTRAINT drift_alerts_once UNIQUE (model_id, model_version, segment, rule_id, feature_name, opened)
);
CREATE INDEX drift_alerts_incident ON drift_alerts (incident_id);
CREATE INDEX drift_alerts_open ON drift_alerts (model_id) WHERE resolved_at IS NULL;
CREATE INDEX drift_alerts_source ON drift_alerts (source) WHERE resolved_at IS NULL AND source <> '';
CREATE INDEX drift_alerts_fired ON drift_alerts (fired_at, alert_id);

-- Who did what. Rows are added, never changed.
CREATE TABLE audit_trail (
    entry_id bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_trail_pkey PRIMARY KEY,
    at       timestamptz NOT NULL,
    actor    text        NOT NULL,                       -- a person, or driftline
    act      text        NOT NULL,                       -- a verb: acknowledged, approved, started …
    subject  text        NOT NULL,                       -- what it was done to, such as incident/17
    details  jsonb       NOT NULL
);
CREATE INDEX audit_trail_subject ON audit_trail (subject, entry_id);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME;
END $$;
CREATE TRIGGER audit_trail_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_trail
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Rules judge labels once they are mature, and those that do not come change nothing: such a window is looked at again.
ALTER TABLE performance_windows ADD again_at timestamptz;
CREATE INDEX performance_windows_again ON performance_windows (again_at) WHERE again_at IS NOT NULL;
