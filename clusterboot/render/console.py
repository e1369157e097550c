"""Makes the two consoles that everything is printed to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False, no_color: bool = False) -> Console:
    """Return a console for stdout or stderr.

    With `no_color`, or NO_COLOR set to anything (https://no-color.org), not even bold is written: every
    screen says in words what its colours say.
    """
    from rich.console import Console

    plain = no_color or bool(os.environ.get("NO_COLOR"))
    return Console(
        stderr=stderr,
        color_system=None if plain else "auto",
        markup=False,
        emoji=False,
        highlight=False,
    )
