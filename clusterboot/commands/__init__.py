"""The commands, one module each: read the topology, do the work, hand a result to the shell for printing.

May import: all rooms but cli and the pytest plugin. redis-py, asyncio, rich and yaml are imported where they
are used, so that a command loads only what it needs.
"""

from clusterboot.commands.connect import ConnectOptions
from clusterboot.commands.down import down
from clusterboot.commands.ls import ls
from clusterboot.commands.plan import plan
from clusterboot.commands.status import status
from clusterboot.commands.up import UpOptions, up
from clusterboot.commands.validate import validate

__all__ = ["ConnectOptions", "UpOptions", "down", "ls", "plan", "status", "up", "validate"]
