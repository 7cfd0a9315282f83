"""The loops: each takes work from the log or the database, does it with the core, and writes the result.

    sampler      prediction_logs → a sample in prediction_samples
    profiler     prediction_samples → profile parts + sample lake
    monitor      parts → windows, profiles, drift
    watch        windows without rows, parts of driftline that are behind → alerts
    maintenance  partitions, retention, orphans

Every worker may be killed at any instant: what it wrote and how far it had come are one transaction.
"""
