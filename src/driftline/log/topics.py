"""The topics of the log: what they carry and by what they are keyed."""

PREDICTION_LOGS = "prediction_logs"
"""Every prediction, one event per record, keyed by its id; the sampler reads it."""
PREDICTION_SAMPLES = "prediction_samples"
"""Sampled predictions in micro-batches of one model version, keyed by model and version; the profiler reads it."""
LABELS = "labels"
"""Ground truth, keyed by model and join key; the joiner reads it."""
TOPICS = (PREDICTION_LOGS, PREDICTION_SAMPLES, LABELS)
