"""Functions (Redis 7.0, Valkey): a target needs those of a source before keys move, or FCALL fails there.

No server moves them with the slots. A library is its name and its code, so FUNCTION LIST WITHCODE and
FUNCTION LOAD copy it without loss; replicas get it from their primary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clusterboot.core.views import View
from clusterboot.errors import NodeFailed, Problem, refusal
from clusterboot.loop.observe import Asker, text
from clusterboot.wire.replies import Command, Rejected, Reply, explain
from clusterboot.wording import listed

_LIST: Command = ("FUNCTION", "LIST", "WITHCODE")


@dataclass(frozen=True, slots=True)
class Library:
    """One library: its code, and the names of its functions."""

    code: str
    functions: frozenset[str]


Libraries = Mapping[str, Library]
"""The libraries of a node by name."""


async def libraries(fleet: Asker, view: View) -> Libraries:
    """Return the libraries of a node, none where functions are unknown or disabled. Raises NodeFailed."""
    if view.kind == "redis" and view.version.major < 7:
        return {}
    [reply] = await fleet.ask(view.name, _LIST)
    if isinstance(reply, Rejected):
        problem = explain(reply, view.name, _LIST)
        if problem.code == "command-unavailable":
            return {}
        raise NodeFailed(problem)
    return dict(map(_library, reply if isinstance(reply, list) else []))


def _library(entry: Reply) -> tuple[str, Library]:
    words = entry if isinstance(entry, list) else []
    fields = dict(zip(map(text, words[::2]), words[1::2], strict=False))
    functions = fields.get("functions")
    names = []
    for function in functions if isinstance(functions, list) else []:
        about = function if isinstance(function, list) else []
        names += [text(value) for key, value in zip(about[::2], about[1::2], strict=False) if key == "name"]
    return text(fields.get("library_name")), Library(text(fields.get("library_code")), frozenset(names))


def missing(source: Libraries, target: Libraries) -> list[str]:
    """Return the names of the libraries of `source` that `target` lacks, in order."""
    return sorted(source.keys() - target.keys())


def conflicts(source: View, theirs: Libraries, target: View, own: Libraries) -> Iterable[Problem]:
    """Yield a refusal for each library that `target` has with other code, or cannot load beside its own."""
    for name, library in sorted(theirs.items()):
        what = ""
        if name in own:
            if own[name].code != library.code:
                what = f"the library {name} with other code than {target.name}"
        else:
            taken = {each: other for other, has in own.items() for each in has.functions}
            if both := sorted(library.functions & taken.keys()):
                what = f"{listed(both)} in the library {name}, and {target.name} in {taken[both[0]]}"
        if what:
            yield refusal(
                "functions-differ",
                f"{source.name} has {what}: functions would act differently once slots have moved.",
                source.name,
                target.name,
                f"load the same code on both, with 'FUNCTION LOAD REPLACE' on {target.name}",
            )


async def copy_functions(fleet: Asker, source: View, target: View) -> int:
    """Load the libraries of `source` that `target` lacks there; returns how many. Raises NodeFailed.

    Done when the target lists them. A library that differs is left as it is (see `conflicts`).
    """
    theirs = await libraries(fleet, source)
    wanted = missing(theirs, await libraries(fleet, target)) if theirs else []
    if not wanted:
        return 0
    load: list[Command] = [("FUNCTION", "LOAD", theirs[name].code) for name in wanted]
    for command, reply in zip(load, await fleet.ask(target.name, *load), strict=True):
        # Somebody else may have loaded it meanwhile; what counts is what is there in the end.
        if isinstance(reply, Rejected) and "already exists" not in reply:
            raise NodeFailed(explain(reply, target.name, command))
    now_there = await libraries(fleet, target)
    for name in wanted:
        if name not in now_there or now_there[name].code != theirs[name].code:
            raise NodeFailed.of(
                "functions-differ",
                f"{target.name} does not have the function library {name} as {source.name} has it, though it "
                "was loaded there.",
                node=target.name,
                hint=f"load it yourself, with 'FUNCTION LOAD' on {target.name}",
            )
    return len(wanted)
