"""The destinations of notices: one file each, with a pure payload and a thin send."""
