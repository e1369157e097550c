"""Joins running Redis or Valkey nodes into a cluster."""

__version__ = "0.1.0"
