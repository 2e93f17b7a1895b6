"""py-evm's account database over the flat state.

Changes are journaled: every write pushes its key and the former value onto one list, a
checkpoint is a position in that list, and a revert pops back to it. That is cheaper than
py-evm's layered journals and trie, and it is all that the EVM needs within a transaction.
"""

from __future__ import annotations

from typing import Any

from eth.abc import AccountDatabaseAPI
from eth.constants import EMPTY_SHA3

from lowu.node.chain.rlp_codec import decode_rlp, encode_rlp
from lowu.node.crypto import keccak256
from lowu.node.errors import FatalError, StorageError
from lowu.node.execution.flat_state import (
    TABLE_ACCOUNT,
    TABLE_CODE,
    TABLE_STORAGE,
    ForeignState,
    StateKey,
    StateReader,
)

_ABSENT = (0, 0, EMPTY_SHA3)
_MISSING = object()
Account = tuple[int, int, bytes]
"""Nonce, balance, code hash."""


def encode_account(account: Account) -> bytes:
    """Return the stored bytes of an account; b"" for one that is empty (EIP-161)."""
    if account == _ABSENT:
        return b""
    return encode_rlp(list(account))


def decode_account(data: bytes) -> Account:
    """Return the account in stored bytes."""
    if not data:
        return _ABSENT
    nonce, balance, code_hash = decode_rlp(data)
    return int.from_bytes(nonce, "big"), int.from_bytes(balance, "big"), code_hash


def encode_slot(address: bytes, slot: int) -> bytes:
    """Return the key of a storage slot: address ‖ slot as 32 bytes."""
    return address + slot.to_bytes(32, "big")


class FlatAccountDB(AccountDatabaseAPI):  # type: ignore[misc]
    """Accounts, code and storage of one block under execution."""

    def __init__(self, db: StateReader, state_root: bytes) -> None:
        self._state = db
        self._accounts: dict[bytes, Account] = {}
        self._storage: dict[tuple[bytes, int], int] = {}
        self._code: dict[bytes, bytes] = {}
        self._first_accounts: dict[bytes, Account] = {}
        self._first_storage: dict[tuple[bytes, int], int] = {}
        """Accounts and slots that were written to, with their values in the state below."""
        self._changed_code: set[bytes] = set()
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        """Mapping, key and former value, or `_MISSING`."""
        self._warm_addresses: dict[bytes, None] = {}
        self._warm_slots: dict[tuple[bytes, int], None] = {}
        self._original: dict[tuple[bytes, int], int] = {}
        self._transient: dict[tuple[bytes, int], bytes] = {}
        self._state_root = state_root

    def _read(self, table: bytes, key: bytes) -> bytes:
        """Return a value of the state below.

        Raises:
            StorageError: it cannot be read. Whatever the reason, that is a failure of the disk
                and must not be blamed on the transaction.
        """
        try:
            return self._state.get(table, key)
        except FatalError:
            raise
        except Exception as flaw:
            raise StorageError(f"state cannot be read: {flaw}") from flaw

    # --- accounts -------------------------------------------------------------------------

    def _get(self, address: bytes) -> Account:
        found = self._accounts.get(address)
        if found is None:
            found = decode_account(self._read(TABLE_ACCOUNT, address))
            self._accounts[address] = found
        return found

    def _set(self, address: bytes, account: Account) -> None:
        before = self._get(address)
        self._undo.append((self._accounts, address, before))
        self._accounts[address] = account
        self._first_accounts.setdefault(address, before)

    def get_balance(self, address: bytes) -> int:
        return self._get(address)[1]

    def set_balance(self, address: bytes, balance: int) -> None:
        nonce, before, code_hash = self._get(address)
        if before != balance:
            self._set(address, (nonce, balance, code_hash))

    def get_nonce(self, address: bytes) -> int:
        return self._get(address)[0]

    def set_nonce(self, address: bytes, nonce: int) -> None:
        _, balance, code_hash = self._get(address)
        self._set(address, (nonce, balance, code_hash))

    def increment_nonce(self, address: bytes) -> None:
        self.set_nonce(address, self.get_nonce(address) + 1)

    def get_code_hash(self, address: bytes) -> bytes:
        account = self._get(address)
        return bytes(32) if account == _ABSENT else account[2]

    def get_code(self, address: bytes) -> bytes:
        code_hash = self._get(address)[2]
        if code_hash == EMPTY_SHA3:
            return b""
        code = self._code.get(code_hash)
        if code is None:
            code = self._code[code_hash] = self._read(TABLE_CODE, code_hash)
        return code

    def set_code(self, address: bytes, code: bytes) -> None:
        nonce, balance, _ = self._get(address)
        code_hash = keccak256(code)
        self._code[code_hash] = code
        self._changed_code.add(code_hash)
        self._set(address, (nonce, balance, code_hash))

    def delete_code(self, address: bytes) -> None:
        nonce, balance, _ = self._get(address)
        self._set(address, (nonce, balance, EMPTY_SHA3))

    def account_has_code_or_nonce(self, address: bytes) -> bool:
        """Whether a creation at this address collides (EIP-684, EIP-7610).

        Storage alone is a collision too. On a Lowu chain no account has only storage: slots are
        written by the account's own code, whose creation has set the nonce, and destroying an
        account in the transaction that created it (EIP-6780) clears its slots. So only a foreign
        state is checked for storage.
        """
        nonce, _, code_hash = self._get(address)
        if nonce != 0 or code_hash != EMPTY_SHA3:
            return True
        return isinstance(self._state, ForeignState) and self._state.has_storage(address)

    def delete_account(self, address: bytes) -> None:
        self._set(address, _ABSENT)
        self.delete_storage(address)

    def account_exists(self, address: bytes) -> bool:
        return self._get(address) != _ABSENT

    def touch_account(self, address: bytes) -> None:
        pass  # empty accounts are never stored, so there is nothing to touch

    def account_is_empty(self, address: bytes) -> bool:
        return self._get(address) == _ABSENT

    # --- storage --------------------------------------------------------------------------

    def get_storage(self, address: bytes, slot: int, from_journal: bool = True) -> int:
        key = (address, slot)
        if not from_journal and key in self._original:
            return self._original[key]
        found = self._storage.get(key)
        if found is None:
            found = int.from_bytes(self._read(TABLE_STORAGE, encode_slot(*key)), "big")
            self._storage[key] = found
        return found

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        self.write_slot((address, slot), self.get_storage(address, slot), value)

    def write_slot(self, key: tuple[bytes, int], before: int, value: int) -> None:
        """Set a slot whose former value is known."""
        if key not in self._original:
            self._original[key] = before
        self._undo.append((self._storage, key, before))
        self._storage[key] = value
        self._first_storage.setdefault(key, before)

    def delete_storage(self, address: bytes) -> None:
        """Clear the slots written in this block (EIP-6780: only new contracts are destroyed)."""
        for key in sorted(key for key in self._storage if key[0] == address):
            if self._storage[key]:
                self.set_storage(key[0], key[1], 0)

    def get_transient(self, address: bytes, slot: int) -> bytes:
        """Return a value of transient storage (EIP-1153), b"" if unset."""
        return self._transient.get((address, slot), b"")

    def set_transient(self, address: bytes, slot: int, value: bytes) -> None:
        """Set a value of transient storage; it lasts until the transaction ends."""
        key = (address, slot)
        before = self._transient.get(key, b"")
        self._undo.append((self._transient, key, before))
        self._transient[key] = value

    # --- access lists (EIP-2929) ----------------------------------------------------------

    def is_address_warm(self, address: bytes) -> bool:
        return address in self._warm_addresses

    def mark_address_warm(self, address: bytes) -> None:
        if address not in self._warm_addresses:
            self._warm_addresses[address] = None
            self._undo.append((self._warm_addresses, address, _MISSING))

    def is_storage_warm(self, address: bytes, slot: int) -> bool:
        return (address, slot) in self._warm_slots

    def mark_storage_warm(self, address: bytes, slot: int) -> None:
        key = (address, slot)
        if key not in self._warm_slots:
            self._warm_slots[key] = None
            self._undo.append((self._warm_slots, key, _MISSING))

    # --- checkpoints ----------------------------------------------------------------------

    def record(self) -> int:
        return len(self._undo)

    def discard(self, checkpoint: int) -> None:
        while len(self._undo) > checkpoint:
            mapping, key, before = self._undo.pop()
            if before is _MISSING:
                del mapping[key]
            else:
                mapping[key] = before

    def commit(self, checkpoint: int) -> None:
        pass  # the undo entries stay, for an outer checkpoint

    def undo_transaction(self) -> None:
        """Restore the accounts as they were before the transaction."""
        self.discard(0)
        self.lock_changes()

    def lock_changes(self) -> None:
        """End a transaction: its changes can no longer be reverted, and gas refunds start over."""
        self._undo.clear()
        self._original.clear()
        self._transient.clear()
        self._warm_addresses.clear()
        self._warm_slots.clear()

    def writes(self) -> dict[StateKey, bytes]:
        """Return what differs from the state below, as stored bytes."""
        found: dict[StateKey, bytes] = {}
        for address, before in self._first_accounts.items():
            account = self._accounts[address]
            if account != before:
                found[TABLE_ACCOUNT, address] = encode_account(account)
        for key, word in self._first_storage.items():
            value = self._storage[key]
            if value != word:
                data = value.to_bytes((value.bit_length() + 7) // 8, "big")
                found[TABLE_STORAGE, encode_slot(*key)] = data
        live_code = {self._accounts[address][2] for address in self._first_accounts}
        for code_hash in self._changed_code & live_code:
            if not self._state.get(TABLE_CODE, code_hash):
                found[TABLE_CODE, code_hash] = self._code[code_hash]
        return found

    # --- what a trie would do -------------------------------------------------------------

    @property
    def state_root(self) -> Any:
        return self._state_root

    @state_root.setter
    def state_root(self, value: Any) -> None:
        self._state_root = value

    def has_root(self, state_root: bytes) -> bool:
        return True

    def make_state_root(self) -> Any:
        return self._state_root

    def persist(self) -> Any:
        raise NotImplementedError("the flat state is written by the ledger")
