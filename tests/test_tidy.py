"""The house rules that a machine can check: imports, sizes, bans, names."""

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("consensus", "contracts", "node", "institutions", "experiments")
"""Folders at the root. Each is imported and installed as ``lowu.NAME`` (docs/adr/0017)."""
MODULE_LINES_MAX = 500
FOLDER_FILES_MAX = 15
LARGE_FOLDERS = {
    "consensus": 26,  # small files, each one rule of the protocol
    "tests/network": 18,
    "tests/regressions": 100,  # one file a bug
}
FUNCTION_LINES_MAX = 60

ALLOWED = {
    "consensus": set(),
    "contracts": set(),
    "node": {"consensus", "contracts"},
    "institutions": {"contracts", "node.client"},
    "experiments": {
        "contracts", "node.topology", "node.client", "institutions", "consensus.simulation",
    },
    "lowu": {*PACKAGES, "lowu"},
}  # fmt: skip
"""By folder, ``lowu`` for the command: what it may import of the others, without the prefix."""
BANNED_IN_CONSENSUS = {
    "trio", "asyncio", "time", "random", "os", "logging", "socket", "secrets", "threading",
    "json", "datetime",
}  # fmt: skip


def sources():
    folders = [ROOT / name for name in PACKAGES] + [ROOT / "scripts" / "lowu"]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def package_of(path):
    parts = path.relative_to(ROOT).parts
    return "lowu" if parts[0] == "scripts" else parts[0]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def own_imports(path):
    """Yield what is imported of the project, without the prefix: ``consensus.replica``."""
    for name in imports(path):
        top, _, rest = name.partition(".")
        assert top not in PACKAGES, f"{path}: {name} is called lowu.{name}"
        if top == "lowu":
            yield rest if rest.split(".")[0] in PACKAGES else "lowu"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module(path):
    text = path.read_text()
    tree = ast.parse(text)
    package = package_of(path)
    assert ast.get_docstring(tree), "a module begins with a docstring"
    assert len(text.splitlines()) <= MODULE_LINES_MAX
    for name in own_imports(path):
        if name.split(".")[0] == package:
            continue
        allowed = ALLOWED[package]
        is_allowed = any(name == item or name.startswith(item + ".") for item in allowed)
        assert is_allowed, f"{package} may not import {name}"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: bare assert"
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


def modules():
    """Return every module by its dotted name."""
    names = {}
    for path in sources():
        base = ROOT / "scripts" / "lowu" if package_of(path) == "lowu" else ROOT
        dotted = ".".join(("lowu", *path.relative_to(base).with_suffix("").parts))
        names[dotted.removesuffix(".__init__")] = path
    return names


def imports_at_the_start(tree):
    """Yield the modules that a module imports before any of its functions runs."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting += ast.iter_child_nodes(node)


def find_circle(graph):
    """Return modules each of which imports the next, and the last the first; [] if there are none.

    Modules that import only modules already removed are removed, until none is left to remove.
    """
    left = dict(graph)
    while True:
        done = [name for name, targets in left.items() if not targets & left.keys()]
        if not done:
            break
        for name in done:
            del left[name]
    if not left:
        return []
    way = [min(left)]
    while way.count(way[-1]) == 1:
        way.append(min(left[way[-1]] & left.keys()))
    return way[way.index(way[-1]) :]


def test_no_module_imports_itself_by_way_of_others():
    """Imports for type checking count: modules that need each other's types are one unit."""
    known = modules()
    graph = {}
    for name, path in known.items():
        found = set(imports_at_the_start(ast.parse(path.read_text())))
        graph[name] = (found & known.keys()) - {name}
    assert find_circle(graph) == []


def test_what_a_circle_is():
    chain = {"a": {"b"}, "b": {"c"}, "c": set()}
    assert find_circle(chain) == []
    assert find_circle({**chain, "c": {"b"}}) == ["b", "c", "b"]


SHARED_MODULE_NAMES = {
    "checks": 2,  # of proposals, and of presentations
    "errors": 2,  # of the core, and of a node
    "inbox": 2,  # of a replica, and of a desk
    "registry": 2,  # the contract's binding, and queries of it at nodes
    "signatures": 2,  # of votes, and of documents
}
"""Names that several modules share on purpose."""


def test_each_module_and_class_has_a_name_of_its_own():
    """Command modules are exempt: they are named after the command, even if the name is taken."""
    modules_of, classes_of = Counter(), Counter()
    for path in sources():
        if path.stem != "__init__" and "commands" not in path.parts:
            modules_of[path.stem] += 1
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes_of[node.name] += 1
    doubled = {name: count for name, count in modules_of.items() if count > 1}
    assert doubled == SHARED_MODULE_NAMES
    assert [name for name, count in classes_of.items() if count > 1] == []


def test_no_test_imports_a_folder_by_its_bare_name():
    """The same file under two names would be two modules, with two sets of classes."""
    for path in tracked():
        if path.suffix == ".py" and path.is_file():
            list(own_imports(path))


def test_folders_are_rooms():
    """No folder has too many files, and every folder of tests has a test."""
    files = {}
    for path in tracked():
        if path.suffix == ".py" and path.is_file():
            files.setdefault(str(path.parent.relative_to(ROOT)), []).append(path.name)
    for folder, names in files.items():
        limit = LARGE_FOLDERS.get(folder, FOLDER_FILES_MAX)
        assert len(names) <= limit, f"{folder} has {len(names)} files: split it into subfolders"
        if folder.startswith("tests/"):
            inside = [name for other in files if other.startswith(folder) for name in files[other]]
            assert any(name.startswith("test_") for name in inside), f"{folder} has no test"


@pytest.mark.parametrize(
    "path", [p for p in sources() if package_of(p) == "consensus"], ids=lambda p: p.name
)
def test_consensus_is_pure(path):
    is_simulation = "simulation" in path.parts
    for name in imports(path):
        top = name.split(".")[0]
        if is_simulation and top == "random":
            continue
        assert top not in BANNED_IN_CONSENSUS, f"consensus may not import {name}"
        if top == "msgpack":
            assert path.name in ("codec.py", "records.py")
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, (ast.AsyncFunctionDef, ast.Await)), "no async in consensus"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "open", "input", "eval", "exec", "hash", "id") or (
                is_simulation and node.func.id == "id"
            )


def names_no_encoding(call):
    """Whether a call opens or decodes text by the locale's encoding."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    modes = [
        item.value
        for item in [*call.args, keywords.get("mode")]
        if isinstance(item, ast.Constant) and re.fullmatch(r"[rwaxbt+]{1,3}", str(item.value))
    ]
    if "encoding" in keywords or any("b" in mode for mode in modes):
        return False
    if name in ("read_text", "write_text"):
        return len(call.args) < (1 if name == "read_text" else 2)
    if name in ("open", "fdopen", "makefile"):  # our own `.open(x, y=…)` opens no file
        is_bare = not call.args and set(keywords) <= {"mode", "buffering", "errors", "newline"}
        return bool(modes) or is_bare or isinstance(call.func, ast.Name)
    if name in ("run", "Popen", "check_output"):
        return bool({"text", "universal_newlines"} & set(keywords))
    return name in ("FileHandler", "RotatingFileHandler", "NamedTemporaryFile")


@pytest.mark.parametrize(
    ("text", "is_bad"),
    [
        ("p.read_text()", True),
        ("p.write_text(x)", True),
        ("open(p)", True),
        ("p.open()", True),
        ("p.open('a')", True),
        ("p.open(errors='replace')", True),
        ("os.fdopen(d, 'w')", True),
        ("subprocess.run(c, text=True)", True),
        ("RotatingFileHandler(p)", True),
        ("p.read_text('utf-8')", False),
        ("p.open('rb')", False),
        ("p.open(mode='wb')", False),
        ("store.open('maps', encode, decode)", False),
        ("votes.open(is_first=True)", False),
        ("subprocess.run(c, encoding='utf-8')", False),
    ],
)
def test_what_names_no_encoding(text, is_bad):
    assert names_no_encoding(ast.parse(text).body[0].value) == is_bad


@pytest.mark.parametrize(
    "path",
    [*sources(), ROOT / "scripts/matrix", ROOT / "scripts/make_environment.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_text_is_utf_8_whatever_the_locale(path):
    """N-L2: a Chinese or Western locale read the bundled networks as something else."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.Call) and names_no_encoding(node)), (
            f"line {node.lineno} names no encoding"
        )


def test_owners():
    """Each dangerous operation occurs in the named modules only."""
    owners = {
        r"\.replica\.step\(|replica\.step\(": {
            "node/core/driver.py",
            "consensus/simulation/world.py",
            "consensus/replica.py",  # its own docstring
        },
        r"\.sign_(pre_prepare|prepare|commit|checkpoint|view_change)\(": {
            "consensus/normal_case.py",
            "consensus/checkpoint.py",
            "consensus/view_change.py",
        },
        r"from eth\.|import eth\b": {
            "node/execution/account_db.py",
            "node/execution/evm.py",
            "node/execution/machine.py",
            "node/execution/compiler/code.py",
            "node/execution/compiler/engine.py",
            "node/execution/compiler/frames.py",
            "node/execution/compiler/runtime.py",
            "node/execution/compiler/stepper.py",
            "node/execution/precompiles/table.py",
        },
        r"\.sync = True": {"node/ledger/rocks.py"},
    }
    for pattern, allowed in owners.items():
        users = {
            str(path.relative_to(ROOT))
            for path in sources()
            if re.search(pattern, path.read_text())
        }
        assert users <= allowed, f"{pattern}: {users - allowed}"


def tracked():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.split()]


def test_repository():
    banned = [
        re.compile("/" + "home/|/" + "work/"),
        re.compile("TO" + "DO|FIX" + "ME"),
        re.compile("pypi" + r"\.org|files\.python" + "hosted|registry" + r"\.npmjs"),
    ]
    for path in tracked():
        if not path.is_file():
            continue
        text = path.read_text()
        for pattern in banned:
            found = pattern.search(text)
            assert found is None, f"{path}: {found and found[0]}"
    assert (ROOT / "requirements.lock").stat().st_size > 0


def test_root_holds_what_the_design_names():
    allowed = {
        ".ci", ".editorconfig", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md",
        "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "configs",
        "consensus", "contracts", "docs", "experiments", "institutions", "node",
        "pyproject.toml", "requirements.lock", "scripts", "tests",
    }  # fmt: skip
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= allowed


def test_test_files_named_elsewhere_exist():
    """A test that moved is still named by `.ci/run`, `scripts/test` and pages by its old path."""
    for path in tracked():
        if path.is_file() and (path.suffix in ("", ".md") or path.parent.name == ".ci"):
            for name in re.findall(r"\btests/[\w/]+\.(?:py|txt|json)\b", path.read_text("utf-8")):
                assert (ROOT / name).exists(), f"{path.relative_to(ROOT)} names {name}"


def test_protocol_rules_cited_exist():
    """Every rule id cited in the code is defined in docs/PROTOCOL.md."""
    defined = set(re.findall(r"\*\*(R-[A-Z]+-\d+)\*\*", (ROOT / "docs/PROTOCOL.md").read_text()))
    cited = set()
    for path in [*sources(), *(ROOT / "tests").rglob("*.txt")]:
        cited |= set(re.findall(r"R-[A-Z]+-\d+", path.read_text()))
    assert cited <= defined, sorted(cited - defined)
