"""A command behaves the same in every current folder and every locale."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LOWU = Path(sys.executable).with_name("lowu")
RUN = "raise SystemExit('a file of the current folder was run: ' + __name__)"
OWN = ("consensus", "contracts", "experiments", "institutions", "lowu", "node")
THEIRS = ("click", "coincurve", "eth", "eth_abi", "msgpack", "rich", "rocksdict", "rlp", "trio")


@pytest.fixture
def hostile(tmp_path):
    """A folder with a module for every name that Lowu or Python imports."""
    for name in {*OWN, *THEIRS, *sys.stdlib_module_names}:
        (tmp_path / f"{name}.py").write_text(RUN)
    for name in ("contracts", "node"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(RUN)
    return tmp_path


def run(*command, cwd, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env={**kept, **environment}, capture_output=True,
        timeout=100,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        "version",
        "validate dev-4",
        "sample cn.ecr/1",
    ],
)
def test_nothing_of_the_current_folder_is_imported(hostile, arguments):
    """N-L1: processes that the command starts ran a node.py in the current folder."""
    done = run(LOWU, *arguments.split(), cwd=hostile)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_nothing_is_imported_by_the_workers_of_a_pool(hostile, method):
    """N-L1: multiprocessing starts Python with `-c`, which searches the current folder."""
    script = hostile / "bin" / "command"  # as `lowu` is: not in the current folder
    script.parent.mkdir()
    script.write_text(f"""
import multiprocessing, os
from concurrent.futures import ProcessPoolExecutor
from lowu.cli import _prepare_process

if __name__ == "__main__":
    _prepare_process()
    with ProcessPoolExecutor(1, multiprocessing.get_context("{method}")) as pool:
        print(pool.submit(os.getcwd).result())
""")
    done = run(sys.executable, script, cwd=hostile)
    assert (done.returncode, done.stdout.decode().strip()) == (0, str(hostile)), done.stderr


def test_nothing_is_imported_by_the_module_either(tmp_path):
    """N-L1 with `python -m lowu`; modules that runpy imports before it cannot be protected."""
    for name in {*OWN, *THEIRS, "json", "signal", "socket"} - {"lowu"}:
        (tmp_path / f"{name}.py").write_text(RUN)
    done = run(sys.executable, "-m", "lowu", "validate", "dev-4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()


LOCALES = {
    # ASCII, with Python's own fallbacks to UTF-8 switched off.
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "ISO-8859-1": {"PYTHONIOENCODING": "iso-8859-1"},
    "GB18030": {"PYTHONIOENCODING": "gb18030"},
}


def skip_without_a_path_to_libraries(locale):
    """In an ASCII locale, pycryptodome finds its own libraries only at an ASCII path."""
    if locale == "C" and not str(LOWU).isascii():
        pytest.skip("pycryptodome cannot load its libraries from this path in an ASCII locale")


@pytest.mark.parametrize("locale", LOCALES)
def test_samples_and_networks_in_every_locale(tmp_path, locale):
    """N-L2: `lowu sample` failed after writing, a bundled network was not found."""
    skip_without_a_path_to_libraries(locale)
    for arguments in ("sample cn.ecr/1", "validate gba-13"):
        done = run(LOWU, *arguments.split(), cwd=tmp_path, **LOCALES[locale])
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        assert done.stdout
    assert "credit" in (tmp_path / "document.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("locale", LOCALES)
def test_json_is_json_in_every_locale(tmp_path, locale):
    """N-L2: characters that the encoding lacks are escaped in JSON's way."""
    skip_without_a_path_to_libraries(locale)
    path = tmp_path / "罗湖-😀.json"
    command = (LOWU, "sample", "cn.ecr/1", "--json", "--output", path)
    done = run(*command, cwd=tmp_path, **LOCALES[locale])
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert json.loads(done.stdout)["ok"] is True


def test_a_network_file_in_another_encoding_is_called_that(tmp_path):
    (tmp_path / "own.toml").write_bytes("name = '罗湖'".encode("gb18030"))
    done = run(LOWU, "validate", "own.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert b"is not UTF-8 text" in done.stderr


def test_an_argument_in_another_encoding_is_called_that(tmp_path):
    """N-L2: a holder or field name with a byte that is not UTF-8 gave a traceback."""
    code = (
        "import sys; from lowu import cli;"
        "from lowu.institutions.package.canonical import encode_canonical;"
        "does = {'encode': str.encode, 'canonical': encode_canonical}[sys.argv[1]];"
        "cli.cli.main = lambda **options: does('\\udcff'); sys.exit(cli.main())"
    )
    for how in ("encode", "canonical"):
        done = run(sys.executable, "-c", code, how, cwd=tmp_path)
        assert done.returncode == 2, done.stderr.decode()
        assert done.stderr.startswith(b"error: ") and done.stderr.count(b"\n") == 1
