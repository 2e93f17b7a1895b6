"""Orders to desks and wallets, and their answers.

The client names an order. A repeated order gets the same answer, so a client that received no
answer may simply repeat it; a different order under the same name is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from mimetypes import guess_type
from typing import Any

from lowu.institutions.package.canonical import CanonicalError, load_json
from lowu.institutions.package.forms import FormError, read_bool, read_integer
from lowu.institutions.package.leaves import ANY_MEDIA_TYPE, Attachment, is_media_type

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
"""Names of orders, and of the files that come with them."""
ORDER_BYTES_MAX = 64 * 1024
FILES_MAX = 16
ORDER_FILE = "order.json"
SUFFIX = ".order.json"


@dataclass(frozen=True, slots=True)
class Order:
    """An action to carry out, with its fields and the files that it needs."""

    id: str
    action: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """Tells it from another order of the same name."""
        text = json.dumps([self.action, self.fields], sort_keys=True, ensure_ascii=False)
        parts = [text.encode()]
        for name in sorted(self.files):
            parts += [name.encode(), hashlib.sha256(self.files[name]).digest()]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()

    @property
    def number(self) -> bytes:
        """16 bytes, derived from the name, that identify it in stores and calls."""
        return hashlib.sha256(b"lowu order" + self.id.encode()).digest()[:16]

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text field; `FormError` if it is not a text, or missing without default."""
        value = self.fields.get(name, default)
        if not isinstance(value, str):
            raise FormError(f"{self.action}: {name!r} must be given, as a text")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a field that is a list of texts; an empty list if it is missing."""
        value = self.fields.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise FormError(f"{self.action}: {name!r} must be a list of texts")
        return value

    def integer(self, name: str, default: int) -> int:
        """Return a field that is a non-negative integer."""
        return read_integer(self.fields.get(name, default), f"{self.action}: {name!r}")

    def hex(self, name: str, size: int) -> bytes:
        """Return the bytes of a hex field, exactly `size` of them."""
        text = self.text(name)
        try:
            found = bytes.fromhex(text.removeprefix("0x"))
        except ValueError:
            found = b""
        if len(found) != size:
            raise FormError(f"{self.action}: {name!r} must be {size} bytes in hex")
        return found

    def flag(self, name: str) -> bool:
        """Return a field that is true or false; false if it is missing."""
        return read_bool(self.fields.get(name, False), f"{self.action}: {name!r}")

    def attachments(self) -> dict[str, Attachment]:
        """Return the files that the field `attach` places at paths of the document.

        It maps each path to the name of a file, or to its name and media type; by default, the
        media type follows from the name.
        """
        named = self.fields.get("attach", {})
        if not isinstance(named, dict):
            raise FormError(f"{self.action}: 'attach' must map paths to names of files")
        found = {}
        for path, item in named.items():
            match item:
                case str(name) | [str(name)]:
                    media_type = guess_type(name)[0] or ANY_MEDIA_TYPE
                case [str(name), str(media_type)] if is_media_type(media_type):
                    pass
                case _:
                    raise FormError(
                        f"{self.action}: 'attach' must map paths to names of files, each with its "
                        "media type, such as image/png, or without"
                    )
            found[path] = Attachment(self.file(name), media_type)
        return found

    def file(self, name: str) -> bytes:
        """Return a file that came with the order; `FormError` if it is missing."""
        try:
            return self.files[name]
        except KeyError:
            there = ", ".join(sorted(self.files)) or "none"
            raise FormError(f"{self.action}: needs a file {name!r}; there are: {there}") from None


def name_attachments(
    attached: Mapping[str, Attachment],
) -> tuple[dict[str, list[str]], dict[str, bytes]]:
    """Return the field `attach` and the files of an order, for files by path in a document.

    `Order.attachments` undoes it.
    """
    named, files = {}, {}
    for number, (path, file) in enumerate(attached.items()):
        named[path] = [f"attached-{number}", file.media_type]
        files[named[path][0]] = file.data
    return named, files


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of an order."""

    is_ok: bool
    details: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)
    is_made_again: bool = False
    """Whether its files are not stored: a repeated order runs its action again to make them."""


def decode_order(order_id: str, data: bytes, read: Mapping[str, bytes]) -> Order:
    """Parse an order: a JSON object with `do`, its fields, and `files`, whose content is in `read`.

    Raises:
        FormError: it is not an order, or a file is missing.
    """
    if not ID.match(order_id):
        raise FormError(f"{order_id!r}: a name of up to 64 letters, digits, '.', '_' and '-'")
    raw = _read_json(data)
    if not isinstance(raw, dict) or not isinstance(raw.get("do"), str):
        raise FormError("an order is a JSON object whose 'do' says what to do")
    files = {}
    for role, name in list_files(data).items():
        if name not in read:
            raise FormError(f"the file {name!r} is not beside the order")
        files[role] = read[name]
    fields = {name: value for name, value in raw.items() if name not in ("do", "files")}
    return Order(order_id, raw["do"], fields, files)


def list_files(data: bytes) -> dict[str, str]:
    """Return the files that an order needs, by role; the values are their names.

    `files` is an object, or a list of names that are their own roles; otherwise `FormError`.
    """
    raw = _read_json(data)
    files = raw.get("files", {}) if isinstance(raw, dict) else {}
    if isinstance(files, list) and all(isinstance(name, str) for name in files):
        files = {name: name for name in files}
    is_object = isinstance(files, dict) and len(files) <= FILES_MAX
    names = [*files, *files.values()] if is_object else [""]
    if not all(isinstance(name, str) and ID.match(name) for name in names):
        raise FormError(
            f"'files': up to {FILES_MAX} files beside the order, a list of plain names, or an "
            "object that maps each role to a name"
        )
    for name in files.values():
        if name == ORDER_FILE or name.endswith(SUFFIX):
            raise FormError(f"'files': {name} is an order, or called like one; rename the file")
    return dict(files)


def _read_json(data: bytes) -> Any:
    try:
        return load_json(data)
    except CanonicalError as error:
        raise FormError(str(error)) from error


def encode_answer(answer: Answer) -> bytes:
    """Return the stored form."""
    kept = {} if answer.is_made_again else answer.files
    files = {name: data.hex() for name, data in kept.items()}
    row = [answer.is_ok, dict(answer.details), files, answer.is_made_again]
    return json.dumps(row, ensure_ascii=False).encode()


def decode_answer(data: bytes) -> Answer:
    """Return the answer in a stored form."""
    is_ok, details, files, is_made_again = json.loads(data)
    found = {name: bytes.fromhex(text) for name, text in files.items()}
    return Answer(is_ok, details, found, is_made_again)
