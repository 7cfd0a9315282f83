-- Notices: who must not be told for now, what each destination was told, what is on its way, and why nothing was sent.

CREATE TABLE silences (
    silence_id bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT silences_pkey PRIMARY KEY,
    matcher    jsonb       NOT NULL,                    -- field: name or glob; all of them must match
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    author     text        NOT NULL,
    comment    text        NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT silences_last CHECK (ends_at >= starts_at)
);
CREATE INDEX silences_end ON silences (ends_at);

-- What a destination was told of an incident.
CREATE TABLE incident_destinations (
    incident_id     bigint        NOT NULL CONSTRAINT incident_destinations_incident_fkey
                                  REFERENCES incidents ON DELETE CASCADE,
    destination     text          NOT NULL,
    severity        text          NOT NULL,             -- the worst it was told
    alert_ids       bigint[]      NOT NULL,             -- the alerts it was told of, each once …
    alerts_told_at  timestamptz[] NOT NULL,             -- … and when
    told_at         timestamptz   NOT NULL,             -- when it was last told that something fires
    acknowledged_at timestamptz,                        -- the acknowledgement that it was told of
    escalated_ids   bigint[]      NOT NULL,             -- the alerts it was told of since nobody acknowledged them
    resolved_at     timestamptz,                        -- when it was told that all that concerned it is over
    CONSTRAINT incident_destinations_pkey PRIMARY KEY (incident_id, destination)
);

-- Notices on their way, and those that have arrived.
CREATE TABLE deliveries (
    delivery_id     uuid        NOT NULL CONSTRAINT deliveries_pkey PRIMARY KEY,  -- version 7
    incident_id     bigint      NOT NULL CONSTRAINT deliveries_incident_fkey
                                REFERENCES incidents ON DELETE CASCADE,
    destination     text        NOT NULL,
    kind            text        NOT NULL,
    notice          jsonb       NOT NULL,
    status          text        NOT NULL DEFAULT 'pending'
                    CONSTRAINT deliveries_status
                    CHECK (status IN ('pending', 'sent', 'skipped', 'refused', 'expired')),
    attempts        integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL,
    next_attempt_at timestamptz NOT NULL,
    sending_since   timestamptz,                        -- an attempt began, and has not been recorded
    maybe_repeated  integer     NOT NULL DEFAULT 0,     -- attempts after one of which nothing was recorded
    sent_at         timestamptz,
    detail          text        NOT NULL DEFAULT '',    -- what the provider said last
    reference       text        NOT NULL DEFAULT ''     -- what the provider calls what was made
);
CREATE INDEX deliveries_pending ON deliveries (destination, next_attempt_at) WHERE status = 'pending';
CREATE INDEX deliveries_incident ON deliveries (incident_id, destination, created_at, delivery_id);
CREATE INDEX deliveries_created ON deliveries (created_at);

-- Why something was or was not sent: a row when that has changed.
CREATE TABLE decisions (
    decision_id bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT decisions_pkey PRIMARY KEY,
    incident_id bigint      NOT NULL CONSTRAINT decisions_incident_fkey REFERENCES incidents ON DELETE CASCADE,
    alert_id    bigint      CONSTRAINT decisions_alert_fkey REFERENCES drift_alerts ON DELETE CASCADE,
                                                        -- none: of the incident as a whole
    destination text        NOT NULL,                   -- '' where there is none
    outcome     text        NOT NULL,                   -- the kind of the notice, or the reason why there is none
    detail      text        NOT NULL,
    at          timestamptz NOT NULL
);
CREATE INDEX decisions_subject ON decisions (incident_id, destination, alert_id, decision_id);
CREATE INDEX decisions_alert ON decisions (alert_id) WHERE alert_id IS NOT NULL;
