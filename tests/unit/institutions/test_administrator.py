"""Rotation of document keys: which key is meant, and what an interruption leaves."""

import pytest

from lowu.contracts.registry import OrgKey, org_function
from lowu.institutions.ledger.responses import TransactionReceipt
from lowu.institutions.package.signatures import DocumentKey
from lowu.institutions.roles.administrator import Administrator


class Ledger:
    """An organisation's keys; its calls are committed until `limit` of them are."""

    def __init__(self, *usable, last, limit=99):
        self.keys = {number: number in usable for number in range(1, last + 1)}
        self.calls, self.limit = [], limit
        self.registry = self

    async def get_key(self, org, number):
        if number not in self.keys:
            return OrgKey(0, 0, 0, 0, b"")
        return OrgKey(1, 1, 0 if self.keys[number] else 5, 0, bytes(64))

    async def send(self, address, data):
        if not self.limit:
            raise ConnectionError
        self.limit -= 1
        names = ("addKey", "retireKey", "reportCompromised")
        (name,) = (item for item in names if data[:4] == org_function(item).selector)
        number = int.from_bytes(data[36:68], "big")
        self.calls.append((name, number))
        self.keys[number] = name == "addKey"
        return TransactionReceipt("0x", len(self.calls), True, b"", ())


def key_of(number):
    return DocumentKey(bytes([number]) * 32)


async def rotate(ledger, **options):
    return await Administrator(3, ledger).rotate_key(key_of, **options)


@pytest.mark.parametrize("options", [{}, {"key": 1}])
async def test_the_key_in_use_is_replaced(options):
    ledger = Ledger(1, last=1)
    done = await rotate(ledger, **options)
    assert ledger.calls == [("addKey", 2), ("retireKey", 1)]
    assert (done.number, done.ended, done.height) == (2, (1,), 2)


async def test_the_same_command_again_replaces_no_other_key():
    """`rotate-key` run twice, for want of an answer, replaced the key that it had just made."""
    ledger = Ledger(2, last=2)
    with pytest.raises(ValueError, match="key 1 was replaced already; in use: 2"):
        await rotate(ledger, key=1)
    with pytest.raises(ValueError, match="there is no key 3; in use: 2"):
        await rotate(ledger, key=3)
    assert not ledger.calls


async def test_a_key_out_of_use_can_be_reported_as_stolen():
    ledger = Ledger(2, last=2)
    done = await rotate(ledger, key=1, compromised_since=4)
    assert ledger.calls == [("reportCompromised", 1)]
    assert (done.number, done.ended) == (2, (1,))


@pytest.mark.parametrize("key", [None, 1])
async def test_an_interrupted_rotation_goes_on(key):
    ledger = Ledger(1, last=1, limit=1)
    with pytest.raises(ConnectionError):
        await rotate(ledger, key=key)
    ledger.limit = 9
    done = await rotate(ledger, key=key)
    assert ledger.calls == [("addKey", 2), ("retireKey", 1)] and done.number == 2


async def test_the_next_key_is_meant_while_the_old_one_is_still_there():
    ledger = Ledger(1, 2, last=2)
    done = await rotate(ledger, key=2, compromised_since=1)
    assert ledger.calls[0] == ("addKey", 3)
    assert set(ledger.calls[1:]) == {("reportCompromised", 1), ("reportCompromised", 2)}
    assert done.number == 3
