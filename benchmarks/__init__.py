"""Benchmarks of time and cost: `python -m benchmarks --help`. Not part of the package."""
