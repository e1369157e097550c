"""Run clusterboot as `python -m clusterboot`, and the entry point of the command."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line; see `clusterboot.cli`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Ctrl-C while the modules are imported ends the process without a traceback; commands catch it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from clusterboot.cli import main as run

    run()


if __name__ == "__main__":
    main()
