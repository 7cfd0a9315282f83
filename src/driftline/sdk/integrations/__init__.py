"""Where predictions are made: web services, model wrappers, feature stores; each file loads only what it wraps."""
