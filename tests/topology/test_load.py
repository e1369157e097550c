"""What a valid file becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterboot.errors import Exit
from clusterboot.slots import NONE, Slots
from clusterboot.topology import Announce, Auth, Node, Retire, Secret, Servers, Tls, Topology, load

FULL = """
version: 1
name: orders
nodes:
  - 127.0.0.1:7001-7002
  - "[::1]:7001@17001"
  - name: a
    host: 10.0.0.1
    port: 6379
    bus_port: 16379
    zone: eu-1a
    role: primary
    slots: 0-5460
    announce: {host: 203.0.113.7, port: 30001, bus_port: 40001}
    auth: {username: ops, password_env: REDIS_A}
  - {host: 10.0.0.2, port: 6379, replica_of: "10.0.0.1:6379", zone: eu-1b}
  - {host: 10.0.0.3, port: 6379, weight: 2}
retire:
  - 10.0.0.7:7001-7002@17101-17102
  - 0F3BFA9EA8A4DCD4AEB0D02DD59AD0E7A4AB3F36
  - {name: gone, host: "::2", port: 6379, bus_port: 16379, auth: {password: x}}
  - {id: 1e3bfa9ea8a4dcd4aeb0d02dd59ad0e7a4ab3f36, host: 10.0.0.8, port: 6379}
  - {id: 2e3bfa9ea8a4dcd4aeb0d02dd59ad0e7a4ab3f36, name: lost}
replicas: 1
slots: auto
plan: {strategy: star, hub: "10.0.0.1:6379", boost: false, extra_meets: no}
auth: {username: default, password_file: secret/redis}
tls: {ca: ca.pem, cert: c.pem, key: /abs/k.pem, verify: false, server_name: redis.example, min_version: "1.3"}
servers: {command: redis-server, config: {maxmemory: 64mb, appendonly: yes, hz: 20, save: ""}}
"""


def nodes(*lines: str, more: str = "") -> Topology:
    """Load a file with these entries under `nodes`."""
    return load("version: 1\nnodes:\n" + "".join(f"  - {line}\n" for line in lines) + more, "t.yaml")


def names(topology: Topology) -> list[str]:
    return [node.name for node in topology.nodes]


def test_every_key_of_the_format_arrives() -> None:
    topology = load(FULL, "deploy/orders.yaml")
    shared = Auth("default", password_file=Path("deploy/secret/redis"))
    assert names(topology) == [
        "127.0.0.1:7001", "127.0.0.1:7002", "[::1]:7001", "a", "10.0.0.2:6379", "10.0.0.3:6379",
    ]  # fmt: skip
    first, _, six, a, b, c = topology.nodes
    assert (first.host, first.port, first.bus_port, first.auth, first.line) == (
        "127.0.0.1", 7001, None, shared, 5,
    )  # fmt: skip
    assert (six.host, six.port, six.bus_port, six.address) == ("::1", 7001, 17001, "[::1]:7001")
    assert (a.host, a.port, a.bus_port, a.zone, a.role) == ("10.0.0.1", 6379, 16379, "eu-1a", "primary")
    assert a.slots == Slots.parse("0-5460")
    assert a.announce == Announce("203.0.113.7", 30001, 40001)
    assert a.auth == Auth("ops", password_env="REDIS_A")
    assert (b.role, b.replica_of, b.zone, b.slots) == ("replica", "a", "eu-1b", None)
    assert (c.role, c.weight, c.line) == (None, 2.0, 17)
    assert (topology.name, topology.replicas, topology.slots) == ("orders", 1, "auto")
    assert (topology.strategy, topology.hub) == ("star", "a")
    assert (topology.boost, topology.extra_meets) == (False, False)
    assert topology.tls == Tls(
        Path("deploy/ca.pem"), Path("deploy/c.pem"), Path("/abs/k.pem"), False, "redis.example", "1.3"
    )
    assert topology.servers == Servers(
        "redis-server", (("maxmemory", "64mb"), ("appendonly", "yes"), ("hz", "20"), ("save", ""))
    )


def test_members_that_leave_are_reached_like_all_others() -> None:
    topology = load(FULL, "t.yaml")
    shared = Auth("default", password_file=Path("secret/redis"))
    one, two, short, gone, both, lost = topology.retire
    assert one.node == Node("10.0.0.7:7001", "10.0.0.7", 7001, 17101, auth=shared, line=19)
    assert (two.name, two.id, two.line) == ("10.0.0.7:7002", None, 19)
    gone_id = "0f3bfa9ea8a4dcd4aeb0d02dd59ad0e7a4ab3f36"
    assert short == Retire(gone_id, gone_id, None, 20)
    own = Auth(password=Secret("x"))
    assert gone == Retire("gone", None, Node("gone", "::2", 6379, 16379, auth=own, line=21), 21)
    assert (both.name, both.id) == ("10.0.0.8:6379", "1e3bfa9ea8a4dcd4aeb0d02dd59ad0e7a4ab3f36")
    assert both.node is not None
    assert (lost.name, lost.id, lost.node) == ("lost", "2e3bfa9ea8a4dcd4aeb0d02dd59ad0e7a4ab3f36", None)
    assert topology.reached == (*topology.nodes, one.node, two.node, gone.node, both.node)


@pytest.mark.parametrize("text", ["", "retire: []\n"])
def test_nobody_has_to_leave(text: str) -> None:
    topology = nodes("h:1", more=text)
    assert topology.retire == ()
    assert topology.reached == topology.nodes


def test_a_node_may_have_the_address_of_a_member_that_is_gone() -> None:
    """Its id alone tells the two apart; without one, the roles of the others are checked as ever."""
    topology = nodes("h:1", "h:2", more="retire: [0f3bfa9ea8a4dcd4aeb0d02dd59ad0e7a4ab3f36]\n")
    assert [each.node for each in topology.retire] == [None]


def test_the_smallest_file_has_all_defaults() -> None:
    topology = load("version: 1\nnodes: [h:1]\n", "t.yaml")
    assert topology == Topology(nodes=topology.nodes)
    (node,) = topology.nodes
    assert (node.name, node.role, node.slots, node.weight, node.auth, node.line) == (
        "h:1",
        None,
        None,
        1.0,
        None,
        2,
    )


@pytest.mark.parametrize(
    ("short", "expanded"),
    [
        ("127.0.0.1:7001-7003", ["127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"]),
        ("redis-{0..2}.svc:6379", ["redis-0.svc:6379", "redis-1.svc:6379", "redis-2.svc:6379"]),
        ("h{08..11}:1", ["h08:1", "h09:1", "h10:1", "h11:1"]),
        ("h{8..11}:1", ["h8:1", "h9:1", "h10:1", "h11:1"]),
        ("h{0..1}:1-2", ["h0:1", "h0:2", "h1:1", "h1:2"]),
        ("r{1..2}-n{1..2}:1", ["r1-n1:1", "r1-n2:1", "r2-n1:1", "r2-n2:1"]),
        ("10.0.0.{1..2}:1", ["10.0.0.1:1", "10.0.0.2:1"]),
        ('"[2001:DB8:0::1]:7001-7002"', ["[2001:db8::1]:7001", "[2001:db8::1]:7002"]),
        ('"[fd00::{1..2}]:1"', ["[fd00::1]:1", "[fd00::2]:1"]),
        ("redis_1.example.:1", ["redis_1.example.:1"]),
        ("Redis-A:1", ["Redis-A:1"]),
    ],
)
def test_short_forms_expand_in_order(short: str, expanded: list[str]) -> None:
    assert names(nodes(short)) == expanded


@pytest.mark.parametrize(
    ("short", "ports"),
    [
        ("h:7001@17101", [(7001, 17101)]),
        ("h:7001-7002@17101-17102", [(7001, 17101), (7002, 17102)]),
        ("h:60000@50000", [(60000, 50000)]),
        ("h:55535", [(55535, None)]),
    ],
)
def test_bus_ports_go_in_step_with_ports(short: str, ports: list[tuple[int, int | None]]) -> None:
    assert [(node.port, node.bus_port) for node in nodes(short).nodes] == ports


def test_a_high_port_is_fine_where_the_bus_port_is_announced() -> None:
    assert nodes("{host: h, port: 60000, announce: {host: n, bus_port: 40000}}").nodes[0].port == 60000


def test_two_thousand_nodes_fit() -> None:
    assert len(nodes("h{1..20}:1-100").nodes) == 2000


@pytest.mark.parametrize(
    ("given", "slots"),
    [
        ("0", Slots.parse("0")),
        ("0-100", Slots.parse("0-100")),
        ('"0-100,200"', Slots.parse("0-100,200")),
        ('" 200, 0-100"', Slots.parse("0-100,200")),
        ("[0-100, 200]", Slots.parse("0-100,200")),
        ("none", NONE),
        ("[none]", NONE),
    ],
)
def test_slots_in_all_their_forms(given: str, slots: Slots) -> None:
    assert nodes(f"{{host: h, port: 1, slots: {given}}}", "h:2").nodes[0].slots == slots


def test_a_comma_needs_no_quotes_in_a_block() -> None:
    text = "version: 1\nnodes:\n  - host: h\n    port: 1\n    slots: 0-100,200\n  - h:2\n"
    topology = load(text, "t.yaml")
    assert topology.nodes[0].slots == Slots.parse("0-100,200")


def test_roles_that_other_keys_imply_are_filled_in() -> None:
    topology = nodes(
        "{name: a, host: h, port: 1, slots: 0-9}",
        "{name: b, host: h, port: 2}",
        "{name: c, host: h, port: 3, replica_of: b}",
        "{name: d, host: h, port: 4}",
        more="replicas: 1\n",
    )
    assert [node.role for node in topology.nodes] == ["primary", "primary", "replica", None]


def test_without_replicas_every_other_node_is_a_primary() -> None:
    topology = nodes("h:1", "{host: h, port: 2, role: replica}", "h:3")
    assert [node.role for node in topology.nodes] == ["primary", "replica", "primary"]


def test_replicas_fits_where_all_roles_are_spelled_out() -> None:
    topology = nodes(
        "{name: a, host: h, port: 1, role: primary}",
        "{host: h, port: 2, replica_of: a}",
        more="replicas: 1\n",
    )
    assert topology.replicas == 1


def test_replica_of_and_hub_take_names_and_addresses_in_any_spelling() -> None:
    topology = nodes(
        "{name: a, host: REDIS-A, port: 1}",
        '{host: h, port: 2, replica_of: "redis-a:1"}',
        '"[::1]:1"',
        more='plan: {hub: "[0:0::1]:1"}\n',
    )
    assert topology.nodes[1].replica_of == "a"
    assert topology.hub == "[::1]:1"


def test_a_node_may_be_named_like_its_own_address() -> None:
    assert names(nodes('{name: "h:1", host: h, port: 1}', "h:2")) == ["h:1", "h:2"]


def test_servers_behind_one_forwarding_address_differ_by_what_they_announce() -> None:
    topology = nodes(
        "{host: localhost, port: 1, announce: {host: n1, port: 6379, bus_port: 16379}}",
        "{host: localhost, port: 2, announce: {host: n2, port: 6379, bus_port: 16379}}",
    )
    assert len(topology.nodes) == 2


@pytest.mark.parametrize(
    ("tls", "loaded"),
    [
        ("true", Tls()),
        ("yes", Tls()),
        ("false", None),
        ("{}", Tls()),
        ("{verify: no}", Tls(verify=False)),
    ],
)
def test_tls_is_a_switch_or_a_mapping(tls: str, loaded: Tls | None) -> None:
    assert nodes("h:1", more=f"tls: {tls}\n").tls == loaded


def test_a_literal_password_is_never_printed() -> None:
    topology = nodes("h:1", more="auth: {password: hunter2}\n")
    assert topology.nodes[0].auth == Auth(password=Secret("hunter2"))
    assert "hunter2" not in repr(topology)
    assert "hunter2" not in str(topology)


@pytest.mark.parametrize("password", ["'1234'", '"a b"', "'é'", r'"\n"', "'@x'", "1.2.3", "0x1F", "a@b:c"])
def test_passwords_are_taken_as_they_are(password: str) -> None:
    auth = nodes("h:1", more=f"auth: {{password: {password}}}\n").nodes[0].auth
    assert auth is not None
    assert auth.password is not None
    assert auth.password.value == (password[1:-1].replace(r"\n", "\n") if password[0] in "'\"" else password)


def test_the_auth_of_a_node_replaces_that_of_all_nodes() -> None:
    topology = nodes(
        "{host: h, port: 1, auth: {password_env: B}}", "h:2", more="auth: {username: u, password_env: A}\n"
    )
    assert [node.auth for node in topology.nodes] == [Auth(password_env="B"), Auth("u", password_env="A")]


def test_anchors_and_merge_keys_share_what_nodes_have_in_common() -> None:
    topology = nodes(
        "&base {host: h, port: 1, zone: z1}",
        "{<<: *base, port: 2}",
        "{port: 3, <<: [{zone: z2}, *base]}",
        more="name: &n orders\n",
    )
    assert [(node.host, node.port, node.zone) for node in topology.nodes] == [
        ("h", 1, "z1"), ("h", 2, "z1"), ("h", 3, "z2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "zone", ["2024-01-01", "12:30", "007", "y", "n", "1_000", "0o7", "=", "eu west", "Zürich"]
)
def test_text_without_quotes_is_text_where_yaml_versions_disagree(zone: str) -> None:
    assert nodes(f"{{host: h, port: 1, zone: {zone}}}").nodes[0].zone == zone


def test_an_explicit_string_tag_is_text() -> None:
    assert nodes("{host: h, port: 1, zone: !!str 7}").nodes[0].zone == "7"


@pytest.mark.parametrize(
    ("file", "path"), [("a.yaml", "c.pem"), ("x/y.yaml", "x/c.pem"), ("/x/y.yaml", "/x/c.pem")]
)
def test_paths_are_relative_to_the_folder_of_the_file(file: str, path: str) -> None:
    topology = load("version: 1\nnodes: [h:1]\ntls: {ca: c.pem}\n", file)
    assert topology.tls == Tls(ca=Path(path))


def test_loopback_beside_other_addresses_is_a_warning() -> None:
    topology = load("version: 1\nnodes:\n  - 10.0.0.1:1\n  - localhost:1-2\n", "t.yaml")
    (warning,) = topology.warnings
    assert (warning.code, warning.node, warning.exit) == ("topology-loopback-mixed", "localhost:1", Exit.DONE)
    assert (warning.file, warning.line, warning.column) == ("t.yaml", 4, 5)


@pytest.mark.parametrize(
    "entries",
    [
        ["127.0.0.1:1", "localhost:2", '"[::1]:3"'],
        ["10.0.0.1:1", "127.example:2"],
        ["10.0.0.1:1", "{host: 127.0.0.1, port: 2, announce: {host: 10.0.0.2}}"],
    ],
)
def test_loopback_alone_or_announced_otherwise_is_no_warning(entries: list[str]) -> None:
    assert nodes(*entries).warnings == ()
