"""Searching a network for bytes of documents: the invariant that defines the product.

No byte of a document may reach a node. The search looks through every file of every node (data,
logs, the tap of gateway frames and RPC bodies) for canary strings, as text and as hex. A
search that finds nothing proves nothing by itself, so it also looks for anchors, which must be
there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found."""

    hits: tuple[str, ...]
    """file: needle"""
    files: int
    size_bytes: int
    is_control_found: bool
    """Whether every node's files hold every control string."""


def search_nodes(
    folders: Iterable[Path], canaries: Iterable[str], controls: Iterable[bytes]
) -> SearchResult:
    """Search all files of node folders."""
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
        return b""  # the database removed it meanwhile
