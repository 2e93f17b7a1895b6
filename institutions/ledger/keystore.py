"""An account's key in an Ethereum key file (Web3 Secret Storage, version 3).

A password encrypts the key (scrypt, AES-128-CTR); geth, MetaMask and web3 can read the file.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from lowu.institutions.files import make_private_folder, read_given, write_private

SCRYPT_N = 2**14
"""As in geth's light accounts: 16 MiB and about 50 ms, for commands that run often."""

KEYSTORE_BYTES_MAX = 64 * 1024


class KeystoreError(Exception):
    """A key file cannot be used; the text says what to do."""


def write_keystore(path: Path, private_key: bytes, password: str) -> None:
    """Write a key file that only its owner can read.

    Raises:
        KeystoreError: the file exists already, or cannot be written.
    """
    from eth_account import Account  # noqa: PLC0415  (a second of imports: only when needed)

    content = Account.encrypt(private_key, password, kdf="scrypt", iterations=SCRYPT_N)
    try:
        make_private_folder(path.parent)
        staging = path.with_name(f".{path.name}.tmp")
        write_private(staging, json.dumps(content).encode())
        try:
            os.link(staging, path)  # unlike a rename, it replaces nothing
        finally:
            staging.unlink()
    except FileExistsError as error:
        raise KeystoreError(f"{path}: a key file exists already; move it away first") from error
    except OSError as error:
        raise KeystoreError(f"{path}: cannot be written ({error.strerror})") from error


def read_keystore(path: Path, password: str) -> bytes:
    """Return the private key in a file.

    Raises:
        KeystoreError: the file is damaged, or the password is wrong.
    """
    from eth_account import Account  # noqa: PLC0415  (as above)

    try:
        content: Any = json.loads(read_given(path, KEYSTORE_BYTES_MAX))
        return bytes(Account.decrypt(content, password))
    except ValueError as error:
        if "MAC" in str(error):
            raise KeystoreError(f"{path}: the password is another") from error
        raise KeystoreError(f"{path}: not a key file ({error})") from error
    except (OSError, KeyError, TypeError, NotImplementedError) as error:
        raise KeystoreError(f"{path}: cannot be read ({type(error).__name__})") from error


class DraftedKey:
    """A new key, kept in a draft beside the key file until its account has its roles.

    An existing draft is used again: its account may have its roles by now.
    """

    def __init__(self, path: Path, password: str) -> None:
        """Open or create the draft for a key file; `KeystoreError` if that fails."""
        self._path = path
        self._draft = path.with_suffix(".draft")
        if not self._draft.exists():
            write_keystore(self._draft, secrets.token_bytes(32), password)
        self.private_key = read_keystore(self._draft, password)

    def put_into_use(self) -> None:
        """Replace the key file with the draft."""
        self._draft.replace(self._path)
