"""Reading CLUSTER NODES and INFO: every form of a line, and text that means no good."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterboot.core.views import Peer, Seen, View, number, parse_fields, parse_info, parse_nodes
from clusterboot.slots import NONE
from tests.core.world import examples, slots

ID = "a" * 40
OTHER = "b" * 40
ME = f"{ID} 10.0.0.1:7001@17001 myself,master - 0 0 1 connected"


def peer(line: str) -> Peer:
    """The peer that a line makes beside one that is the teller's own."""
    return parse_nodes(f"{ME}\n{OTHER} {line}\n")[1]


LINES = [
    # line after the id, expected ip, port, bus port
    ("10.0.0.2:7002@17002 master - 0 0 2 connected 0-5", ("10.0.0.2", 7002, 17002)),
    ("10.0.0.2:7002 master - 0 0 2 connected 0-5", ("10.0.0.2", 7002, 0)),  # Redis 3
    ("10.0.0.2:7002@17002,redis-1.svc master - 0 0 2 connected", ("10.0.0.2", 7002, 17002)),
    (
        "10.0.0.2:7002@17002,,tls-port=0,shard-id=cafe master - 0 0 2 connected",
        ("10.0.0.2", 7002, 17002),
    ),
    (
        "10.0.0.2:7002@17002,h.example,nodename=rack-7,shard-id=cafe master - 0 0 2 connected",
        ("10.0.0.2", 7002, 17002),
    ),
    ("2001:db8::2:7002@17002 master - 0 0 2 connected", ("2001:db8::2", 7002, 17002)),
    ("[2001:db8::2]:7002@17002 master - 0 0 2 connected", ("2001:db8::2", 7002, 17002)),
    (":0@0 master,noaddr - 0 0 2 disconnected", ("", 0, 0)),
    (":0 master,noaddr - 0 0 2 disconnected", ("", 0, 0)),
    (":7002@17002 master - 0 0 0 connected", ("", 7002, 17002)),
    ("? master - 0 0 2 connected", ("", 0, 0)),
    ("10.0.0.2:seven@x master - 0 0 2 connected", ("10.0.0.2", 0, 0)),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_every_form_of_an_address(line: str, expected: tuple[str, int, int]) -> None:
    found = peer(line)
    assert (found.ip, found.port, found.bus_port) == expected


def test_flags_primary_epoch_link_and_slots() -> None:
    found = peer(f"h:1@2 slave,fail? {ID} 5 6 7 connected")
    assert (found.flags, found.primary, found.epoch) == ({"slave", "fail?"}, ID, 7)
    assert (found.replica, found.connected, found.seen, found.myself) == (True, True, False, False)
    found = peer("h:1@2 master - 5 6 7 connected 3 0-1 5461-10922 7")
    assert (found.primary, found.slots, found.seen) == (None, slots("0-1,3,7,5461-10922"), True)
    assert not peer("h:1@2 master - 5 6 7 disconnected").seen
    for flag in ("fail", "fail?", "handshake", "noaddr"):
        assert not peer(f"h:1@2 master,{flag} - 5 6 7 connected").seen
    for flag in ("nofailover", "noflags", "something-new"):
        assert peer(f"h:1@2 master,{flag} - 5 6 7 connected").seen


def test_slots_on_the_move_are_told_and_not_counted() -> None:
    (me,) = parse_nodes(f"{ME} 0-5 [1->-{OTHER}] [9-<-{OTHER}]\r\n")
    assert (me.slots, me.moving) == (slots("0-5"), True)


def test_the_teller_is_connected_to_itself_whatever_its_line_says() -> None:
    assert parse_nodes(ME.replace("connected", "disconnected"))[0].seen


def test_lines_that_differ_in_ping_and_pong_only_are_one_peer() -> None:
    seen: Seen = {}
    first = parse_nodes(f"{ME}\n{OTHER} h:1@2 master - 1 2 3 connected 0-5", seen)
    again = parse_nodes(f"{ME}\n{OTHER} h:1@2 master - 4 5 3 connected 0-5", seen)
    assert first[1] is again[1]
    other = parse_nodes(f"{ME}\n{OTHER} h:1@2 master - 4 5 4 connected 0-5", seen)
    assert other[1] is not first[1]


BAD = [
    ("", "CLUSTER NODES has 0 lines with the flag myself instead of one"),
    (ME.replace("myself,", ""), "CLUSTER NODES has 0 lines with the flag myself instead of one"),
    (f"{ME}\n{ME.replace(ID, OTHER)}", "CLUSTER NODES has 2 lines with the flag myself instead of one"),
    (f"{ME}\n{ME.replace('myself,', '')}", "CLUSTER NODES has two lines with one node id"),
    ("+OK", "a line of CLUSTER NODES has 1 fields instead of 8"),
    (ME.replace(ID, ID[1:]), "a line of CLUSTER NODES does not start with a node id"),
    (ME.replace(ID, ID.upper()), "a line of CLUSTER NODES does not start with a node id"),
    (f"{ME} 16384", "slot 16384 does not exist; slots go from 0 to 16383"),
    (f"{ME} 5-1", "the range 5-1 runs backwards"),
    (f"{ME} 0-x", "'0-x' is not a slot or a range of slots such as 0-5460"),
    (
        "\n".join(f"{index:040x} h:1@2 master - 0 0 0 connected" for index in range(20_002)),
        "CLUSTER NODES has more than 20000 lines",
    ),
]


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_what_no_server_sends_is_told_in_a_sentence(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        parse_nodes(text)


FIELDS = st.one_of(
    st.sampled_from(
        [ID, OTHER, "-", "", "h:1@2", ":0@0", "[::1]:9", "myself,master", "slave", "0-5", "[5->-x]"]
    ),
    st.text(max_size=12),
    st.integers(-(10**25), 10**25).map(str),
)


@examples(500)
@given(
    st.lists(st.lists(FIELDS, max_size=11).map(" ".join), max_size=4), st.sampled_from(["\n", "\r\n", "\0"])
)
def test_hostile_text_is_either_understood_or_a_value_error(lines: list[str], end: str) -> None:
    text = end.join([*lines, ME])
    try:
        peers = parse_nodes(text)
    except ValueError:
        return
    assert [each for each in peers if each.myself] == [peers[-1]]
    for each in peers:
        assert each.port >= 0
        assert each.address
        assert all(0 <= low <= high < 16384 for low, high in each.slots.ranges)


@examples(300)
@given(st.text() | st.lists(FIELDS, max_size=6).map("\r\n".join) | st.lists(FIELDS, max_size=6).map(":".join))
def test_hostile_info_is_never_an_error(text: str) -> None:
    fields, keys = parse_info(text)
    assert all(number >= 0 for number in keys.values())
    view = View("a", "", parse_nodes(ME), fields, parse_fields(text), {"cluster-node-timeout": text}, keys)
    assert all(part >= 0 for part in view.version)
    assert view.node_timeout > 0
    assert view.known >= 1


def test_keys_of_all_databases_are_counted_and_only_wanted_fields_are_kept() -> None:
    text = (
        "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\nos:Linux\r\n# Keyspace\r\n"
        "db0:keys=3,expires=0,avg_ttl=0\r\ndb12:keys=40,expires=1\r\ndbx:keys=500\r\ndb1:expires=7\r\n"
    )
    assert parse_info(text) == ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, {0: 3, 12: 40})


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"redis_version": "7.0.15"}, "redis 7.0.15"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "valkey 9.1.2"),
        ({"redis_version": "8.0-rc1"}, "redis 8.0.0"),
        ({"redis_version": "255.255.255"}, "redis 255.255.255"),
        ({"redis_version": "6"}, "redis 6.0.0"),
        ({}, "redis 0.0.0"),
    ],
)
def test_versions(info: dict[str, str], expected: str) -> None:
    view = View("a", "", parse_nodes(ME), info)
    assert f"{view.kind} {view.version}" == expected


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"role": "master"}, True),
        ({"role": "slave", "master_link_status": "up"}, True),
        ({"role": "slave", "master_link_status": "down"}, False),
        ({}, False),
    ],
)
def test_in_sync(info: dict[str, str], expected: bool) -> None:
    assert View("a", "", parse_nodes(ME), info).in_sync is expected


def test_numbers() -> None:
    assert [number(text) for text in ("0", "17", "", "-1", "1.5", "x", "²", "9" * 19, "9" * 20)] == [
        *(0, 17, 0, 0, 0, 0, 0, int("9" * 19), 0)
    ]


def test_a_view_knows_its_own_line_and_those_of_others() -> None:
    view = View("a", "10.0.0.1", parse_nodes(f"{ME}\n{OTHER} h:1@2 master - 0 0 0 connected"))
    assert (view.id, view.known, view.me.slots) == (ID, 2, NONE)
    assert view.knows(OTHER) is view.peers[1]
    assert view.knows("c" * 40) is None
