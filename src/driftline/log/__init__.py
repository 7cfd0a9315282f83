"""The durable log: what travels on it (the wire formats), and where it is kept."""
