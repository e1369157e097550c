"""TLS and mTLS against real servers: what comes up, and what each broken certificate is told as."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from clusterboot import commands
from clusterboot.commands import Reach, UpOptions
from clusterboot.commands.shell import Shell
from clusterboot.core.timers import NO_FAILOVER
from clusterboot.errors import Exit
from tests.harness.certs import Pki
from tests.harness.cli import Outcome, clusterboot, launch
from tests.harness.ready import why_not_ready
from tests.harness.servers import Servers, free_ports
from tests.servers.pool import OLD, Nodes, problems

KIND = "redis70"  # the one that is built with TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = Pki(tmp_path_factory.mktemp("pki"))
    made.issue("node", names=["localhost", "node.example"], ips=["127.0.0.1", "::1"])
    made.issue("client")
    made.issue("expired", names=["localhost"], ips=["127.0.0.1"], days=-1)
    made.issue("elsewhere", names=["elsewhere.example"])
    made.issue("unknown", names=["localhost"], ca="other-ca")
    return made


class Secured:
    """Servers with a plain port, for the probe, and a TLS port beside it, which clusterboot is given."""

    def __init__(self, servers: Servers, tls_ports: list[int], pki: Pki) -> None:
        self.servers = servers
        self.tls_ports = tls_ports
        self.pki = pki

    def file(self, folder: Path, *, nodes: list[str] | None = None, **tls: object) -> Path:
        """A topology with the pki's CA and client certificate; keywords replace or (None) drop keys."""
        pki = self.pki.folder
        keys: dict[str, object] = {
            "ca": f"{pki}/ca.pem",
            "cert": f"{pki}/client.pem",
            "key": f"{pki}/client.key",
        }
        found = {name: value for name, value in {**keys, **tls}.items() if value is not None}
        nodes = nodes or [f"localhost:{port}" for port in self.tls_ports]
        path = folder / "topology.yaml"
        document = {"version": 1, "nodes": nodes, "replicas": len(nodes) // 6, "tls": found or True}
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in document.items()))
        return path

    def untouched(self) -> bool:
        return all(self.servers.changing(index, probes=True) == [] for index in range(len(self.servers)))


def start(stack: ExitStack, pki: Pki, count: int, cert: str, *extra: str) -> Secured:
    ports = free_ports(2 * count)
    plain, secure = ports[:count], ports[count:]
    names = pki.folder / f"{cert}.pem", pki.folder / f"{cert}.key"

    def options(index: int) -> list[str]:
        tls = ["--tls-port", str(secure[index]), "--tls-ca-cert-file", str(pki.ca)]
        return [*tls, "--tls-cert-file", str(names[0]), "--tls-key-file", str(names[1]), *extra]

    return Secured(stack.enter_context(Servers(KIND, count, ports=plain, extra=options)), secure, pki)


@pytest.fixture(scope="module")
def mutual(pki: Pki, require: Callable[[str], str]) -> Iterator[Secured]:
    """Six nodes that want client certificates and speak TLS among themselves as well."""
    require(KIND)
    with ExitStack() as stack:
        yield start(stack, pki, 6, "node", "--tls-cluster", "yes", "--tls-replication", "yes")


@pytest.fixture(scope="module")
def odd(pki: Pki, require: Callable[[str], str]) -> Iterator[dict[str, int]]:
    """TLS ports of single servers with a certificate that is not in order."""
    require(KIND)
    with ExitStack() as stack:
        yield {name: start(stack, pki, 1, name).tls_ports[0] for name in ("expired", "elsewhere", "unknown")}


def refused(secured: Secured, file: Path, count: int = 1) -> list[Any]:
    """`up` with `file` ends with 5, changes nothing, and tells `count` problems."""
    secured.servers.reset_slowlog()
    outcome = clusterboot("up", file, "-o", "json")
    assert outcome.exit == 5, outcome
    assert secured.untouched()
    found = problems(outcome)
    assert len(found) == count, outcome
    return list(found)


def test_six_nodes_with_tls_are_ready(pki: Pki, require: Callable[[str], str], tmp_path: Path) -> None:
    require(KIND)
    with ExitStack() as stack:
        six = start(stack, pki, 6, "node", "--tls-auth-clients", "no")
        outcome = clusterboot("up", six.file(tmp_path, cert=None, key=None, min_version="1.3"))
        assert outcome.exit == 0, outcome
        assert why_not_ready(six.servers.addresses) is None


def test_six_nodes_with_mtls_and_tls_cluster_are_ready(mutual: Secured, tmp_path: Path) -> None:
    outcome = clusterboot("up", mutual.file(tmp_path))
    assert outcome.exit == 0, outcome
    assert why_not_ready(mutual.servers.addresses) is None
    assert "warning" not in outcome.err


def test_the_helper_of_a_killed_run_finds_certificates_by_their_relative_paths(
    pki: Pki, require: Callable[[str], str], tmp_path: Path
) -> None:
    """Such are those in a topology that is itself named by a relative path."""
    require(KIND)
    with ExitStack() as stack:
        two = start(stack, pki, 2, "node")
        nodes = Nodes(two.servers, 2, tmp_path)
        nodes.configure(OLD)
        names = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}
        for name in names.values():
            shutil.copy(pki.folder / name, tmp_path)
        two.file(tmp_path, **names)
        with launch("up", "topology.yaml", cwd=tmp_path) as process:
            nodes.until(lambda: nodes.timers(1)[NO_FAILOVER] == "yes", "settings are lowered")
            process.kill()
            process.communicate(timeout=20)
        nodes.until(lambda: nodes.all_timers() == [OLD] * 2, "all settings are restored")


def test_verify_false_works_and_warns_on_every_run(mutual: Secured, tmp_path: Path) -> None:
    file = mutual.file(tmp_path, ca=None, verify=False)
    for command in ("status", "up", "status"):
        outcome = clusterboot(command, file)
        assert outcome.exit in (0, 4), outcome
        assert "certificates are not checked (tls.verify: false)" in _one_line(outcome)


def _one_line(outcome: Outcome) -> str:
    return " ".join((outcome.out + outcome.err).split())


def test_a_server_name_stands_for_the_host_in_the_certificate(
    mutual: Secured, odd: dict[str, int], tmp_path: Path
) -> None:
    outcome = clusterboot("status", mutual.file(tmp_path, server_name="node.example"))
    assert outcome.exit in (0, 4), outcome
    (problem,) = refused(mutual, mutual.file(tmp_path, nodes=[f"localhost:{odd['elsewhere']}"]))
    assert problem["code"] == "tls-wrong-name"
    alone = mutual.file(tmp_path, nodes=[f"localhost:{odd['elsewhere']}"], server_name="elsewhere.example")
    assert clusterboot("status", alone).exit == 4


def test_a_wrong_ca_is_named(mutual: Secured, pki: Pki, tmp_path: Path) -> None:
    found = refused(mutual, mutual.file(tmp_path, ca=str(pki.other_ca)), count=6)
    node = f"localhost:{mutual.tls_ports[0]}"
    assert found[0]["code"] == "tls-unknown-ca"
    assert found[0]["message"] == (
        f"{node} shows a certificate that is not signed by a CA in tls.ca ({pki.other_ca})."
    )
    assert found[0]["hint"] == "set tls.ca to the CA that issued the certificates of the nodes"


def test_without_a_ca_the_systems_are_asked(mutual: Secured, tmp_path: Path) -> None:
    found = refused(mutual, mutual.file(tmp_path, ca=None), count=6)
    assert found[0]["message"].endswith(
        "shows a certificate that is not signed by a CA that this system trusts."
    )


def test_one_node_of_six_with_an_expired_certificate_is_named(
    mutual: Secured, odd: dict[str, int], tmp_path: Path
) -> None:
    nodes = [f"localhost:{port}" for port in (*mutual.tls_ports[:5], odd["expired"])]
    (problem,) = refused(mutual, mutual.file(tmp_path, nodes=nodes))
    assert (problem["code"], problem["node"]) == ("tls-expired", nodes[5])
    assert problem["message"] == (f"{nodes[5]} shows a certificate that has expired, or one of its CAs has.")
    assert problem["hint"] == f"renew it on {nodes[5]}; if it is in date, check the clock of this machine"


def test_one_node_of_six_of_another_ca_is_named(
    mutual: Secured, odd: dict[str, int], pki: Pki, tmp_path: Path
) -> None:
    nodes = [f"localhost:{port}" for port in (*mutual.tls_ports[:5], odd["unknown"])]
    (problem,) = refused(mutual, mutual.file(tmp_path, nodes=nodes))
    assert (
        problem["message"]
        == f"{nodes[5]} shows a certificate that is not signed by a CA in tls.ca ({pki.ca})."
    )


def test_a_name_that_is_not_in_the_certificate_is_told(mutual: Secured, tmp_path: Path) -> None:
    found = refused(mutual, mutual.file(tmp_path, server_name="other.example"), count=6)
    node = f"localhost:{mutual.tls_ports[0]}"
    assert found[0]["code"] == "tls-wrong-name"
    assert found[0]["message"] == f"{node} shows a certificate that is not valid for other.example."
    assert found[0]["hint"] == (
        "set tls.server_name to a name in the certificate, or issue it with other.example in subjectAltName"
    )


def test_a_missing_client_certificate_is_told(mutual: Secured, tmp_path: Path) -> None:
    found = refused(mutual, mutual.file(tmp_path, cert=None, key=None), count=6)
    node = f"localhost:{mutual.tls_ports[0]}"
    assert found[0]["code"] == "tls-client-certificate"
    assert found[0]["message"] == f"{node} wants a client certificate, and the topology gives none."
    assert found[0]["hint"] == "set tls.cert and tls.key, or 'tls-auth-clients no' on the server"


@pytest.mark.parametrize(
    ("cert", "why"), [("unknown", "it does not know the CA"), ("expired", "it has expired")]
)
def test_a_client_certificate_that_the_server_does_not_accept_is_named(
    cert: str, why: str, mutual: Secured, pki: Pki, tmp_path: Path
) -> None:
    path = pki.folder / f"{cert}.pem"
    nodes = [f"localhost:{mutual.tls_ports[0]}"]
    file = mutual.file(tmp_path, nodes=nodes, cert=str(path), key=str(path.with_suffix(".key")))
    (problem,) = refused(mutual, file)
    assert problem["code"] == "tls-client-certificate"
    # Where the server hangs up quicker than its alert is read, nobody can tell why.
    assert problem["message"] in (
        f"{nodes[0]} does not accept the client certificate {path}: {why}.",
        f"{nodes[0]} does not accept the client certificate {path}: it closed the connection.",
    )


def test_a_plain_port_and_a_tls_port_are_told_apart(mutual: Secured, tmp_path: Path) -> None:
    plain = f"localhost:{mutual.servers.ports[0]}"
    (problem,) = refused(mutual, mutual.file(tmp_path, nodes=[plain]))
    assert problem["code"] == "tls-not-spoken"
    assert (
        problem["message"] == f"{plain} (127.0.0.1) takes connections but does not answer the TLS handshake."
    )
    file = tmp_path / "plain.yaml"
    file.write_text(f"version: 1\nnodes: ['localhost:{mutual.tls_ports[0]}']\n")
    (problem,) = refused(mutual, file)
    assert problem["code"] == "connection-lost"
    assert "TLS ports without 'tls' in the topology" in problem["hint"]


def test_files_that_cannot_be_used_are_named_before_anything_is_connected_to(
    pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing\n")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    locked = tmp_path / "locked.key"
    locked.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
    cert, key = pki.folder / "client.pem", pki.folder / "client.key"
    cases = [
        (
            {"ca": tmp_path / "none.pem"},
            f"tls.ca cannot be used: {tmp_path}/none.pem: there is no such file.",
        ),
        ({"ca": tmp_path}, f"tls.ca cannot be used: {tmp_path}: it is not a file."),
        (
            {"ca": garbage},
            f"tls.ca cannot be used: {garbage}: it holds no certificate in PEM format.",
        ),
        ({"ca": broken}, f"tls.ca cannot be used: {broken}: OpenSSL cannot use it:"),
        (
            {"cert": garbage, "key": key},
            f"tls.cert cannot be used: {garbage}: it holds no certificate in PEM format.",
        ),
        (
            {"cert": cert, "key": cert},
            f"tls.key cannot be used: {cert}: it holds no private key in PEM format.",
        ),
        (
            {"cert": cert, "key": pki.folder / "node.key"},
            f"tls.key cannot be used: {pki.folder}/node.key: it does not belong to the certificate in "
            "tls.cert.",
        ),
        ({"cert": cert, "key": locked}, f"tls.key cannot be used: {locked}:"),
    ]
    for tls, message in cases:
        file = tmp_path / "topology.yaml"
        entries = ", ".join(f"{name}: '{path}'" for name, path in tls.items())
        # Nobody listens there: a connection would end with another status.
        file.write_text(f"version: 1\nnodes: ['127.0.0.1:1']\ntls: {{{entries}}}\n")
        shell = Shell(json=True)
        status = shell.guard("up", lambda: commands.up(shell, file, UpOptions(), Reach(5.0)))  # noqa: B023
        assert status is Exit.USAGE
        (problem,) = json.loads(capsys.readouterr().out)["errors"]
        assert problem["code"] == "tls-file"
        assert problem["message"].startswith(message), problem
