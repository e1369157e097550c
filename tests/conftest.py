"""Fixtures that every test may use; what they are made of is in tests/harness.

Tests that start servers get the marker `server` by themselves and run last.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.harness import servers as harness
from tests.harness.servers import SERVERS, Missing, Servers

# In the background of a shell these are ignored, and whatever a test starts would ignore them as well.
for _number in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL if _number is signal.SIGQUIT else signal.default_int_handler)
# The same under nohup, but this process has to survive it: what it starts has the default again.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

_STARTS_SERVERS = {"server_kind", "any_server", "servers"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _STARTS_SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)
    items.sort(key=_order)
    if file := os.environ.get("CLUSTERBOOT_SKIPPED_BEFORE"):
        before = set(Path(file).read_text().splitlines())
        # Where there are more servers, any of them is another one.
        again = [item.nodeid in before or "any_server" in getattr(item, "fixturenames", ()) for item in items]
        config.hook.pytest_deselected(items=[item for item, now in zip(items, again, strict=True) if not now])
        items[:] = [item for item, now in zip(items, again, strict=True) if now]


def _order(item: pytest.Item) -> tuple[bool, str]:
    """Servers last, and kind by kind: each worker starts and keeps as few pools of servers as it can."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return item.get_closest_marker("server") is not None, parameters.get("server_kind", "")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write down what is skipped: CI hides the servers on PATH first, and runs the rest with them."""
    file = os.environ.get("CLUSTERBOOT_SKIPPED")
    if file and report.skipped and "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(file).open("a") as skipped:
            skipped.write(f"{report.nodeid}\n")


def _absent(reason: Missing) -> None:
    """Fail where every server must be (CI sets CLUSTERBOOT_REQUIRE_SERVERS=1), else skip with the reason."""
    if os.environ.get("CLUSTERBOOT_REQUIRE_SERVERS") == "1":
        pytest.fail(str(reason), pytrace=False)
    pytest.skip(str(reason))


@pytest.fixture(params=SERVERS)
def server_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server in turn: valkey91, redis62, redis70."""
    kind: str = request.param
    try:
        harness.binary(kind)
    except Missing as reason:
        _absent(reason)
    return kind


# For long tests: in the normal run the kind of server that every machine has, in the soak all kinds.
ONE_KIND = pytest.mark.parametrize(
    "server_kind",
    [kind if kind == "valkey91" else pytest.param(kind, marks=pytest.mark.soak) for kind in SERVERS],
    indirect=True,
)


@pytest.fixture
def any_server() -> str:
    """One kind of server, for behaviour that is not the server's."""
    try:
        return harness.any_kind()
    except Missing as reason:
        _absent(reason)
        raise


@pytest.fixture
def servers() -> Iterator[Callable[..., Servers]]:
    """Start servers that are killed when the test ends: `servers(kind, count, node_timeout=...)`."""
    with ExitStack() as stack:

        def start(kind: str, count: int, **options: Any) -> Servers:
            return stack.enter_context(Servers(kind, count, **options))

        yield start


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Return client ports whose bus ports are free as well: `free_ports(6)`."""
    return harness.free_ports


@pytest.fixture(autouse=True)
def state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give each test a state folder of its own, not yet made; servers left running in it are killed."""
    folder = tmp_path_factory.getbasetemp() / f"state-{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("CLUSTERBOOT_STATE", str(folder))
    yield folder
    if folder.exists():
        for process in Path("/proc").glob("[0-9]*"):
            try:
                inside = (process / "cwd").readlink().is_relative_to(folder.resolve())
            except OSError:
                continue
            if inside and process.name != str(os.getpid()):
                os.kill(int(process.name), signal.SIGKILL)
