"""clusterboot with something put in its way: a driver for tests of how a command ends.

    python -m tests.servers.broken defect|missing|SIGINT|SIGTERM ARGUMENT…

Whatever reads topology files, and whatever lists spawned clusters, raises an exception that nobody
expects, or gets a signal at that very moment.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import NoReturn

import clusterboot.disk.topology_file
import clusterboot.local.spawned
from clusterboot.cli.main import main


def install(what: str) -> None:
    def end(*_: object) -> NoReturn:
        if what not in ("defect", "missing"):
            os.kill(os.getpid(), signal.Signals[what])
            time.sleep(30)
        if what == "missing":
            raise ModuleNotFoundError("No module named 'yaml'", name="yaml")
        raise RuntimeError("a defect")

    clusterboot.disk.topology_file.read = end  # type: ignore[assignment]
    clusterboot.local.spawned.spawned_clusters = end


if __name__ == "__main__":
    install(sys.argv[1])
    main(sys.argv[2:])
