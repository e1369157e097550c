"""The commands: each reads its topology, does its work and hands a result to the shell for printing.

Everything heavy (redis-py, asyncio, rich, yaml) is imported where it is used, so that a command pays
only for what it needs.
"""

from collections.abc import Callable
from typing import TypeAlias

from clusterboot.commands.connect import Reach
from clusterboot.commands.down import down, ls
from clusterboot.commands.plan import plan, validate
from clusterboot.commands.status import status
from clusterboot.commands.up import UpOptions, up
from clusterboot.errors import Exit

__all__ = ["Reach", "UpOptions", "Work", "down", "ls", "plan", "status", "up", "validate"]

Work: TypeAlias = Callable[[], Exit]
