"""The command line: flags and wiring, from the arguments to an exit status.

May import: commands, errors.
"""
