"""Comparing two datasets: `compare` gives a `Report`, which prints, and turns into JSON, frames and pages."""
