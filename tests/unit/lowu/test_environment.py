"""The environment of the two commands: when it is rebuilt, by which run, with which Python."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
MAKE = '''
def make(root, venv):
    """Make a link and write a line to a file, instead of installing packages."""
    (venv / "bin").mkdir(exist_ok=True)
    (venv / "bin" / "python").unlink(missing_ok=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    with (root / "made").open("a", encoding="utf-8") as made:
        made.write("made\\n")
    if (root / "interrupt").exists():
        raise KeyboardInterrupt
    if (root / "wait").exists():
        (root / "wait").open("rb").read()  # a pipe: blocks until the test opens its other end


if __name__'''
COMMAND = '#!/bin/sh\nset -eu\n. "$(dirname "$0")/environment"\necho "$venv"\n'


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose environment takes no time."""
    root = tmp_path / "lo wu 罗湖"
    (root / "scripts").mkdir(parents=True)
    for name in ("requirements.lock", "pyproject.toml"):
        (root / name).write_text(name)
    shutil.copy(SCRIPTS / "environment", root / "scripts")
    text = (SCRIPTS / "make_environment.py").read_text(encoding="utf-8")
    script = root / "scripts" / "make_environment.py"
    script.write_text(text.replace("\nif __name__", MAKE, 1), encoding="utf-8")
    (root / "scripts" / "command").write_text(COMMAND)
    return root


def start(root, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOWU_")}
    return subprocess.Popen(
        ["sh", root / "scripts" / "command"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**kept, "LOWU_PYTHON": sys.executable, **environment}, cwd=root.parent,
    )  # fmt: skip


def run(root, **environment):
    process = start(root, **environment)
    out, errors = process.communicate(timeout=60)
    return process.returncode, out.decode().strip(), errors.decode()


def times_made(root):
    return len((root / "made").read_text().splitlines())


def test_it_is_made_once(checkout):
    assert run(checkout)[:2] == (0, str(checkout / ".venv"))
    assert run(checkout) == (0, str(checkout / ".venv"), "")
    assert times_made(checkout) == 1


def test_a_moved_checkout_mends_its_environment(checkout):
    run(checkout)
    moved = checkout.rename(checkout.with_name("elsewhere"))
    assert run(moved)[0] == 0
    assert times_made(moved) == 2
    assert run(moved)[2] == ""


def test_what_is_made_anew(checkout):
    run(checkout)
    (checkout / "requirements.lock").write_text("other")
    run(checkout)
    assert times_made(checkout) == 2
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()  # the system's Python has gone
    python.symlink_to(checkout / "gone")
    run(checkout)
    assert times_made(checkout) == 3
    python.unlink()  # or is another version now
    python.write_text("#!/bin/sh\necho Python 3.10.1\n")
    python.chmod(0o755)
    run(checkout)
    assert times_made(checkout) == 4


def test_two_first_runs_at_once(checkout):
    """The second run waits for the first, and makes nothing."""
    os.mkfifo(checkout / "wait")
    first = start(checkout)
    with (checkout / "wait").open("wb"):  # opens once the first one is making it
        second = start(checkout)
        assert b"waiting for another run" in second.stderr.readline()
    for process in (first, second):
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert times_made(checkout) == 1


def test_an_interrupted_run_leaves_none(checkout):
    (checkout / "interrupt").touch()
    assert run(checkout)[0] == 130
    (checkout / "interrupt").unlink()
    assert run(checkout)[0] == 0
    assert times_made(checkout) == 2


def test_a_checkout_that_one_may_not_write(checkout):
    (checkout / ".venv").write_text("no folder can be made here, whoever runs the tests")
    code, _, errors = run(checkout)
    assert code == 3
    assert "Set LOWU_VENV to a folder that you may write to" in errors
    assert "Traceback" not in errors
    place = checkout.parent / "mine"
    assert run(checkout, LOWU_VENV=str(place))[:2] == (0, str(place))
    assert run(checkout, LOWU_VENV="mine") == (0, str(place), "")  # from the current folder


def fake(folder, name, answer):
    """Write a Python that claims to be another version."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nif [ "$2" = -c ]; then {answer}; fi\nexec "{sys.executable}" "$@"')
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("pythons", "taken"),
    [
        ({"python3.13": "echo 13; exit", "python3": "echo 14; exit"}, "python3"),
        ({"python3.14": "exit 1", "python3.12": "echo 12; exit"}, "python3.12"),  # no venv
        ({"python3.13": "echo 13; exit", "python3.14": "echo 14; exit"}, "python3.14"),
        ({"python3": "echo 0; exit", "python3.11": "echo 11; exit"}, "python3.11"),  # too new
    ],
)
def test_the_newest_python_that_will_do_is_taken(checkout, tmp_path, pythons, taken):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python3.14", "python3.13", "python3.12", "python3.11", "python3"):
        fake(folder, name, pythons.get(name, "exit 1"))
    script = (folder / taken).read_text()
    (folder / taken).write_text(script.replace("exec", f"echo {taken} > '{tmp_path}/taken'; exec"))
    path = f"{folder}:{os.environ['PATH']}"
    code, _, errors = run(checkout, LOWU_PYTHON="", PATH=path)
    assert code == 0, errors
    assert (tmp_path / "taken").read_text().strip() == taken


def test_no_python_that_will_do(checkout, tmp_path):
    code, _, errors = run(checkout, LOWU_PYTHON="/nowhere/python")
    assert code == 3
    assert "LOWU_PYTHON=/nowhere/python is not CPython 3.11 to 3.14" in errors


def test_modules_are_found_whatever_the_locale(tmp_path):
    """On 3.14, in a folder with a Chinese name and in an ASCII locale, `lowu` was not found."""
    root, venv = tmp_path / "lo wu 罗湖", tmp_path / "venv"
    (root / "scripts").mkdir(parents=True)
    (root / "scripts" / "probe_of_lowu.py").write_text("print('found')")
    site = venv / "lib" / "python3.14" / "site-packages"
    site.mkdir(parents=True)
    (site / "_lowu.pth").write_text(f"{root}\n{root}/scripts", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("made", SCRIPTS / "make_environment.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    made.spell_paths(root, venv)
    code = f"import site; site.addsitedir({str(site)!r}); import probe_of_lowu"
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **ascii_only}, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.stdout == b"found\n", done.stderr
