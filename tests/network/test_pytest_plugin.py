"""The pytest plugin, in a separate project."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def run(pytester, warm, *arguments):
    """Run the project's tests as its owner would, without the plugins of our own tests.

    In a process that has imported Lowu; tests/network/test_wheel.py starts one that has not.
    """
    own = f"--basetemp={pytester.path}/own", "-p", "no:randomly", "-p", "no:cacheprovider"
    return pytester.run(warm / "pytest", *own, *arguments)


@pytest.mark.parametrize(("name", "count"), [("bank", 7), ("research", 3), ("load", 2)])
def test_the_examples_from_the_docs(pytester, warm, name, count):
    pytester.makepyfile(**{f"test_{name}": (EXAMPLES / f"test_{name}.py").read_text()})
    run(pytester, warm).assert_outcomes(passed=count)


def test_failures_tell_what_helps(pytester, warm):
    pytester.makepyfile(
        """
        import pytest

        async def fail(actors, faults):
            raise RuntimeError("no")

        @pytest.mark.lowu_network("dev-4")
        def test_virtual(lowu_virtual):
            lowu_virtual.play(fail)

        def test_processes(lowu_processes):
            lowu_processes.play(fail)
        """
    )
    result = run(pytester, warm, "--lowu-network", "dev-4", "--lowu-seed", "7")
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    assert "--lowu-seed 7 repeats this run" in text
    assert "Lowu logs, merged" in text and "link up" in text


def test_a_network_that_does_not_exist(pytester, warm):
    pytester.makepyfile("def test_it(lowu_virtual): pass")
    result = run(pytester, warm, "--lowu-network", "nowhere")
    result.assert_outcomes(errors=1)
    assert "nowhere" in result.stdout.str() and "seed-7" in result.stdout.str()


def test_nothing_is_imported_unless_asked_for():
    code = "import sys, lowu.testing.plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heavy = {"lowu.consensus", "lowu.institutions", "lowu.experiments", "eth", "trio", "lowu.node"}
    heavy.add("lowu.testing.networks")
    assert not set(done.stdout.split()) & heavy


@pytest.mark.parametrize("name", ["lowu_virtual", "lowu_processes"])
def test_fixtures_are_described(pytester, warm, name):
    result = run(pytester, warm, "--fixtures")
    assert name in result.stdout.str()


def test_both_fixtures_follow_the_marker_and_have_the_same_faults(pytester, warm):
    pytester.makepyfile(
        """
        import pytest
        import trio

        pytestmark = pytest.mark.lowu_network("dev-4")

        @pytest.fixture(params=["lowu_virtual", "lowu_processes"])
        def network(request):
            return request.getfixturevalue(request.param)

        def height(actors, name):
            return actors.clients[name].call("eth_blockNumber")

        def test_a_cut(network):
            async def play(actors, faults):
                assert len(actors.plan.nodes) == 4
                async with faults.cut("SZ", "HK"):
                    with actors.horizon.ignored():
                        await trio.sleep(1)  # blocks that were agreed on are committed
                        before = await height(actors, "webank")
                        with trio.move_on_after(3) as limit:
                            await actors.revoke("szcredit", b"1" * 32)
                        assert limit.cancelled_caught
                        assert await height(actors, "webank") == before
                with pytest.raises(Exception, match="NOT_FOUND"):
                    await actors.revoke("szcredit", b"2" * 32)

            network.play(play)

        def test_a_slow_node(network):
            async def play(actors, faults):
                async with faults.slow(0.5, "webank"):
                    with pytest.raises(Exception, match="NOT_FOUND"):
                        await actors.revoke("szcredit", b"3" * 32)

            network.play(play)

        def test_a_paused_node_and_a_link(network):
            async def play(actors, faults):
                async with faults.pause("webank"), faults.link("node0", "HK", delay_s=0.05):
                    with pytest.raises(Exception, match="NOT_FOUND"):
                        await actors.revoke("szcredit", b"4" * 32)
                    with actors.horizon.ignored(), trio.move_on_after(1) as limit:
                        await height(actors, "webank")
                    assert limit.cancelled_caught
                assert int(await height(actors, "webank"), 16) > 0

            network.play(play)
        """
    )
    run(pytester, warm).assert_outcomes(passed=6)
