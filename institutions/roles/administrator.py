"""The administrator of an organisation: puts its document keys and accounts into use and out of it.

Every change can be cut off at any place and done again: what is left to do is worked out from
what the ledger has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from contracts.registry import Role
from institutions.ledger.governance import account_call, rotation_calls
from institutions.ledger.registry import Registry
from institutions.ledger.transactor import Signer
from institutions.package.signatures import DocumentKey


@dataclass(frozen=True, slots=True)
class UsableKeys:
    """The document keys with which the ledger accepts an organisation's registrations."""

    last: int
    """The number of the last key that the ledger knows: the one in use."""
    usable: tuple[int, ...]
    """More than one if a rotation was cut off."""


async def find_usable_keys(registry: Registry, org_id: int) -> UsableKeys:
    """Read an organisation's document keys, whose numbers begin with 1."""
    number, usable = 0, []
    while (key := await registry.get_key(org_id, number + 1)).is_known:
        number += 1
        if key.is_usable:
            usable.append(number)
    return UsableKeys(max(1, number), tuple(usable))


@dataclass(frozen=True, slots=True)
class Rotation:
    """A change of document keys that is done."""

    number: int
    """The key in use from now on."""
    ended: tuple[int, ...]
    height: int
    """The block of the last call; 0 if nothing was left to do."""


class Administrator:
    """An organisation's account with the role ADMIN."""

    def __init__(self, org_id: int, signer: Signer) -> None:
        self._org_id = org_id
        self._signer = signer

    async def rotate_key(
        self, key_of: Callable[[int], DocumentKey], compromised_since: int | None = None
    ) -> Rotation:
        """Put the next document key into use and end all others, as retired or as stolen.

        Args:
            key_of: the organisation's key of a number.
            compromised_since: the block from which what the old keys signed is refused.
        """
        used = await find_usable_keys(self._signer.registry, self._org_id)
        was_cut_off = len(used.usable) > 1  # the next key is there, and the old ones are too
        number = used.last if was_cut_off else used.last + 1
        fresh, height = (number, key_of(number).public_key), 0
        for address, data in rotation_calls(self._org_id, used.usable, fresh, compromised_since):
            height = (await self._signer.send(address, data)).height
        return Rotation(number, tuple(old for old in used.usable if old != number), height)

    async def grant_all_roles(self, account: str) -> Role:
        """Give an account all roles of the organisation; return them."""
        roles = Role((await self._signer.registry.get_org(self._org_id)).roles)
        address, data = account_call(self._org_id, bytes.fromhex(account[2:]), roles)
        await self._signer.send(address, data)
        return roles

    async def remove_accounts(self, accounts: Iterable[str]) -> None:
        """Take all roles from those of the accounts that have any."""
        for account in accounts:
            known = bytes.fromhex(account[2:])
            if (await self._signer.registry.get_account(known))[1]:
                address, data = account_call(self._org_id, known, Role(0))
                await self._signer.send(address, data)
