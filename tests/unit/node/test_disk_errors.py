"""N-F8, N-F9: the texts of disk errors, with the right advice."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lowu.node.errors import ConfigError, DamagedData, StorageError
from lowu.node.ledger.disk_errors import (
    explain_open_error,
    explain_read_error,
    explain_write_error,
)
from lowu.node.ledger.rocks import RocksStorage
from lowu.node.ledger.vote_trace import FileTrace, Mark, Memory
from lowu.node.process import describe_cause
from lowu.node.topology.network import describe_end
from lowu.node.topology.tree import node_folder

ROOT = Path(__file__).resolve().parents[3]
PATH = Path("/node/data")
KINDS = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "quota",
    errno.EROFS: "mount it writable",
    errno.EACCES: "access to the folder",
    errno.EMFILE: "ulimit -n",
    errno.EIO: "the disk itself fails",
}


def engine_error(number):
    said = os.strerror(number)
    return Exception(f"IO error: {said}: While appending to file: /node/data/000004.log: {said}")


@pytest.mark.parametrize(("number", "advice"), KINDS.items())
def test_errors_of_the_environment_are_named_and_leave_the_data_where_it_is(number, advice):
    error = engine_error(number)
    for found, kind in (
        (explain_open_error(PATH, error), ConfigError),
        (explain_read_error(PATH, error), StorageError),
        (explain_write_error(PATH, error), StorageError),
    ):
        text = describe_cause(found)
        assert isinstance(found, kind) and not isinstance(found, DamagedData)
        assert os.strerror(number) in text and advice in text
        assert "Leave its data where it is" in text and "move" not in text


def test_damage_is_named_and_alone_has_the_advice_to_move_the_data():
    """The advice warns about votes."""
    error = Exception("Corruption: block checksum mismatch … in /node/data/000009.sst offset 4")
    for explain in (explain_open_error, explain_read_error, explain_write_error):
        found = explain(PATH, error)
        assert isinstance(found, DamagedData)
        text = describe_cause(found)
        assert "000009.sst" in text and "move the node's data folder away" in text
        assert "abstains until" in text and "leave last_vote" in text


def test_an_unknown_error_is_passed_on_without_advice_to_move():
    error = Exception("Not implemented: moon phase")
    assert "moon phase" in str(explain_open_error(PATH, error))
    assert not isinstance(explain_open_error(PATH, error), DamagedData)
    assert "move" not in describe_cause(explain_write_error(PATH, error))


def test_a_database_in_use_is_named_as_such(tmp_path):
    first = RocksStorage(tmp_path / "data")
    code = (
        "import sys; from pathlib import Path; from lowu.node.ledger.rocks import RocksStorage\n"
        "RocksStorage(Path(sys.argv[1]))"
    )
    done = run(code, tmp_path / "data")
    assert "is open in another process" in done.stderr and "move" not in done.stderr
    with pytest.raises(ConfigError, match="nothing is damaged"):
        RocksStorage(tmp_path / "data")
    first.close()


def run(code, *arguments, prefix=()):
    return subprocess.run(
        [*prefix, sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


FILL = """
import sys
from pathlib import Path
from types import SimpleNamespace
from lowu.node.errors import StorageError
from lowu.node.ledger.rocks import RocksStorage
storage = RocksStorage(Path(sys.argv[1]))
said = []
for number in range(40):
    try:
        storage.write({b"k%d" % number: bytes(20_000)})
    except StorageError as error:
        said.append(str(error))
storage.close()
print(len(said), len(set(said)), said[0])
"""


def test_a_file_that_may_not_grow_is_named_by_every_later_write(tmp_path):
    """After a failed write, the engine says only that one failed; the node says why."""
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (100_000, r.RLIM_INFINITY))\n"
    done = run(limit + FILL, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    count, kinds, said = done.stdout.split(maxsplit=2)
    assert int(count) > 10 and kinds == "1"
    assert "File too large" in said and "Writer has previous error" not in said


def test_a_full_disk_is_named_and_what_was_written_stays(tmp_path):
    """On a real full disk, where this user may mount a small file system."""
    unshare = shutil.which("unshare")
    prefix = [unshare or "unshare", "--user", "--map-root-user", "--mount"]
    if unshare is None or subprocess.run([*prefix, "true"], check=False).returncode != 0:
        pytest.skip("needs user namespaces")
    mount = (
        "import subprocess, sys\n"
        "subprocess.run(['mount','-t','tmpfs','-o','size=400k','tmpfs',sys.argv[1]], check=True)\n"
        "sys.argv[1] += '/data'\n"
    )
    again = (
        "from lowu.node.errors import ConfigError\n"
        "try:\n    RocksStorage(Path(sys.argv[1]))\n"
        "except ConfigError as error:\n    print('AGAIN', error)\n"
    )
    (tmp_path / "disk").mkdir()
    done = run(mount + FILL + again, tmp_path / "disk", prefix=prefix)
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stdout and "make room on it" in done.stdout
    assert "Writer has previous error" not in done.stdout and "move" not in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("AGAIN") and "Leave its data where it is" in last


def test_a_trace_that_cannot_be_written_is_named(tmp_path):
    """Writes to /dev/full fail as on a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    path = tmp_path / "last_vote"
    path.symlink_to("/dev/full")
    trace = FileTrace(path)
    with pytest.raises(StorageError, match=r"last_vote: .*No space left.*make room"):
        trace.write(Mark(1, bytes(16)))
    trace.close()
    missing = FileTrace(tmp_path / "nowhere" / "last_vote")
    with pytest.raises(StorageError, match="cannot be written: No such file"):
        missing.create(Memory(Mark(1, bytes(16)), Mark(0, bytes(16))))
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot be read: Is a directory"):
        FileTrace(tmp_path / "folder").read()


def test_a_trace_that_was_cut_while_in_use_is_named(tmp_path):
    """A short write counts as failed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    trace = FileTrace(tmp_path / "last_vote")
    trace.create(Memory(Mark(1, bytes(16)), Mark(0, bytes(16))))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(StorageError, match=r"File too large|bytes could be written"):
            trace.write(Mark(2, bytes(16)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        trace.close()


# --- damage that is found while a node runs (N-F8) -----------------------------------------------


@pytest.fixture
def damaged(tmp_path):
    """A store whose table has one flipped byte, and the keys of the damaged block."""
    storage = RocksStorage(tmp_path / "data")
    storage.write({b"k%04d" % number: bytes(100) for number in range(1_000)})
    storage.close()
    RocksStorage(tmp_path / "data").close()  # the log becomes a table
    (table,) = (tmp_path / "data").glob("*.sst")
    data = bytearray(table.read_bytes())
    data[len(data) // 2] ^= 1
    table.write_bytes(bytes(data))
    found = RocksStorage(tmp_path / "data")
    yield found
    found.close()


def test_a_damaged_table_is_named_and_counted(damaged):
    readable, said = 0, []
    for number in range(1_000):
        try:
            readable += damaged.get(b"k%04d" % number) == bytes(100)
        except DamagedData as error:
            said.append(str(error))
    failed = len(said)
    assert all(".sst offset" in text for text in said)
    assert 0 < failed < 100 and readable == 1_000 - failed
    assert damaged.damage.reads == failed and ".sst" in damaged.damage.first


def test_a_scan_does_not_end_early_without_a_word(damaged):
    """The engine's own iterator stops at damage as if no record followed."""
    with pytest.raises(DamagedData, match="checksum mismatch"):
        list(damaged.scan(b"k", b"l"))
    with pytest.raises(DamagedData, match="checksum mismatch"):
        list(damaged.keys(b"k", b"l"))
    assert damaged.damage.reads == 2


def test_a_snapshot_tells_damage_from_absence(damaged):
    read = damaged.snapshot()
    assert read(b"nothing") is None
    with pytest.raises(DamagedData, match="checksum mismatch"):
        for number in range(1_000):
            read(b"k%04d" % number)


@pytest.mark.parametrize(
    ("free", "said", "expected"),
    [
        (0, "…/data: a write could not", "has 0 KiB left: No space left on device; make room"),
        (0, "…: No space left on device; make room on it", "make room on it"),
        (10**9, "…/data: the disk itself fails", "the disk itself fails"),
    ],
)
def test_a_full_disk_is_named_although_the_node_could_not_write_it(
    free, said, expected, tmp_path, monkeypatch
):
    """N-F9: what a node says last is on the same disk."""
    node = SimpleNamespace(name="node3")
    folder = node_folder(tmp_path, node)
    folder.mkdir(parents=True)
    (folder / "nohup.out").write_text(f"running\n{said}", encoding="utf-8")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    told = describe_end(node, 1, tmp_path)
    assert told.startswith(f"node3 ended with 1: {said}") and expected in told
    assert told.count("No space left") <= 1
