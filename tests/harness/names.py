"""clusterboot with host names of our own: `python -m tests.harness.names '{"a.test": ["127.0.0.1"]}' ls`.

What is replaced is the resolver's answer for these names alone, at the place where Python asks the
system; everything above it is the real thing. An empty list is a name that does not exist.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.harness.cli import Outcome
from tests.harness.cli import clusterboot as run


def clusterboot(hosts: Mapping[str, Sequence[str]], *args: str | Path) -> Outcome:
    """Run clusterboot to its end where the names in `hosts` have these addresses, in this order."""
    return run(json.dumps(hosts), *args, module="tests.harness.names")


def _answer_for(hosts: Mapping[str, Sequence[str]]) -> None:
    system = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if host not in hosts:
            return system(host, *args, **options)
        if not hosts[host]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [info for ip in hosts[host] for info in system(ip, *args, **options)]

    socket.getaddrinfo = getaddrinfo


if __name__ == "__main__":
    from clusterboot.__main__ import main

    _answer_for(json.loads(sys.argv[1]))
    del sys.argv[1]
    main()
