"""The administrator of an organisation: adds and ends its document keys and accounts.

Every change can be interrupted at any point and repeated: the remaining calls follow from the
state of the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lowu.contracts.account import Account
from lowu.contracts.registry import Role
from lowu.institutions.ledger.governance import (
    account_call,
    claim_call,
    compromise_call,
    rotation_calls,
)
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.package.signatures import DocumentKey


@dataclass(frozen=True, slots=True)
class UsableKeys:
    """The document keys under which the ledger accepts an organisation's registrations."""

    last: int
    """The highest key number on the ledger: the key in use."""
    usable: tuple[int, ...]
    """More than one if a rotation was interrupted."""


async def find_usable_keys(registry: Registry, org_id: int) -> UsableKeys:
    """Read an organisation's document keys, which are numbered from 1."""
    number, usable = 0, []
    while (key := await registry.get_key(org_id, number + 1)).is_known:
        number += 1
        if key.is_usable:
            usable.append(number)
    return UsableKeys(max(1, number), tuple(usable))


@dataclass(frozen=True, slots=True)
class Rotation:
    """A completed change of document keys."""

    number: int
    """The key in use from now on."""
    ended: tuple[int, ...]
    height: int
    """The block of the last call; 0 if no call was needed."""


class Administrator:
    """An organisation's account with the role ADMIN."""

    def __init__(self, org_id: int, signer: Signer) -> None:
        self._org_id = org_id
        self._signer = signer

    async def rotate_key(
        self,
        key_of: Callable[[int], DocumentKey],
        compromised_since: int | None = None,
        key: int | None = None,
    ) -> Rotation:
        """Put the next document key into use; retire all others, or report them as stolen.

        Args:
            key_of: returns the organisation's document key with a number.
            compromised_since: the block from which signatures of the old keys are refused;
                None to retire them.
            key: the number of the key that is meant; None for the one in use. A key that is out
                of use already can still be reported as stolen: then no other changes.

        Raises:
            ValueError: the key that is meant is not in use.
        """
        used = await find_usable_keys(self._signer.registry, self._org_id)
        if key is not None and key not in used.usable:
            return await self._end_old_key(key, used, compromised_since)
        # Cut off: the next key is there, and the old ones are too. If the next one is meant itself,
        # one after it takes its place.
        was_cut_off = len(used.usable) > 1 and key != used.last
        number = used.last if was_cut_off else used.last + 1
        fresh, height = (number, key_of(number).public_key), 0
        for address, data in rotation_calls(self._org_id, used.usable, fresh, compromised_since):
            height = (await self._signer.send(address, data)).height
        return Rotation(number, tuple(old for old in used.usable if old != number), height)

    async def _end_old_key(self, key: int, used: UsableKeys, since: int | None) -> Rotation:
        """Report a key that is out of use as stolen."""
        in_use = ", ".join(map(str, used.usable)) or "none"
        if not 0 < key <= used.last:
            raise ValueError(f"there is no key {key}; in use: {in_use}")
        if since is None:
            raise ValueError(f"key {key} was replaced already; in use: {in_use}")
        address, data = compromise_call(self._org_id, key, since)
        height = (await self._signer.send(address, data)).height
        return Rotation(used.last, (key,), height)

    async def grant_all_roles(self, fresh: Account) -> Role:
        """Give a new account, which agrees to it, all roles of its organisation; return them."""
        roles = Role((await self._signer.registry.get_org(self._org_id)).roles)
        chain_id = await self._signer.read_chain_id()
        address, data = claim_call(self._org_id, fresh, roles, chain_id)
        await self._signer.send(address, data)
        return roles

    async def remove_accounts(self, accounts: Iterable[str]) -> None:
        """Remove all roles of these accounts, where they have any."""
        for account in accounts:
            known = bytes.fromhex(account[2:])
            if (await self._signer.registry.get_account(known))[1]:
                address, data = account_call(self._org_id, known, Role(0))
                await self._signer.send(address, data)
