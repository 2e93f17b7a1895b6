"""Fixtures for tests of software that works with a Lowu network (docs/TESTING.md).

The rest of Lowu is imported only when a test uses a fixture; tests that use none are unaffected.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    text = "lowu_network(name): the network that the virtual fixture uses for this test"
    config.addinivalue_line("markers", text)


def _network(config: pytest.Config) -> str:
    return str(config.getoption("--lowu-network") or config.getini("lowu_network"))


@pytest.fixture
def lowu_virtual(request: pytest.FixtureRequest) -> VirtualNetwork:
    """A network in virtual time: each `lowu_virtual.play(function)` runs on a fresh one.

    The function is async and takes the institutions and the faults.
    """
    from lowu.testing.networks import VirtualNetwork

    marker = request.node.get_closest_marker("lowu_network")
    name = str(marker.args[0]) if marker is not None else _network(request.config)
    virtual = VirtualNetwork(name, int(request.config.getoption("--lowu-seed")))
    request.node.stash[_VIRTUAL] = virtual
    return virtual


@pytest.fixture(scope="session")
def lowu_processes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProcessNetwork]:
    """A network of real processes, started once: `lowu_processes.play(function)` uses it.

    Tests share it; give each test its own documents and holders.
    """
    from lowu.testing.networks import ProcessNetwork

    processes = ProcessNetwork(_network(request.config), tmp_path_factory.mktemp("lowu") / "nodes")
    try:
        processes.start()
        request.config.stash[_PROCESSES] = processes
        yield processes
    finally:
        processes.stop()


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
    processes = item.config.stash.get(_PROCESSES, None)
    if processes is not None and "lowu_processes" in getattr(item, "fixturenames", ()):
        report.sections.append(("Lowu logs, merged", _read_logs(processes)))


def _read_logs(processes: ProcessNetwork) -> str:
    from lowu.commands.logs import merge_logs
    from lowu.node.topology.tree import node_folder

    paths = {
        item.name: node_folder(processes.folder, item) / "log" / "node.log"
        for item in processes.plan.nodes
    }
    return "\n".join(list(merge_logs(paths))[-LOG_LINES:])
