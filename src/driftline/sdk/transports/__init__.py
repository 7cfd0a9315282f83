"""The ways to the receiver: HTTP, Kafka, or files that somebody carries there."""
