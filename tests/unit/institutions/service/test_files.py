"""Others' files are read within bounds; our files are private (N-F11, N-F14)."""

import errno
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import click
import pytest

from lowu import arguments, options
from lowu.institutions.files import (
    claim_private,
    hold_lock,
    make_private_folder,
    read_given,
    write_private,
)
from lowu.institutions.ledger.keystore import KeystoreError, read_keystore
from lowu.institutions.package.forms import FormError
from lowu.institutions.service.inbox import Mailbox
from lowu.institutions.service.orders import Answer
from lowu.institutions.service.store import Store
from lowu.node.topology.plan import build_plan
from lowu.node.topology.spec import parse_spec
from lowu.node.topology.tree import write_tree
from lowu.node.traffic_tap import Tap


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=["umask 0", "umask 022", "umask 077"])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def modes_below(folder):
    """Return the modes of files and folders below a folder."""
    found = {item: mode(item) for item in folder.rglob("*")}
    files = {found[item] for item in found if item.is_file()}
    return files, {found[item] for item in found if item.is_dir()}


def test_stores_are_private_with_all_that_sqlite_puts_beside_them(tmp_path, umask):
    """N-F11: everybody could read whole documents, salts and consent keys."""
    store = Store(tmp_path / "nodes" / "desks" / "szcredit.sqlite3")
    store.open("issued", bytes, bytes)[b"key"] = b"value"
    assert len(list((tmp_path / "nodes" / "desks").iterdir())) == 3, "a log and an index beside it"
    assert modes_below(tmp_path) == ({0o600}, {0o700})
    store.run("PRAGMA journal_mode=DELETE")
    with store.together():
        store.open("issued", bytes, bytes)[b"key"] = b"other"
        assert (tmp_path / "nodes" / "desks" / "szcredit.sqlite3-journal").exists()
        assert modes_below(tmp_path) == ({0o600}, {0o700})
    store.close()


def test_a_store_of_before_becomes_private(tmp_path):
    path = tmp_path / "acme.sqlite3"
    Store(path).close()
    path.chmod(0o644)
    beside = path.with_name(path.name + "-shm")
    beside.touch(0o644)
    Store(path).close()
    assert mode(path) == 0o600
    assert not beside.exists() or mode(beside) == 0o600


def test_what_a_desk_writes_is_private(tmp_path, umask):
    mailbox = Mailbox(tmp_path / "desks" / "nova")
    with mailbox.alone():
        (mailbox.inbox / "one.order.json").touch(0o600)
        mailbox.take()
        mailbox.reply("one", Answer(True, {}, {"package.json": b"salts"}))
    assert (mailbox.outbox / "one" / "package.json").read_bytes() == b"salts"
    assert modes_below(tmp_path) == ({0o600}, {0o700})


def test_what_a_command_writes_is_private(tmp_path, umask):
    """Packages, presentations, requests with their secrets, documents, reports."""
    path = tmp_path / "package.json"
    path.write_text("of before")
    path.chmod(0o644)
    arguments.write_file(path, b"salts")
    assert path.read_bytes() == b"salts" and mode(path) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["package.json"]


def test_the_old_file_is_never_open_to_others_with_the_new_content(tmp_path):
    path = tmp_path / "request.json"
    path.write_text("old")
    path.chmod(0o644)
    with path.open() as reader:
        write_private(path, b"secret")
        assert reader.read() == "old"


def test_links_and_pipes_are_written_to(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "file")
    write_private(tmp_path / "link", b"data")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_bytes() == b"data"
    reading, writing = os.pipe()
    write_private(arguments.Path(f"/dev/fd/{writing}"), b"data")
    assert os.read(reading, 9) == b"data"
    os.close(reading)
    os.close(writing)


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(click.ClickException, match="cannot be written"):
        arguments.write_file(tmp_path / "x", b"data")
    assert list(tmp_path.iterdir()) == []


def test_keys_of_a_network_are_private(tmp_path, umask):
    text, path = options.read_network("pilot-2")
    write_tree(build_plan(parse_spec(text, path)), text, tmp_path / "nodes")
    keys = [*tmp_path.rglob("*.key"), *tmp_path.rglob("node.pem")]
    assert len(keys) == 8
    assert {mode(key) for key in keys} == {0o600}
    assert {mode(key.parent) for key in keys} == {0o700}
    tap = Tap(tmp_path / "tap.bin")
    tap.sent(b"frame")
    tap._file.close()
    assert mode(tmp_path / "tap.bin") == 0o600


def test_folders_above_are_private_too(tmp_path, umask):
    make_private_folder(tmp_path / "a" / "b" / "c")
    make_private_folder(tmp_path / "a" / "b")
    claim_private(tmp_path / "a" / "x")
    claim_private(tmp_path / "a" / "x")
    assert modes_below(tmp_path) == ({0o600}, {0o700})
    with pytest.raises(FileExistsError):
        make_private_folder(tmp_path / "a" / "x")


# --- reading others' files ------------------------------------------------------------------------


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/proc", "pipe"])
def test_only_plain_files_are_read(tmp_path, pipe, name):
    """N-F14: a device was read until memory ran out, and a pipe blocked the reader."""
    with pytest.raises(FormError, match="not a plain file"):
        read_given(tmp_path / name, 100)


def test_only_so_much_is_read(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(10**12)  # a sparse file
    with pytest.raises(FormError, match="large: larger than 100 bytes"):
        read_given(path, 100)
    path.write_bytes(bytes(100))
    assert read_given(path, 100) == bytes(100)
    (tmp_path / "link").symlink_to(path)
    assert read_given(tmp_path / "link", 100) == bytes(100)
    with pytest.raises(FormError, match="cannot be read"):
        read_given(tmp_path / "link", 100, may_be_link=False)
    with pytest.raises(FormError, match="cannot be read"):
        read_given(tmp_path / "none", 100)


@pytest.mark.parametrize("name", ["/dev/zero", "pipe", "none"])
def test_every_command_reads_so(tmp_path, pipe, name):
    """N-F14: `--attach /image=/dev/zero` read 4.5 GB, as did every other file argument."""
    path = tmp_path / name
    with pytest.raises(click.UsageError, match=path.name):
        arguments.read_attachments([f"/image={path}"])
    with pytest.raises(click.UsageError, match=path.name):
        arguments.read_form(path, bytes, "bytes")
    with pytest.raises(click.UsageError, match="nor a network file"):
        options.read_network(str(path))
    with pytest.raises(KeystoreError):
        read_keystore(path, "")


# --- locks ----------------------------------------------------------------------------------------


def test_one_holds_a_lock_at_a_time(tmp_path):
    """The file is its owner's alone, and what is in it stays."""
    path, waited = tmp_path / "lock", []
    path.write_text("kept")
    with hold_lock(path), pytest.raises(BlockingIOError), hold_lock(path):
        pass
    assert path.stat().st_mode & 0o077 == 0
    assert path.read_text() == "kept"
    held, release = threading.Event(), threading.Event()

    def hold():
        with hold_lock(path):
            held.set()
            release.wait(20)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold)
        assert held.wait(20)

        def on_wait():
            waited.append(True)
            release.set()

        with hold_lock(path, on_wait):
            assert waited == [True]
