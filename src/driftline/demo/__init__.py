"""The demo: a year of flights out of New York, replayed through the real path."""
