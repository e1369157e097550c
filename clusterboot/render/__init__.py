"""All output: results, problems and progress as text, JSON and a shell script.

Text functions print to a given rich `Console`. This package, `json` and `script` do not import rich.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from clusterboot.render import github, json, live, page, plan_text, problems, script, text, workflow

__all__ = ["github", "json", "live", "page", "plan_text", "problems", "script", "text", "workflow"]


def __getattr__(name: str) -> ModuleType:
    """Import a module of this package when it is used: a command needs either JSON or text."""
    if name not in __all__:
        raise AttributeError(name)
    return import_module(f"{__name__}.{name}")
