"""What is read from and written to disk: topology files, passwords, and the records of spawned clusters.

May import: topology, errors.
"""
