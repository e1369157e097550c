"""Topology files: YAML text in, a frozen `Topology` out, or every problem of the file at once.

Everything that other modules need is here and in `model`. Parsing is imported on the first call, so
that commands which only need the types do not pay for yaml and pydantic.

    text ─ document ─▶ values + where they stand ─ shape ─▶ forms ─ expand ─▶ nodes ─ check ─▶ Topology
"""

from __future__ import annotations

from typing import Any

from clusterboot.topology.model import (
    MAX_NODES,
    Announce,
    Auth,
    Node,
    Role,
    Secret,
    Servers,
    Strategy,
    Tls,
    Topology,
)

__all__ = [
    "MAX_NODES",
    "Announce",
    "Auth",
    "Node",
    "Role",
    "Secret",
    "Servers",
    "Strategy",
    "Tls",
    "Topology",
    "decode",
    "json_schema",
    "load",
]


def decode(data: bytes, file: str) -> str:
    """Return the text of a topology file from its bytes; a UTF-8 byte order mark is dropped.

    `file` is only named in problems. Raises TopologyError for more than 1 MiB, for text that is not
    UTF-8, and for control characters that no YAML file may hold.
    """
    from clusterboot.topology.text import decode

    return decode(data, file)


def load(text: str, file: str) -> Topology:
    """Return the checked topology that `text` describes, with ranges expanded and defaults filled in.

    `file` is named in problems, and relative paths in the text (`tls.*`, `password_file`) are relative
    to its folder; nothing is read. Raises TopologyError with every problem, in the order of the file.
    """
    from clusterboot.topology.loader import load

    return load(text, file)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a topology file, as docs/topology.schema.json has it."""
    from clusterboot.topology.schema import json_schema

    return json_schema()
