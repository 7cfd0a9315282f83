"""Actions: what may be done about an alert, one file per provider, each a pure request and a thin send."""
