"""Fixtures for tests of software that works with a Lowu network (docs/TESTING.md).

The rest of Lowu is imported only when a test uses a fixture; tests that use none are unaffected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lowu.testing.networks import ProcessNetwork, VirtualNetwork

LOG_LINES = 40
_PROCESSES = pytest.StashKey[Any]()
_VIRTUAL = pytest.StashKey[Any]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, on the command line and in the configuration file."""
    group = parser.getgroup("lowu", "Lowu networks")
    group.addoption("--lowu-network", help="Network of the fixtures: a name or a file.")
    group.addoption("--lowu-seed", type=int, default=0, help="Seed of virtual networks.")
    parser.addini("lowu_network", "Network of the fixtures: a name or a file.", default="seed-7")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    text = "lowu_network(name): the network that the fixtures use for this test"
    config.addinivalue_line("markers", text)


def _network(config: pytest.Config) -> str:
    return str(config.getoption("--lowu-network") or config.getini("lowu_network"))


def _find_name(request: pytest.FixtureRequest) -> str:
    marker = request.node.get_closest_marker("lowu_network")
    if marker is None:
        return _network(request.config)
    if len(marker.args) != 1 or marker.kwargs or not isinstance(marker.args[0], str):
        raise pytest.UsageError('lowu_network takes one name: @pytest.mark.lowu_network("dev-4")')
    return marker.args[0]


@pytest.fixture
def lowu_virtual(request: pytest.FixtureRequest) -> VirtualNetwork:
    """A network in virtual time: each `lowu_virtual.play(function)` runs on a fresh one.

    The function is async and takes the institutions and the faults.
    """
    from lowu.testing.networks import VirtualNetwork

    virtual = VirtualNetwork(_find_name(request), int(request.config.getoption("--lowu-seed")))
    request.node.stash[_VIRTUAL] = virtual
    return virtual


@pytest.fixture(scope="session")
def _lowu_running(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], ProcessNetwork]]:
    """Return the running network of a name, started when it is first asked for."""
    from lowu.testing.networks import ProcessNetwork

    running: dict[str, ProcessNetwork] = {}

    def find(name: str) -> ProcessNetwork:
        if name not in running:
            network = ProcessNetwork(name, tmp_path_factory.mktemp("lowu") / "nodes")
            try:
                network.start()
            except BaseException:
                network.stop()
                raise
            running[name] = network
        return running[name]

    try:
        yield find
    finally:
        for network in running.values():
            network.stop()


@pytest.fixture
def lowu_processes(
    request: pytest.FixtureRequest, _lowu_running: Callable[[str], ProcessNetwork]
) -> ProcessNetwork:
    """A network of real processes, started once: `lowu_processes.play(function)` uses it.

    Tests share it; give each test its own documents and holders.
    """
    processes = _lowu_running(_find_name(request))
    request.node.stash[_PROCESSES] = processes
    return processes


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add the logs or the seed to the report of a failed test that used a fixture."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when != "call" or not report.failed:
        return
    virtual = item.stash.get(_VIRTUAL, None)
    if virtual is not None:
        text = f"seed {virtual.seed}: --lowu-seed {virtual.seed} repeats this run"
        report.sections.append(("Lowu network", text))
    processes = item.stash.get(_PROCESSES, None)
    if processes is not None:
        report.sections.append(("Lowu logs, merged", _read_logs(processes)))


def _read_logs(processes: ProcessNetwork) -> str:
    from lowu.commands.logs import merge_logs
    from lowu.node.topology.tree import node_folder

    paths = {
        item.name: node_folder(processes.folder, item) / "log" / "node.log"
        for item in processes.plan.nodes
    }
    lines = [line for line in merge_logs(paths) if "[METRIC]" not in line]
    return "\n".join(lines[-LOG_LINES:])
