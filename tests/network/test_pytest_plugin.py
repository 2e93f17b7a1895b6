"""The pytest plugin, in a separate project."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def run(pytester, *arguments):
    """Run the project's tests as its owner would, without the plugins of our own tests."""
    return pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", *arguments)


@pytest.mark.parametrize(("name", "count"), [("bank", 5), ("research", 3), ("load", 2)])
def test_the_examples_from_the_docs(pytester, name, count):
    pytester.makepyfile(**{f"test_{name}": (EXAMPLES / f"test_{name}.py").read_text()})
    run(pytester).assert_outcomes(passed=count)


def test_failures_tell_what_helps(pytester):
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
    result = run(pytester, "--lowu-network", "dev-4", "--lowu-seed", "7")
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    assert "--lowu-seed 7 repeats this run" in text
    assert "Lowu logs, merged" in text and "link up" in text


def test_a_network_that_does_not_exist(pytester):
    pytester.makepyfile("def test_it(lowu_virtual): pass")
    result = run(pytester, "--lowu-network", "nowhere")
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
def test_fixtures_are_described(pytester, name):
    result = run(pytester, "--fixtures")
    assert name in result.stdout.str()
