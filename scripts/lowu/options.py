"""Options that several commands share, and the network files that come with Lowu."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import click

from lowu.institutions.files import read_given
from lowu.institutions.package.forms import FormError

DEFAULT_NETWORK = "seed-7"
NETWORK_BYTES_MAX = 4 * 1024 * 1024
"""A thousand institutions and their nodes take a tenth of it."""


class Number(click.FloatRange):
    """A number in a range; `nan` is in none, though click takes it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number that a text is."""
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return found


FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)

by_option = click.option("--by", "institution", required=True, help="The institution that acts.")
only_option = click.option(
    "--only", is_flag=True, help="Change this anchor only, not the document's others."
)
trust_option = click.option(
    "--trust",
    "trusted",
    type=EXISTING,
    default=None,
    help="File written by `lowu trust`.  [default: ask a node]",
)
holder_option = click.option("--holder", required=True, help="The holder who acts.")


def attach_option(text: str) -> Callable[[Any], Any]:
    """Return the option ``--attach`` with its help text."""
    return click.option("--attach", multiple=True, metavar="PATH=FILE", help=text)


def output_option(default: str) -> Callable[[Any], Any]:
    """Add ``-o``."""
    return click.option(
        "-o", "--output", type=FILE, default=Path(default), show_default=True, help="File to write."
    )


def directory_option(function: Any) -> Any:
    """Add ``--dir``."""
    return click.option(
        "--dir",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("nodes"),
        show_default=True,
        help="Folder of the network.",
    )(function)


def name_folder(directory: Path) -> str:
    """Return the option for a network's folder in a command that is printed; empty by default."""
    return "" if directory == Path("nodes") else f" --dir {shlex.quote(str(directory))}"


def quote(path: Path | str) -> str:
    """Return a path as it can be pasted into a shell, in a command that is printed."""
    return shlex.quote(str(path))


def json_option(function: Any) -> Any:
    """Add ``--json``."""
    return click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")(function)


def bundled_networks() -> list[str]:
    """Return the names of the network files that come with Lowu."""
    folder = _networks_folder()
    return sorted(path.stem for path in folder.glob("*.toml"))


def _networks_folder() -> Path:
    installed = Path(str(resources.files("lowu"))) / "networks"
    if installed.is_dir():
        return installed
    return Path(__file__).resolve().parents[2] / "configs" / "networks"


def read_tapped_network(name: str) -> tuple[str, Path]:
    """Return the text of a bundled network, with all traffic between its nodes recorded."""
    text, path = read_network(name)
    return text.replace("[network]", "[network]\ntap = true", 1), path


def read_network(name_or_path: str) -> tuple[str, Path]:
    """Return the text of a network file given by bundled name or by path."""
    bundled = _networks_folder() / f"{name_or_path}.toml"
    path = bundled if bundled.is_file() else Path(name_or_path)
    try:
        return read_given(path, NETWORK_BYTES_MAX).decode(), path
    except UnicodeDecodeError as error:
        raise click.UsageError(f"network file {path} is not UTF-8 text ({error})") from error
    except FormError as error:
        names = ", ".join(bundled_networks())
        raise click.UsageError(
            f"network {name_or_path!r} is neither bundled ({names}) nor a network file ({error})"
        ) from error


def read_or_saved(name_or_path: str) -> tuple[str, Path]:
    """Return the text of a network file, or of the one in a file of `lowu snapshot save`."""
    from lowu.node.topology.upkeep.archive import is_archive, read_network_text

    path = Path(name_or_path)
    return (read_network_text(path), path) if is_archive(path) else read_network(name_or_path)
