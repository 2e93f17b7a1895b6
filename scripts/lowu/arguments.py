"""Reading of arguments and files, where every flaw is a `UsageError`; writing of files."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lowu.contracts.registry import RevokeReason
    from lowu.institutions.package.leaves import Attachment


def is_file_name(text: str) -> bool:
    """Whether a text is the name of a file that is there."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long, or with a zero byte
        return False


def read_file(path: Path) -> bytes:
    """Return the bytes of a file that a person has named."""
    from lowu.institutions.files import read_given
    from lowu.institutions.package.format import PACKAGE_BYTES_MAX
    from lowu.institutions.package.forms import FormError

    try:
        return read_given(path, PACKAGE_BYTES_MAX)
    except FormError as error:
        raise click.UsageError(f"{path.parent / str(error)}") from error


def read_form(path: Path, decode: Any, kind: str) -> Any:
    """Return what `decode` makes of a file's bytes; `kind` is what it should be: "a package"."""
    return decode_form(path, read_file(path), decode, kind)


def decode_form(path: Path, data: bytes, decode: Any, kind: str) -> Any:
    """Return what `decode` makes of bytes that were read from a file."""
    try:
        return decode(data)
    except ValueError as error:  # as every `FormError` is
        why = _name_other_kind(data) or error
        raise click.UsageError(f"{path} cannot be read as {kind}: {why}") from error


def read_sealed(path: Path) -> bytes:
    """Return the bytes of a sealed presentation; a file of another kind that we know is refused."""
    from lowu.institutions.package.canonical import load_json
    from lowu.institutions.package.format import name_format

    data = read_file(path)
    try:
        value = load_json(data)
    except ValueError:  # as what is sealed always is
        return data
    what = _name_other_kind(data)
    if what is None and isinstance(value, dict) and "format" in value:
        what = f"it is {name_format(value['format'])}"
    raise click.UsageError(
        f"{path} cannot be read as a sealed presentation: {what or 'it is JSON'}. "
        "The holder's `lowu present` makes sealed.bin"
    )


def _name_other_kind(data: bytes) -> str | None:
    """Return what a file is that was given for another, if it has no format to tell it by."""
    from lowu.institutions.service.document_file import read_document

    if not data.lstrip().startswith((b"{", b"[")):
        return "it is not JSON. What `lowu present` has sealed, only `lowu verify` reads"
    try:
        read_document(data)
    except ValueError:
        return None
    return "it is a document. `lowu issue` makes a package of it"


def read_attachments(given: Sequence[str]) -> dict[str, Attachment]:
    """Return the files of ``--attach PATH=FILE`` by their paths in a document.

    Their media types follow from their names.
    """
    from lowu.institutions.files import read_given
    from lowu.institutions.package.format import PACKAGE_BYTES_MAX
    from lowu.institutions.package.forms import FormError, split_path
    from lowu.institutions.package.leaves import ANY_MEDIA_TYPE, Attachment

    found = {}
    for item in given:
        path, separator, name = item.partition("=")
        if not separator or not path.startswith("/"):
            raise click.UsageError(f"--attach {item!r}: use a path and a file: /image=scan.png")
        try:
            data = read_given(Path(name), PACKAGE_BYTES_MAX)
            split_path(path)
            found[path] = Attachment(data, mimetypes.guess_type(name)[0] or ANY_MEDIA_TYPE)
        except FormError as error:
            raise click.UsageError(f"--attach {item!r}: {error}") from error
    return found


def write_file(path: Path, data: bytes, hint: str = "") -> None:
    """Write a file that only its owner can read; raise `ClickException` with the hint if not."""
    from lowu.institutions.files import write_private

    try:
        write_private(path, data)
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written ({error.strerror}){hint}") from error


def parse_anchor(text: str) -> bytes:
    """Return the 32 bytes of an anchor in hex, or the last anchor of a package's file."""
    try:
        anchor = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        anchor = b""
    if len(anchor) == 32:
        return anchor
    if not is_file_name(text):
        raise click.UsageError(
            f"{text!r} is not an anchor: give 32 bytes in hex, as `lowu issue` prints them, or the "
            "file of the package"
        )
    from lowu.institutions.package.format import Package, decode_package

    package: Package = read_form(Path(text), decode_package, "a package")
    return package.anchors[-1].anchor


def parse_reason(name: str) -> RevokeReason:
    """Return a reason code by its name."""
    from lowu.contracts.registry import RevokeReason

    if name not in RevokeReason.__members__:
        raise click.UsageError(
            f"--reason {name!r}: must be one of {', '.join(RevokeReason.__members__)}"
        )
    return RevokeReason[name]


def parse_subject(text: str) -> str:
    """Return a subject, ``TYPE:NUMBER``, if it has that form."""
    if ":" not in text:
        raise click.UsageError(f"--subject {text!r}: use a type and a number, such as USCC:9144…")
    return text


def tell_unknown_schema(name: str, known: Iterable[str]) -> str:
    """Return the error about a schema that nobody here knows."""
    close = get_close_matches(name, known, 1)
    if name.endswith(".toml"):
        return f"there is no file {name!r}; `lowu schema new` writes the beginning of one"
    mend = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}."
    return f"unknown schema {name!r}; {mend} `lowu schema new` begins another"
