"""How long clusterboot takes and what it costs: `python -m benchmarks --help`. Not part of the package."""
