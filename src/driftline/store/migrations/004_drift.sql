-- Drift: one row per window with parallel arrays, one element per feature in profile order; NaN is not defined.

CREATE TABLE drift_windows (
    model_id        text        NOT NULL,
    model_version   text        NOT NULL,
    segment         text        NOT NULL,
    reference_kind  text        NOT NULL,
    window_start    timestamptz NOT NULL,
    step_seconds    integer     NOT NULL,
    window_end      timestamptz NOT NULL,
    pool_start      timestamptz NOT NULL,
    grid_id         text        NOT NULL,
    status          text        NOT NULL,
    partial         boolean     NOT NULL,
    row_count       bigint      NOT NULL,
    n_eff           real        NOT NULL,
    computed_at     timestamptz NOT NULL DEFAULT now(),
    psi_score       real[]      NOT NULL,
    psi_raw         real[]      NOT NULL,
    psi_pvalue      real[]      NOT NULL,
    ks_statistic    real[]      NOT NULL,
    ks_pvalue       real[]      NOT NULL,
    chi2_statistic  real[]      NOT NULL,
    chi2_pvalue     real[]      NOT NULL,
    js              real[]      NOT NULL,
    kl              real[]      NOT NULL,
    linf            real[]      NOT NULL,
    wasserstein     real[]      NOT NULL,
    missing_rate    real[]      NOT NULL,
    infinite_rate   real[]      NOT NULL,
    out_of_range_rate real[]    NOT NULL,
    never_seen_rate real[]      NOT NULL,
    pvalue          real[]      NOT NULL,
    qvalue          real[]      NOT NULL,
    mean            float8[]    NOT NULL,
    std             float8[]    NOT NULL,
    p1              float8[]    NOT NULL,
    p5              float8[]    NOT NULL,
    p25             float8[]    NOT NULL,
    p50             float8[]    NOT NULL,
    p75             float8[]    NOT NULL,
    p95             float8[]    NOT NULL,
    p99             float8[]    NOT NULL,
    sample_count    bigint[]    NOT NULL,
    level           smallint[]  NOT NULL,  -- 0 none, 1 moderate, 2 large
    drifted         boolean[]   NOT NULL,
    feature_status  text[]      NOT NULL,
    CONSTRAINT drift_windows_pkey
        PRIMARY KEY (model_id, model_version, segment, reference_kind, step_seconds, window_start)
) PARTITION BY RANGE (window_start);
CREATE INDEX drift_windows_computed_at ON drift_windows (computed_at);  -- how fresh the newest result is
CREATE TABLE drift_windows_default PARTITION OF drift_windows DEFAULT;
-- What charts read most lies in the row itself: one feature over 90 days is then one page a window, not fifteen.
ALTER TABLE drift_windows
    ALTER psi_score SET STORAGE MAIN, ALTER ks_statistic SET STORAGE MAIN, ALTER ks_pvalue SET STORAGE MAIN,
    ALTER sample_count SET STORAGE MAIN, ALTER level SET STORAGE MAIN, ALTER drifted SET STORAGE MAIN,
    ALTER feature_status SET STORAGE MAIN;

CREATE VIEW drift_metrics AS
SELECT d.model_id, d.model_version, d.segment, d.reference_kind, f.feature_name,
       d.window_start, d.window_end, d.step_seconds, d.partial, d.computed_at,
       f.psi_score, f.psi_raw, f.psi_pvalue, f.ks_statistic, f.ks_pvalue, f.chi2_statistic, f.chi2_pvalue,
       f.js, f.kl, f.linf, f.wasserstein, f.mean, f.std, f.p1, f.p5, f.p25, f.p50, f.p75, f.p95, f.p99,
       f.missing_rate, f.infinite_rate, f.out_of_range_rate, f.never_seen_rate, f.pvalue, f.qvalue,
       f.sample_count, f.level, f.drifted, f.status
FROM drift_windows d
JOIN model_versions v USING (model_id, model_version)
CROSS JOIN LATERAL unnest(
       v.feature_names,
       d.psi_score, d.psi_raw, d.psi_pvalue, d.ks_statistic, d.ks_pvalue, d.chi2_statistic, d.chi2_pvalue,
       d.js, d.kl, d.linf, d.wasserstein, d.mean, d.std, d.p1, d.p5, d.p25, d.p50, d.p75, d.p95, d.p99,
       d.missing_rate, d.infinite_rate, d.out_of_range_rate, d.never_seen_rate, d.pvalue, d.qvalue,
       d.sample_count, d.level, d.drifted, d.feature_status
     ) AS f(feature_name,
       psi_score, psi_raw, psi_pvalue, ks_statistic, ks_pvalue, chi2_statistic, chi2_pvalue,
       js, kl, linf, wasserstein, mean, std, p1, p5, p25, p50, p75, p95, p99,
       missing_rate, infinite_rate, out_of_range_rate, never_seen_rate, pvalue, qvalue,
       sample_count, level, drifted, status);
