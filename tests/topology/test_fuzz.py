"""Whatever stands in a file, loading it ends in a topology or in problems fit to be shown.

Bounded and derandomized: the same examples in every run. What longer runs found is kept in `cases/`
and at the end of this file.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterboot.errors import Exit, TopologyError
from clusterboot.topology import Auth, Node, Topology, decode, load
from tests.topology.test_load import FULL

bounded = settings(max_examples=100, derandomize=True, database=None, deadline=None)

WORDS = st.sampled_from(
    [
        "retire", "id",
        "version", "name", "nodes", "replicas", "slots", "plan", "strategy", "hub", "boost", "extra_meets",
        "auth", "username", "password", "password_env", "password_file", "tls", "ca", "cert", "key", "verify",
        "server_name", "min_version", "servers", "command", "config", "host", "port", "bus_port", "zone",
        "role", "replica_of", "weight", "announce", "<<", "prot", "nodez", "port ", "", "?", "on", "a@b",
    ]
)  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "a:1", "a:1-6", "h{0..3}:6379", "[::1]:7001@17001", "::1", "10.0.0.1", "10.0.0.256:1", "primary",
            "replica", "none", "auto", "star", "chain", "0-5460", "16384", 1, 6379, 65536, "h:60000", "x@y:1",
            "redis://u:p@h:1", "h{0..999999999}:1-65535", "7001:7006", "~/x", "\x1b[0m", "\ud800", "1.2",
            "a" * 40,
        ]
    ),
)  # fmt: skip
SHAPES = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=30,
)
NODES = st.dictionaries(WORDS, SHAPES, max_size=4).map(lambda extra: {"host": "h", "port": 1} | extra)
DOCUMENTS = st.dictionaries(WORDS, SHAPES, max_size=6).flatmap(
    lambda extra: st.lists(NODES | VALUES, max_size=6).map(
        lambda nodes: {"version": 1, "nodes": nodes} | extra
    )
)


def attempt(text: str) -> Topology | None:
    """Load `text`; None when it has problems, each of which is fit to be shown."""
    try:
        return load(text, "t.yaml")
    except TopologyError as error:
        found = error.problems
    assert found
    for problem in found:
        assert problem.exit is Exit.USAGE
        assert problem.message.isprintable()
        assert len(problem.message) < 500
        assert problem.hint is None or problem.hint.isprintable()
        assert problem.line is None or 1 <= problem.line <= len(text.splitlines()) + 1
        assert problem.column is None or problem.column >= 1
    return None


@bounded
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    try:
        text = decode(data, "t.yaml")
    except TopologyError:
        return
    attempt(text)


@bounded
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    attempt(text)


@bounded
@given(st.text(st.sampled_from("a1-:,[]{}#&*!|>'\"%@`? \n\t\\<~.=_/x0"), max_size=80))
def test_any_yaml_like_text(text: str) -> None:
    attempt(text)
    attempt(f"version: 1\nnodes:\n  - {text}\n")
    attempt(f"version: 1\nnodes: [h:1]\nauth: {{password: {text}}}\n")


@bounded
@given(DOCUMENTS)
def test_almost_valid_documents(document: dict[str, Any]) -> None:
    attempt(json.dumps(document))
    attempt(json.dumps(document, ensure_ascii=False))


@bounded
@given(st.data())
def test_a_valid_file_with_scratches(data: st.DataObject) -> None:
    text = FULL
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 8)))
        patch = data.draw(
            st.text(st.sampled_from("a1-:,[]{}#&*!|>'\" \n\t"), max_size=4) | st.text(max_size=4)
        )
        text = text[:start] + patch + text[end:]
    attempt(text)


@bounded
@given(DOCUMENTS, st.text(max_size=8))
def test_passwords_never_show(document: dict[str, Any], more: str) -> None:
    secret = "hunter2" + more
    document["auth"] = {"password": [secret], secret: 1}
    document["plan"] = {"hub": f"u:{secret}@h:1"}
    with pytest.raises(TopologyError) as caught:
        load(json.dumps(document), "t.yaml")
    assert "hunter2" not in repr(caught.value.problems)


def _written(topology: Topology) -> str:
    """Return a file that says in long form what `topology` is; JSON is YAML."""

    def auth(given: Auth | None) -> dict[str, Any] | None:
        if given is None:
            return None
        return _present(
            username=given.username,
            password=given.password and given.password.value,
            password_env=given.password_env,
            password_file=given.password_file and str(given.password_file),
        )

    def node(given: Node) -> dict[str, Any]:
        return _present(
            name=given.name if given.name != given.address else None,
            host=given.host,
            port=given.port,
            bus_port=given.bus_port,
            zone=given.zone,
            role=given.role if given.replica_of is None else None,
            replica_of=given.replica_of,
            slots=None if given.slots is None else str(given.slots) or "none",
            weight=given.weight if given.weight != 1 else None,
            announce=given.announce
            and _present(
                host=given.announce.host, port=given.announce.port, bus_port=given.announce.bus_port
            ),
            auth=auth(given.auth),
        )

    return json.dumps(
        _present(
            version=1,
            name=topology.name,
            nodes=[node(each) for each in topology.nodes],
            retire=[
                (node(each.node) if each.node else {}) | _present(id=each.id, name=each.name)
                for each in topology.retire
            ],
            replicas=topology.replicas or None,
            slots=topology.slots,
            plan=_present(
                strategy=topology.strategy,
                hub=topology.hub,
                boost=topology.boost,
                extra_meets=topology.extra_meets,
            ),
            servers=_present(command=topology.servers.command, config=dict(topology.servers.config)),
        ),
        ensure_ascii=False,  # YAML has no escapes for surrogate pairs
    )


def _present(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


PORTS = st.integers(1, 55535)
TEXT = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
AUTHS = st.fixed_dictionaries(
    {}, optional={"username": TEXT}
).flatmap(
    lambda user: st.sampled_from([{"password": "x"}, {"password_env": "X"}, {"password_file": "a/b"}]).map(
        lambda secret: user | secret
    )
)  # fmt: skip

# Ports of their own: no entry is like another, and none like a node.
RETIRED = st.sampled_from(
    ["h:101", "h:111-113@20111-20113", "ab" * 20, {"id": "1" * 40, "name": "gone"}]
) | AUTHS.map(lambda auth: {"host": "h", "port": 121, "auth": auth})


@st.composite
def valid_files(draw: st.DrawFn) -> str:
    count = draw(st.integers(1, 8))
    nodes: list[dict[str, Any]] = []
    for index in range(count):
        node: dict[str, Any] = {
            "host": draw(st.sampled_from(["h", "10.0.0.1", "::1"])),
            "port": index * 7 + 1,
        }
        optional = {
            "name": st.just(f"n{index}"), "zone": TEXT, "bus_port": st.just(20000 + index),
            "weight": st.floats(1, 1000), "auth": AUTHS,
            "announce": st.fixed_dictionaries({"host": st.just(f"x{index}")}, optional={"port": PORTS}),
        }  # fmt: skip
        node |= draw(st.fixed_dictionaries({}, optional=optional))
        if index and draw(st.booleans()):
            node.pop("weight", None)
            node["replica_of"] = nodes[0].get("name") or (
                f"[{nodes[0]['host']}]:1" if ":" in nodes[0]["host"] else f"{nodes[0]['host']}:1"
            )
        nodes.append(node)
    document: dict[str, Any] = {"version": 1, "nodes": nodes}
    document |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "name": st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True),
                "retire": st.lists(RETIRED, max_size=4, unique_by=lambda entry: str(entry)[:12]),
                "plan": st.sampled_from([{"strategy": "chain"}, {"boost": False}, {"extra_meets": False}]),
                "servers": st.fixed_dictionaries(
                    {
                        "config": st.dictionaries(
                            st.sampled_from(["hz", "save", "x-1"]), TEXT | st.booleans() | PORTS
                        )
                    }
                ),
            },
        )
    )
    return json.dumps(document, ensure_ascii=False)


@bounded
@given(valid_files())
def test_a_topology_written_out_again_loads_the_same(text: str) -> None:
    first = load(text, "t.yaml")
    again = load(_written(first), "t.yaml")
    assert _without_places(again) == _without_places(first)


def _without_places(topology: Topology) -> Topology:
    nodes = tuple(replace(node, line=0) for node in topology.nodes)
    retire = tuple(
        replace(each, line=0, node=each.node and replace(each.node, line=0)) for each in topology.retire
    )
    return replace(
        topology,
        nodes=nodes,
        retire=retire,
        warnings=tuple(replace(each, line=0, column=0) for each in topology.warnings),
    )
