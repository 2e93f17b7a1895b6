"""README and the pages of docs, executed as they stand: in order, in an empty folder.

Blocks marked ``sh`` are run line by line; a line ends with ``# exits N`` if it is to fail. Blocks
of ``python`` are programs, or tests if they define any. Other blocks are marked as what they are:
``console`` (what a clone or another machine needs), ``text``, ``json``, ``toml``, ``solidity``.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN = {"sh", "python", "console", "text", "json", "toml", "solidity"}
EXITS = re.compile(r"\s# exits ([0-9]+)\b.*$")


def blocks(page):
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def is_test(kind, text):
    return kind == "python" and "def test_" in text


def to_script(page):
    """Return a page's commands as a shell script that stops at the first surprise."""
    lines = ["set -u"]
    for kind, text in blocks(page):
        if kind == "sh":
            lines += map(check, text.replace("\\\n", " ").splitlines())
        elif kind == "python" and "import" in text and not is_test(kind, text):
            lines += [f"{sys.executable} - <<'PROGRAM'", text, "PROGRAM", check(":")]
    return "\n".join(lines)


def check(line):
    """Return a line with a check of its exit code, which is 0 unless it says otherwise."""
    told = EXITS.search(line)
    wanted = int(told[1]) if told else 0
    shown = line.replace("'", "'\\''")
    return f"{line}\ncode=$?; [ $code = {wanted} ] || {{ echo '{shown}' exits $code; exit 1; }}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page):
    for kind, text in blocks(page):
        assert kind in KNOWN, f"{page.name}: a block of {kind or 'no kind'}: {text[:80]}"
        assert "…" not in text or kind not in ("sh", "console"), f"{page.name}: {text}"
        if kind == "toml":
            tomllib.loads(text)


@pytest.mark.parametrize(
    ("line", "code"),
    [("true", 0), ("false", 1), ("false   # exits 1: so it must", 0), ("true  # exits 1", 1),
     ("echo 'a b' # text", 0), ("nowhere-to-be-found", 1)],
)  # fmt: skip
def test_a_wrong_command_is_noticed(tmp_path, line, code):
    page = tmp_path / "page.md"
    page.write_text(f"```sh\n{line}\ntrue\n```\n", "utf-8")
    done = subprocess.run(["sh", "-c", to_script(page)], capture_output=True, text=True)
    assert done.returncode == code
    assert (line.strip() in done.stdout) is bool(code)


PAGE_S = 300
"""How long a page's commands may take before they are taken to hang."""
EXECUTED = [page for page in PAGES if any(kind == "sh" for kind, _ in blocks(page))]


@pytest.mark.timeout(
    PAGE_S + 30
)  # a page has dozens of commands; beside other tests, it takes long
@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_as_they_stand(page, tmp_path, warm):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LOWU_")}
    tools = [str(warm), str(Path(sys.executable).parent), environment["PATH"]]
    environment["PATH"] = os.pathsep.join(tools)
    try:
        done = subprocess.run(
            ["sh", "-c", to_script(page)], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PAGE_S,
        )  # fmt: skip
    finally:
        down = [sys.executable, "-m", "lowu", "down"]
        subprocess.run(down, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, done.stdout[-4000:]


pytest_plugins = ["pytester"]
TESTED = [page for page in PAGES if any(is_test(*block) for block in blocks(page))]


@pytest.mark.parametrize("page", TESTED, ids=lambda page: page.name)
def test_the_tests_on_a_page_pass(page, pytester):
    programs = [text for kind, text in blocks(page) if is_test(kind, text)]
    for number, text in enumerate(programs):
        pytester.makepyfile(**{f"test_{number}": text})
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=sum(text.count("def test_") for text in programs))
