"""The registry's contracts on a chain in memory; every call runs in both EVM engines."""

from dataclasses import replace
from hashlib import sha256

import pytest

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import (
    CONSENT_LOG_ADDRESS,
    GOVERNANCE_ADDRESS,
    HASH_REGISTRY_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    VERIFICATION_LOG_ADDRESS,
    Jurisdiction,
    Role,
    decode_registry_error,
)
from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.config import Engine
from lowu.node.execution.evm import Evm
from lowu.node.execution.flat_state import EmptyState, LayeredState
from lowu.node.execution.genesis import build_genesis
from lowu.node.genesis_config import OrgEntry
from tests.unit import node_kit as kit

GAS = 10_000_000
SCHEMA = 1
GOVERNOR = bytes.fromhex(kit.GENESIS.governor[2:])
ADDRESSES = {
    "OrgRegistry": ORG_REGISTRY_ADDRESS,
    "HashRegistry": HASH_REGISTRY_ADDRESS,
    "ConsentLog": CONSENT_LOG_ADDRESS,
    "VerificationLog": VERIFICATION_LOG_ADDRESS,
    "Governance": GOVERNANCE_ADDRESS,
}
MEMBERS = {
    "issuer-sz": (1, Jurisdiction.SZ, Role.ADMIN | Role.ISSUER | Role.GOVERNOR),
    "issuer-hk": (2, Jurisdiction.HK, Role.ADMIN | Role.ISSUER | Role.GOVERNOR),
    "witness-sz": (3, Jurisdiction.SZ, Role.ADMIN | Role.WITNESS | Role.GOVERNOR),
    "witness-hk": (4, Jurisdiction.HK, Role.ADMIN | Role.WITNESS | Role.GOVERNOR),
    "verifier-hk": (5, Jurisdiction.HK, Role.ADMIN | Role.VERIFIER),
    "regulator": (6, Jurisdiction.SZ, Role.ADMIN | Role.REGULATOR),
}


def account_of(name):
    """Return the address of a member's account."""
    return sha256(name.encode()).digest()[:20]


class Refused(Exception):
    """A contract refused a call, with a frozen error number."""

    def __init__(self, code):
        super().__init__(code.name if code is not None else "without a number")
        self.code = code


class World:
    """The contracts of genesis, called by members while blocks pass."""

    def __init__(self):
        orgs = tuple(
            OrgEntry(
                number,
                name,
                int(side),
                int(roles),
                "0x" + account_of(name).hex(),
                "11" * 64,
                (SCHEMA,) if roles & Role.ISSUER else (),
            )
            for name, (number, side, roles) in MEMBERS.items()
        )
        self._state = LayeredState(
            EmptyState(), build_genesis(replace(kit.GENESIS, orgs=orgs)).writes
        )
        self.height, self.time_s = 1, 1_000_000
        self._evm = None
        self.logs = []
        self.gas_used = 0
        self._open()

    def _open(self):
        context = replace(kit.context(self.height, self.time_s), engine=Engine.BOTH)
        self._evm = Evm(self._state, context)

    def pass_blocks(self, count=1, seconds=1):
        """End the block; the next is `count` blocks higher and `seconds` seconds later."""
        self._state = LayeredState(self._state, self._evm.writes())
        self.height += count
        self.time_s += seconds
        self._open()

    def read(self, contract, name, *arguments):
        """Return the decoded values of a function that changes nothing, from the faster engine.

        What a call has written is the same in both engines, or the call has failed.
        """
        state = LayeredState(self._state, self._evm.writes())
        context = replace(kit.context(self.height, self.time_s), engine=Engine.COMPILED)
        function = load_artifact(contract).functions[name]
        data = function.encode_call(*arguments)
        outcome = Evm(state, context).call(bytes(20), ADDRESSES[contract], 0, data, GAS)
        assert outcome.status is ReceiptStatus.SUCCESS
        return function.decode_output(outcome.output)[0]

    def call(self, who, contract, name, *arguments):
        """Call as a member, as the governor, or as an address; return the decoded values."""
        sender = GOVERNOR if who == "governor" else who
        sender = account_of(sender) if isinstance(sender, str) else sender
        function = load_artifact(contract).functions[name]
        data = function.encode_call(*arguments)
        outcome = self._evm.call(sender, ADDRESSES[contract], 0, data, GAS)
        if outcome.status is not ReceiptStatus.SUCCESS:
            raise Refused(decode_registry_error(outcome.output))
        self.logs, self.gas_used = outcome.logs, outcome.gas_used
        values = function.decode_output(outcome.output)
        return values[0] if len(values) == 1 else values

    def org(self, who, name, *arguments):
        """Call OrgRegistry."""
        return self.call(who, "OrgRegistry", name, *arguments)

    def hashes(self, who, name, *arguments):
        """Call HashRegistry."""
        return self.call(who, "HashRegistry", name, *arguments)

    def register(self, anchor, who="issuer-sz", **changes):
        """Register an anchor; return whether it was registered before."""
        fields = {"schema": SCHEMA, "key": 1, "day": 0, "suite": 1, "flags": 0} | changes
        return self.hashes(who, "registerAnchor", anchor, *fields.values())

    def state_of(self, anchor, issuer=1):
        """Return the state of a record."""
        return self.hashes("verifier-hk", "getRecord", issuer, anchor)[4]

    def events(self):
        """Return the names of the events of the last call."""
        known = {
            event.topic: name
            for contract in ADDRESSES
            for name, event in load_artifact(contract).events.items()
        }
        return [known[log.topics[0]] for log in self.logs]


def refused(code, call, *arguments, **settings):
    """Check that a call is refused with an error number."""
    with pytest.raises(Refused) as failure:
        call(*arguments, **settings)
    assert failure.value.code is code
