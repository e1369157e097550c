"""Free ports for throwaway servers: client ports from 10000 to 22000, each with its bus port.

Services use ports below 10000, outgoing connections those from 32768 on. A free port may be taken later: a
server that finds it taken is started again on another one.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

from clusterboot.addresses import BUS_OFFSET
from clusterboot.errors import Exit, NodeFailed, Problem

HOST = "127.0.0.1"
PORTS = range(10000, 22001)


def free_ports(count: int, taken: Collection[int] = ()) -> list[int]:
    """Return `count` client ports that are free now with their bus ports, none of them in `taken`.

    They are random, so that runs at the same time rarely choose the same. Raises NodeFailed if there are not
    enough.
    """
    used = {*taken, *(port + BUS_OFFSET for port in taken)}
    free: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if used.isdisjoint((port, port + BUS_OFFSET)) and _free(port) and _free(port + BUS_OFFSET):
            free.append(port)
            used |= {port, port + BUS_OFFSET}
        if len(free) == count:
            return free
    raise NodeFailed(
        Problem(
            "no-free-ports",
            f"{HOST} has only {len(free)} of the {count} free ports needed in {PORTS[0]}-{PORTS[-1]}.",
            hint="stop what listens there, or run fewer nodes",
            exit=Exit.NODE,
        )
    )


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: a port with connections in TIME-WAIT can be used.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
