"""Throwaway clusters: servers on free ports, one cluster, gone with the process that wanted it."""
