"""Run clusterboot as `python -m clusterboot`, and the entry point of the command."""

from __future__ import annotations


def main() -> None:
    """Run the command line; see `clusterboot.cli`."""
    from clusterboot.cli import main as run

    run()


if __name__ == "__main__":
    main()
