"""Make a Redis or Valkey Cluster out of running nodes."""

__version__ = "0.1.0"
