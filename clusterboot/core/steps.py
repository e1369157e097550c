"""Every kind of step that a plan can have, as frozen data. Pure.

`loop/act` has the command of each kind but MoveSlots, which takes many, `render/words` the name; a test fails
where a kind has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clusterboot.slots import Slots


@dataclass(frozen=True, slots=True)
class SetEpoch:
    """Give `node` its config epoch: primaries with equal epochs would have to change them later."""

    node: str
    epoch: int
    kind: ClassVar[str] = "epoch"


@dataclass(frozen=True, slots=True)
class AddSlots:
    """Let `node` serve `slots`, which no node serves yet."""

    node: str
    slots: Slots
    kind: ClassVar[str] = "slots"


@dataclass(frozen=True, slots=True)
class Meet:
    """Let `node` meet `peer` at `host`:`port`; `bus_port` is None for the default, port + 10000.

    `host` is numeric when the plan was made from views, and what the file says otherwise.
    """

    node: str
    peer: str
    host: str
    port: int
    bus_port: int | None = None
    kind: ClassVar[str] = "meet"


@dataclass(frozen=True, slots=True)
class Replicate:
    """Let `node` replicate `primary` (a node name)."""

    node: str
    primary: str
    kind: ClassVar[str] = "replicate"


@dataclass(frozen=True, slots=True)
class Failover:
    """Let `node`, a replica in sync, take the place of its primary `peer`."""

    node: str
    peer: str
    kind: ClassVar[str] = "failover"


@dataclass(frozen=True, slots=True)
class MoveSlots:
    """Move `slots` and their keys from `node`, which serves them, to the primary `peer`."""

    node: str
    peer: str
    slots: Slots
    kind: ClassVar[str] = "slots-move"


@dataclass(frozen=True, slots=True)
class Forget:
    """Let `node` forget the member `peer` (its name, or its id where it has none), which has the id `id`."""

    node: str
    peer: str
    id: str
    kind: ClassVar[str] = "forget"


@dataclass(frozen=True, slots=True)
class Reset:
    """Make `node`, which no member knows any more, a standalone node; `id` is its id as a member."""

    node: str
    id: str
    kind: ClassVar[str] = "reset"


Single = SetEpoch | AddSlots | Meet | Replicate | Failover | Forget | Reset
"""A step that is one command."""

Step = Single | MoveSlots
