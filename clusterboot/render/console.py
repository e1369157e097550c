"""Makes the two consoles that everything is printed to."""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING, cast

from clusterboot.render import workflow

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False, no_color: bool = False) -> Console:
    """Return a console for stdout or stderr.

    With `no_color`, or NO_COLOR set to anything (https://no-color.org), not even bold is written: every
    screen says in words what its colours say.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    plain = no_color or bool(os.environ.get("NO_COLOR"))
    return Console(
        # rich takes the stream at each print where it is given none.
        file=cast("IO[str]", workflow.Defused(stream)) if workflow.active() else None,
        stderr=stderr,
        color_system=None if plain else "auto",
        markup=False,
        emoji=False,
        highlight=False,
    )
