"""The pure part: schemas, grids, profiles and drift. No I/O, no clock, no environment, no logging."""
