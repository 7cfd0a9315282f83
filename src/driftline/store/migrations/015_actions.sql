-- Actions: what alerts proposed, who approved it, and what became of it.

CREATE TABLE action_runs (
    run_id          uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT action_runs_pkey PRIMARY KEY,
    action          text        NOT NULL,                -- its name in the settings
    model_id        text        NOT NULL,                -- or driftline itself; runs outlive their model
    model_version   text        NOT NULL,
    status          text        NOT NULL DEFAULT 'proposed'
                    CONSTRAINT action_runs_status CHECK (status IN (
                        'proposed', 'blocked', 'waiting_for_approval', 'approved', 'starting', 'running',
                        'succeeded', 'failed', 'rejected', 'expired', 'dry_run')),
    reason          text        NOT NULL DEFAULT '',     -- why it stands there
    retrains        boolean     NOT NULL DEFAULT false,  -- a new version with its reference ends it
    proposed_at     timestamptz NOT NULL,
    changed_at      timestamptz NOT NULL,                -- when its status last changed
    due_at          timestamptz,                         -- when a worker looks at it again; NULL once it has ended
    claim           bigint      NOT NULL DEFAULT 0,      -- rises with every change: who comes late changes nothing
    approve_before  timestamptz,
    decided_by      text,                                -- who approved or rejected it
    decided_at      timestamptz,
    comment         text        NOT NULL DEFAULT '',
    starts          integer     NOT NULL DEFAULT 0,      -- how often the provider was asked to start it
    answered        boolean     NOT NULL DEFAULT true,   -- whether it is known what became of the last of them
    maybe_repeated  integer     NOT NULL DEFAULT 0,      -- starts after one whose answer is not known
    started_at      timestamptz,                         -- the first of them: cooldown and budgets count these
    ended_at        timestamptz,
    request         jsonb,                               -- what the provider is asked, the same in every start
    external_id     text        NOT NULL DEFAULT '',     -- what the provider calls it
    detail          text        NOT NULL DEFAULT '',     -- what the provider said last
    result          jsonb,                               -- what the callback said
    retrained_as    text,                                -- the version that it led to
    news            integer     NOT NULL DEFAULT 1,      -- changes that its alerts do not say yet
    CONSTRAINT action_runs_started CHECK (started_at IS NOT NULL OR status NOT IN ('starting', 'running', 'succeeded'))
);
-- One open run per action and model.
CREATE UNIQUE INDEX action_runs_open ON action_runs (action, model_id)
    WHERE status IN ('proposed', 'blocked', 'waiting_for_approval', 'approved', 'starting', 'running');
CREATE INDEX action_runs_due ON action_runs (action, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX action_runs_starts ON action_runs (action, started_at) WHERE started_at IS NOT NULL;
CREATE INDEX action_runs_retraining ON action_runs (model_id)
    WHERE retrains AND started_at IS NOT NULL AND retrained_as IS NULL;
CREATE INDEX action_runs_listed ON action_runs (proposed_at, run_id);
CREATE INDEX action_runs_model ON action_runs (model_id, proposed_at);
CREATE INDEX action_runs_news ON action_runs (changed_at) WHERE news > 0;

-- The alerts that led to a run: each has a run of an action at most once.
CREATE TABLE action_run_alerts (
    action   text   NOT NULL,
    alert_id bigint NOT NULL CONSTRAINT action_run_alerts_alert_fkey REFERENCES drift_alerts ON DELETE CASCADE,
    run_id   uuid   NOT NULL CONSTRAINT action_run_alerts_run_fkey REFERENCES action_runs ON DELETE CASCADE,
    CONSTRAINT action_run_alerts_pkey PRIMARY KEY (alert_id, action)
);
CREATE INDEX action_run_alerts_run ON action_run_alerts (run_id);
