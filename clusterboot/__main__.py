"""The entry point of the command, and of `python -m clusterboot`."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line; see `clusterboot.cli.main`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Ctrl-C during the imports ends the process without a traceback. Commands set their own handlers.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from clusterboot.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
