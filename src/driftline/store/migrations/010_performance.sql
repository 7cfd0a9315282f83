-- Performance: one row per window and segment with parallel arrays, one element per metric; NaN is not defined.

CREATE TABLE performance_results (
    model_id         text        NOT NULL,
    model_version    text        NOT NULL,
    segment          text        NOT NULL,           -- '' is everything, else 'country=DE'
    window_start     timestamptz NOT NULL,
    window_end       timestamptz NOT NULL,
    row_count        bigint      NOT NULL,           -- predictions
    labeled_count    bigint      NOT NULL,           -- of them with a label
    n_eff            float8      NOT NULL,           -- independent rows that the labelled ones are worth
    coverage         float8      NOT NULL,           -- share of the predictions that has a label
    maturity         float8      NOT NULL,           -- share of its labels that should have come; NaN: not known
    metrics          text[]      NOT NULL,
    value            float8[]    NOT NULL,
    lower            float8[]    NOT NULL,
    upper            float8[]    NOT NULL,
    metric_status    text[]      NOT NULL,
    estimate         float8[]    NOT NULL,
    estimate_lower   float8[]    NOT NULL,
    estimate_upper   float8[]    NOT NULL,
    estimate_status  text[]      NOT NULL,
    verdict          text[]      NOT NULL,           -- of the metric, against what it was on the reference's windows
    estimate_verdict text[]      NOT NULL,           -- of the estimate, before the labels came
    confirmation     text[]      NOT NULL,           -- what the labels say of the estimate's verdict
    proxies          jsonb       NOT NULL,           -- verdicts of confidence and class ratio, and what labels say
    computed_at      timestamptz NOT NULL,
    CONSTRAINT performance_results_pkey PRIMARY KEY (model_id, model_version, segment, window_start)
) PARTITION BY RANGE (window_start);
CREATE TABLE performance_results_default PARTITION OF performance_results DEFAULT;

CREATE VIEW performance_metrics AS
SELECT r.model_id, r.model_version, r.segment, r.window_start, r.window_end, m.metric, m.value, m.lower, m.upper,
       m.status, m.estimate, m.estimate_lower, m.estimate_upper, m.estimate_status, m.verdict,
       m.estimate_verdict, m.confirmation,
       r.labeled_count AS sample_count, r.row_count, r.n_eff, r.coverage, r.maturity, r.computed_at
FROM performance_results r
CROSS JOIN LATERAL unnest(r.metrics, r.value, r.lower, r.upper, r.metric_status, r.estimate, r.estimate_lower,
                          r.estimate_upper, r.estimate_status, r.verdict, r.estimate_verdict, r.confirmation)
     AS m(metric, value, lower, upper, status, estimate, estimate_lower, estimate_upper, estimate_status, verdict,
          estimate_verdict, confirmation);

-- A window is due when its labels have changed, or predictions have come.
ALTER TABLE performance_windows
    ADD computed_rows bigint NOT NULL DEFAULT 0,
    ADD delays        bigint[];                      -- labels by how long they took; see core/maturity.py
DROP INDEX performance_windows_uncomputed;
CREATE INDEX performance_windows_uncomputed ON performance_windows (window_end)
    WHERE seq > computed_seq OR row_count <> computed_rows;
