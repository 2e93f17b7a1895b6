"""A whole network in one file: written while no node runs, and unpacked into a new folder.

All nodes are archived at one moment, each with its votes and the trace of them, so that the copy is
what all of them would be after a stop of all. The file begins with a manifest.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from lowu.node.errors import ConfigError, MachineRefuses
from lowu.node.ledger import schema
from lowu.node.topology.supervisor_files import META, network_file
from lowu.node.topology.tree import is_tree, load_tree
from lowu.node.version import CLIENT_VERSION

MANIFEST = "lowu-snapshot.json"
GZIP = b"\x1f\x8b"
"""What a compressed file begins with."""
MANIFEST_BYTES_MAX = 64 * 1024
TEXT_BYTES_MAX = 4 * 1024 * 1024
LEFT_OUT = ("log", "nohup.out", "LOG", "LOCK")
"""Names of files and folders that are of a run, not of the network."""
LEFT_OUT_OF_META = ("control.json", "supervisor.lock", "supervisor.log", "control.tmp")


@dataclass(frozen=True, slots=True)
class ArchiveManifest:
    """What an archive is of."""

    network: str
    chain_id: int
    nodes: int
    format: str
    """Of the data."""
    written_by: str
    written_s: int
    """Seconds since 1970."""


def save_network(directory: Path, path: Path, tell: Callable[[str], None]) -> ArchiveManifest:
    """Write a network whose nodes do not run into a file, which appears whole or not at all.

    Raises:
        ConfigError: there is no network, or the file exists.
        MachineRefuses: the file cannot be written.
    """
    plan = load_tree(directory)
    if path.exists():
        raise ConfigError(f"{path}: exists already; choose another name, or remove it")
    manifest = ArchiveManifest(
        plan.spec.settings.name,
        plan.genesis.web3_chain_id,
        len(plan.nodes),
        str(plan.genesis.format),
        CLIENT_VERSION,
        int(time.time()),
    )
    staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
                _add_text(archive, MANIFEST, json.dumps(asdict(manifest)))
                for child in sorted(directory.iterdir()):
                    tell(child.name)
                    archive.add(child, child.name, filter=_choose)
            file.flush()
            os.fsync(file.fileno())
        staging.rename(path)
    except OSError as error:
        raise MachineRefuses(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        staging.unlink(missing_ok=True)
    return manifest


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o600
    archive.addfile(entry, io.BytesIO(content))


def _choose(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what is of a run; keep nobody's names."""
    parts = Path(entry.name).parts
    if parts[-1] in LEFT_OUT or ".damaged-" in parts[-1]:
        return None
    if parts[0] == META and parts[-1] in LEFT_OUT_OF_META:
        return None
    if not (entry.isfile() or entry.isdir()):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _unpack(archive: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    """Write a file or a folder, with its rights; ValueError for anything else, or a way out."""
    parts = Path(entry.name).parts
    if not parts or ".." in parts or Path(entry.name).is_absolute():
        raise ValueError(f"{entry.name!r} leads out of the folder")
    target = folder / entry.name
    if entry.isdir():
        target.mkdir(exist_ok=True)
        target.chmod(entry.mode & 0o755)
        return
    content = archive.extractfile(entry) if entry.isfile() else None
    if content is None:
        raise ValueError(f"{entry.name!r} is neither a file nor a folder")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(target, flags, entry.mode & 0o755), "wb") as file:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())


def read_manifest(path: Path) -> ArchiveManifest:
    """Return what an archive is of; `ConfigError` if it is not one of ours."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            first = archive.next()
            if first is None or first.name != MANIFEST or first.size > MANIFEST_BYTES_MAX:
                raise ConfigError(f"{path}: not a snapshot that `lowu snapshot save` wrote")
            content = archive.extractfile(first)
            return ArchiveManifest(**json.loads(b"" if content is None else content.read()))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (tarfile.TarError, EOFError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: not a snapshot, or a damaged one ({error})") from error


def read_network_text(path: Path) -> str:
    """Return the network file of the network in an archive.

    Raises:
        ConfigError: the file is no archive, is damaged, or of another version.
    """
    _require_format(path, read_manifest(path))
    wanted = f"{META}/{network_file(Path()).name}"
    try:
        with tarfile.open(path, "r:gz") as archive:
            content = archive.extractfile(wanted)
            return "" if content is None else content.read(TEXT_BYTES_MAX).decode()
    except (OSError, tarfile.TarError, EOFError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: a damaged snapshot ({error})") from error


def _require_format(path: Path, manifest: ArchiveManifest) -> None:
    if manifest.format.encode() not in schema.FORMATS:
        raise ConfigError(
            f"{path}: its data is of format {manifest.format}, this Lowu reads "
            f"{schema.tell_formats()}; use the Lowu that wrote it ({manifest.written_by})"
        )


def is_archive(path: Path) -> bool:
    """Whether a path is that of a compressed file, as archives are and network files are not."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(GZIP)) == GZIP
    except (OSError, ValueError):
        return False


def load_network(path: Path, directory: Path) -> ArchiveManifest:
    """Unpack an archive into a new folder, which is complete or absent.

    Raises:
        ConfigError: the file is none, is damaged, or of another version; or the folder is in use.
        MachineRefuses: the folder cannot be written.
    """
    manifest = read_manifest(path)
    _require_format(path, manifest)
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(f"{directory}: exists and is not empty; choose another folder")
    staging = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(mode=0o755, parents=True)
        with tarfile.open(path, "r:gz") as archive:
            for entry in archive:
                _unpack(archive, entry, staging)
        (staging / MANIFEST).unlink()
        if not is_tree(staging):
            raise ConfigError(f"{path}: holds no network")
        load_tree(staging)
        if directory.exists():
            directory.rmdir()
        staging.rename(directory)
    except OSError as error:
        raise MachineRefuses(
            f"{directory}: cannot be written ({error.strerror or error})"
        ) from error
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ConfigError(f"{path}: a damaged snapshot ({error}); nothing was unpacked") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest
