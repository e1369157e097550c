"""Topology files: YAML text in, a frozen `Topology` out, or every problem of the file.

The types are in `model`. Parsing is imported on the first call: a command that only needs the types
does not load yaml and pydantic. All problems of shape are reported together; without any, all of meaning:

    text ─ document ─▶ values + places ─ validate ─▶ form ─ nodes ─▶ drafts ─ roles, shares ─▶ Topology

May import errors, addresses, slots and wording.
"""

from __future__ import annotations

from typing import Any

from clusterboot.topology.model import (
    MAX_NODES,
    OWN_SETTINGS,
    Announce,
    Auth,
    Credential,
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
    "OWN_SETTINGS",
    "Announce",
    "Auth",
    "Credential",
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

    `file` is only named in problems. Raises TopologyError for more than 1 MiB and for text that is not
    UTF-8.
    """
    from clusterboot.topology.text import decode

    return decode(data, file)


def load(text: str, file: str) -> Topology:
    """Return the checked topology that `text` describes, with ranges expanded and defaults filled in.

    `file` is named in problems, and relative paths in the text (`tls.*`, `password_file`) are relative
    to its folder; nothing is read. Raises TopologyError with every problem of shape or, where there is
    none, every problem of meaning, in the order of the file.
    """
    from clusterboot.topology.loader import load

    return load(text, file)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a topology file, as docs/topology.schema.json has it."""
    from clusterboot.topology.schema import json_schema

    return json_schema()
