"""Searches a network for bytes of documents: no node may hold any.

This invariant defines the product. The search reads every file of every node (data, logs, the
tap of gateway frames and RPC bodies) and looks for canary strings, as text and as hex. Finding
nothing proves nothing by itself, so the search also looks for anchors, which must be there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of a search."""

    hits: tuple[str, ...]
    """Each as ``file: needle``."""
    files: int
    size_bytes: int
    is_control_found: bool
    """Whether every node's files contain every control string."""


def search_nodes(
    folders: Iterable[Path], canaries: Iterable[str], controls: Iterable[bytes]
) -> SearchResult:
    """Search all files of some node folders for canaries and controls."""
    needles = {form: text for text in canaries for form in _forms(text.encode())}
    wanted = list(controls)
    hits: list[str] = []
    files = size = 0
    is_control_found = True
    for folder in folders:
        found: set[bytes] = set()
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            content = _read(path)
            files += 1
            size += len(content)
            hits += [f"{path}: {text}" for form, text in needles.items() if form in content]
            found |= {item for item in wanted if item in content}
        is_control_found = is_control_found and len(found) == len(wanted)
    return SearchResult(tuple(hits), files, size, is_control_found)


def _forms(data: bytes) -> tuple[bytes, ...]:
    return data, data.hex().encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""  # the database has removed it meanwhile
