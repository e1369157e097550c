"""The members under `retire`: ranges expanded, names given, none listed twice or under `nodes` as well."""

from __future__ import annotations

from dataclasses import dataclass

from clusterboot.addresses import Endpoint
from clusterboot.topology.address import AddressError, Pattern, key, reference
from clusterboot.topology.document import Spot
from clusterboot.topology.nodes import Draft, check_size
from clusterboot.topology.report import Problems, quoted
from clusterboot.topology.schema import RetireForm, TopologyForm

_NO_KEYS = RetireForm()  # for addresses and ids in short form, which have no other keys
_TWICE = "list each member once"
_BOTH = "leave it under 'nodes' if it stays, under 'retire' if it leaves"


@dataclass(slots=True, eq=False)
class Leaver:
    """A member before its password is looked at; `host` is empty where the file has only its `id`."""

    name: str
    host: str
    port: int
    bus_port: int | None
    id: str | None
    spot: Spot
    form: RetireForm

    @property
    def key(self) -> tuple[str, int] | None:
        """Equal for all spellings of its address."""
        return key(self.host, self.port) if self.host else None


def expand_retired(form: TopologyForm, spot: Spot, problems: Problems) -> list[Leaver]:
    """Return the members under `retire`, in the order of the file; raises TopologyError for too many."""
    if form.retire and form.slots == "none":
        message = "'retire' has no effect with slots: none, which moves no slots away from a member"
        hint = "leave out 'retire', or use slots: auto"
        problems.add("topology-no-effect", message, spot.keys["retire"], hint=hint)
    counts = (entry.count if isinstance(entry, Pattern) else 1 for entry in form.retire)
    check_size("retire", counts, spot, problems)
    leavers: list[Leaver] = []
    for index, entry in enumerate(form.retire):
        place = spot.at("retire", index)
        if isinstance(entry, str):
            leavers.append(Leaver(entry, "", 0, None, entry, place, _NO_KEYS))
        elif isinstance(entry, RetireForm):
            if _complete(entry, place, problems):
                host, port = entry.host or "", entry.port or 0
                name = entry.name or (str(Endpoint(host, port)) if host else entry.id or "")
                leavers.append(Leaver(name, host, port, entry.bus_port, entry.id, place, entry))
        else:
            try:
                for host, port, bus_port in entry.addresses():
                    name = str(Endpoint(host, port))
                    leavers.append(Leaver(name, host, port, bus_port, None, place, _NO_KEYS))
            except AddressError as error:
                problems.add("topology-invalid-address", str(error), place)
    return leavers


def _complete(form: RetireForm, place: Spot, problems: Problems) -> bool:
    """Whether an entry in long form names a member: by host and port, by its id, or by both."""
    if (form.host is None) != (form.port is None):
        given, missing = ("host", "port") if form.port is None else ("port", "host")
        message = f"this member has '{given}' without '{missing}'; an address needs both"
        problems.add("topology-missing-key", message, place.keys[given])
        return False
    if form.host is None and form.id is None:
        message = "this member has neither 'host' and 'port' nor 'id'"
        problems.add("topology-missing-key", message, place)
        return False
    for name in ("bus_port", "auth"):
        if form.host is None and getattr(form, name) is not None:
            message = f"'{name}' has no effect without 'host' and 'port', which clusterboot connects to"
            problems.add("topology-no-effect", message, place.keys[name], hint=f"leave out '{name}'")
    return True


def check_retired(leavers: list[Leaver], drafts: list[Draft], problems: Problems) -> None:
    """Find members that are listed twice, or that a node that stays has the address or the name of."""
    _check_ids(leavers, problems)
    _check_addresses(leavers, drafts, problems)
    _check_names(leavers, drafts, problems)


def _check_ids(leavers: list[Leaver], problems: Problems) -> None:
    seen: dict[str, Leaver] = {}
    for leaver in leavers:
        first = seen.setdefault(leaver.id, leaver) if leaver.id is not None else leaver
        if first is not leaver:
            message = f"the id {leaver.id} is listed twice, first on line {first.spot.line}"
            problems.add("topology-retire", message, leaver.spot.at("id"), node=leaver.name, hint=_TWICE)


def _check_addresses(leavers: list[Leaver], drafts: list[Draft], problems: Problems) -> None:
    stays: dict[tuple[str, int], Draft] = {}
    for draft in drafts:
        announce = draft.form.announce
        if announce is not None:
            stays[key(announce.host, announce.port or draft.port)] = draft
    stays |= {key(draft.host, draft.port): draft for draft in drafts}
    seen: dict[tuple[str, int], Leaver] = {}
    # One problem for a whole range, not one for each of its ports.
    both: dict[tuple[int, int], list[tuple[Leaver, Draft]]] = {}
    twice: dict[tuple[int, int], list[tuple[Leaver, Leaver]]] = {}
    for leaver in leavers:
        if leaver.key is None:
            continue
        if (same := stays.get(leaver.key)) is not None:
            both.setdefault((id(leaver.spot), id(same.spot)), []).append((leaver, same))
        first = seen.setdefault(leaver.key, leaver)
        if first is not leaver:
            twice.setdefault((id(leaver.spot), id(first.spot)), []).append((leaver, first))
    for pairs in both.values():
        leaver, draft = pairs[0]
        where = "under 'nodes'" if key(draft.host, draft.port) == leaver.key else "announced"
        message = f"{_these(leaver, len(pairs))} {where} too, on line {draft.spot.line}"
        problems.add("topology-retire", message, leaver.spot, node=leaver.name, peer=draft.name, hint=_BOTH)
    for again in twice.values():
        leaver, first = again[0]
        message = f"{_these(leaver, len(again))} listed twice, first on line {first.spot.line}"
        problems.add("topology-retire", message, leaver.spot, node=leaver.name, hint=_TWICE)


def _these(leaver: Leaver, number: int) -> str:
    address = quoted(str(Endpoint(leaver.host, leaver.port)))
    return f"{address} and {number - 1} more are" if number > 1 else f"{address} is"


def _same(one: Leaver, other: Leaver) -> bool:
    return (one.key is not None and one.key == other.key) or (one.id is not None and one.id == other.id)


def _check_names(leavers: list[Leaver], drafts: list[Draft], problems: Problems) -> None:
    """Find names that two have: messages, passwords and connections go by name."""
    stays: dict[str | tuple[str, int], Draft] = {key(draft.host, draft.port): draft for draft in drafts}
    stays |= {draft.name: draft for draft in drafts}
    seen: dict[str, Leaver] = {}
    for leaver in leavers:
        draft = stays.get(leaver.name) or stays.get(reference(leaver.name) or "")
        first = seen.setdefault(leaver.name, leaver)
        # What has the same address or id is a problem already.
        if draft is not None and key(draft.host, draft.port) != leaver.key:
            where = f"that of the node on line {draft.spot.line}, which stays"
        elif first is not leaver and not _same(first, leaver):
            where = f"given twice, first on line {first.spot.line}"
        else:
            continue
        message = f"the name {quoted(leaver.name)} is {where}"
        problems.add("topology-duplicate-name", message, leaver.spot.at("name"), node=leaver.name)
