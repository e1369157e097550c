"""Topology files: YAML text in, a frozen `Topology` out, or every problem of the file.

    text ─ document ─▶ values + places ─ validate ─▶ form ─ nodes ─▶ drafts ─ rules ─▶ Topology

Parsers are imported on the first call: the types alone load no yaml and no pydantic.
May import: addresses, errors, slots, wording.
"""

from __future__ import annotations

from clusterboot.topology.model import MAX_NODES as MAX_NODES
from clusterboot.topology.model import OWN_SETTINGS as OWN_SETTINGS
from clusterboot.topology.model import Announce as Announce
from clusterboot.topology.model import Auth as Auth
from clusterboot.topology.model import Credential as Credential
from clusterboot.topology.model import Node as Node
from clusterboot.topology.model import Retire as Retire
from clusterboot.topology.model import Role as Role
from clusterboot.topology.model import Secret as Secret
from clusterboot.topology.model import Servers as Servers
from clusterboot.topology.model import Strategy as Strategy
from clusterboot.topology.model import Tls as Tls
from clusterboot.topology.model import Topology as Topology


def decode(data: bytes, file: str) -> str:
    """Return the text of a topology file from its bytes, without a UTF-8 byte order mark.

    `file` is only named in problems. Raises TopologyError for more than 1 MiB and for text that is not UTF-8.
    """
    from clusterboot.topology.text import decode

    return decode(data, file)


def load(text: str, file: str) -> Topology:
    """Return the checked topology that `text` describes, with ranges expanded and defaults filled in.

    `file` is named in problems, and relative paths (`tls.*`, `password_file`) start at its folder; no file is
    read. Raises TopologyError with every problem of shape, or else of meaning, in the order of the file.
    """
    from clusterboot.topology.loader import load

    return load(text, file)
