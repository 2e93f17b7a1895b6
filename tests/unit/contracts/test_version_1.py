"""The contracts of version 1 fell to their own members; what each test does, version 2 refuses.

The bytecode is that of the first revision (tests/data/contracts_1.json). Beside each attack stands
the test in which the contracts of today hold.
"""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from eth_abi import decode, encode
from eth_keys import keys
from eth_utils import keccak

from lowu.contracts.registry import (
    CONSENT_LOG_ADDRESS,
    GOVERNANCE_ADDRESS,
    HASH_REGISTRY_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    VERIFICATION_LOG_ADDRESS,
    RegistryErrorCode,
    decode_registry_error,
)
from lowu.node.chain.receipt import ReceiptStatus
from lowu.node.execution.evm import Evm
from lowu.node.execution.flat_state import EmptyState, LayeredState
from tests.unit import node_kit as kit
from tests.unit.registry_world import ADDRESSES, GAS, GOVERNOR, MEMBERS, account_of

CODE = RegistryErrorCode
VERSION_1 = json.loads(
    (Path(__file__).parents[2] / "data" / "contracts_1.json").read_text(encoding="utf-8")
)
ARGUMENTS = {
    "OrgRegistry": (GOVERNOR, GOVERNANCE_ADDRESS),
    "HashRegistry": (ORG_REGISTRY_ADDRESS,),
    "ConsentLog": (ORG_REGISTRY_ADDRESS,),
    "VerificationLog": (ORG_REGISTRY_ADDRESS, CONSENT_LOG_ADDRESS),
    "Governance": (ORG_REGISTRY_ADDRESS,),
}
HOLDER, STRANGER = keys.PrivateKey(b"\x31" * 32), keys.PrivateKey(b"\x32" * 32)
CONSENT, ANCHOR, NEWER = b"\x0c" * 32, b"\x07" * 32, b"\x08" * 32
ALL_ROLES = 127


class Failed(Exception):
    """A contract refused a call; `code` says why."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class OldWorld:
    """The contracts of version 1 with the members of the other tests."""

    def __init__(self):
        self._state, self.height, self.time_s = EmptyState(), 1, 1_000_000
        self._open()
        for name, values in ARGUMENTS.items():
            code = bytes.fromhex(VERSION_1[name]["bytecode"][2:])
            code += encode(["address"] * len(values), values)
            self._evm.create_at(GOVERNOR, ADDRESSES[name], code, GAS)
        schema = (1, 1, b"h" * 32, 0, 0, 0, False, bytes(32), 0)
        self.call(GOVERNOR, "OrgRegistry", "registerSchema", *schema)
        for start, end in ((1, 2), (2, 1)):
            self.call(GOVERNOR, "OrgRegistry", "setRoute", start, end, True)
        for name, (number, side, roles) in MEMBERS.items():
            self.admit(name, number, int(side), int(roles))
        self.pass_blocks()

    def admit(self, name, number, side, roles):
        self.call(GOVERNOR, "OrgRegistry", "admitOrg", number, b"m" * 32, side, roles)
        self.call(GOVERNOR, "OrgRegistry", "setAccount", number, account_of(name), roles)
        self.call(GOVERNOR, "OrgRegistry", "addKey", number, 1, 1, bytes(64))
        self.call(GOVERNOR, "OrgRegistry", "accredit", number, 1, 0)

    def _open(self):
        self._evm = Evm(self._state, kit.context(self.height, self.time_s))

    def pass_blocks(self, count=1):
        self._state = LayeredState(self._state, self._evm.writes())
        self.height, self.time_s = self.height + count, self.time_s + count
        self._open()

    def call(self, who, contract, name, *arguments):
        """Call as a member or an address; return the decoded values."""
        inputs, outputs = VERSION_1[contract]["functions"][name]
        data = keccak(text=f"{name}({','.join(inputs)})")[:4] + encode(inputs, arguments)
        sender = account_of(who) if isinstance(who, str) else who
        outcome = self._evm.call(sender, ADDRESSES[contract], 0, data, GAS)
        if outcome.status is not ReceiptStatus.SUCCESS:
            raise Failed(decode_registry_error(outcome.output))
        values = decode(outputs, outcome.output)
        return values[0] if len(values) == 1 else values

    def consent(self, key, name, *more):
        """Have a member log what a key signed: a consent until later, or its withdrawal."""
        until = 2_000_000
        message = self.call(
            "verifier-hk", "ConsentLog", "messageOf", CONSENT, until, name == "withdraw"
        )
        found = key.sign_msg_hash(message)
        halves = (item.to_bytes(32, "big") for item in (found.r, found.s))
        return self.call("verifier-hk", "ConsentLog", name, CONSENT, *more, found.v + 27, *halves)


@pytest.fixture
def old():
    return OldWorld()


def org_call(name, *arguments):
    inputs, _ = VERSION_1["OrgRegistry"]["functions"][name]
    return keccak(text=f"{name}({','.join(inputs)})")[:4] + encode(inputs, arguments)


def propose(old, data):
    call = ("0x" + ORG_REGISTRY_ADDRESS.hex(), data)
    return old.call("issuer-sz", "Governance", "propose", [call], 10)


def test_n_h4_one_side_with_one_regulator_takes_over(old):
    """Today: test_regulators_suspend_where_they_stand_and_for_a_time, test_whoever_is_suspended…"""
    for org in (2, 4):  # both voters of the other side
        old.call("regulator", "OrgRegistry", "setOrgStatus", org, 2)
    proposal = propose(old, org_call("admitOrg", 66, b"m" * 32, 1, ALL_ROLES))
    old.call("issuer-sz", "Governance", "vote", proposal, True)
    assert old.call("witness-sz", "Governance", "vote", proposal, True) == 2
    assert old.call("regulator", "OrgRegistry", "getOrg", 66)[2] == ALL_ROLES


def test_n_h4_nobody_ever_votes_again(old):
    """Today: test_whoever_is_suspended_votes."""
    for org in (1, 2, 3, 4):
        old.call("regulator", "OrgRegistry", "setOrgStatus", org, 2)
    with pytest.raises(Failed, match="1003"):
        propose(old, org_call("setOrgStatus", 1, 1))


def test_n_m6_two_that_are_expelled_are_two_of_two(old):
    """Today: test_whoever_joins_later_or_has_left_has_no_say."""
    proposal = propose(old, org_call("admitOrg", 66, b"m" * 32, 1, ALL_ROLES))
    old.call("issuer-sz", "Governance", "vote", proposal, True)
    old.call("issuer-hk", "Governance", "vote", proposal, True)
    for org in (1, 2):
        old.call(GOVERNOR, "OrgRegistry", "setOrgStatus", org, 3)
    # The two that are left have not voted; the vote of one of them, against it, makes it pass.
    assert old.call("witness-sz", "Governance", "vote", proposal, False) == 2


def test_n_m2_a_seen_digest_is_taken(old):
    """Today: test_nobody_takes_a_consent_of_another."""
    old.consent(STRANGER, "grant", 2_000_000)
    with pytest.raises(Failed, match="3001"):
        old.consent(HOLDER, "grant", 2_000_000)


def test_n_m2_a_seen_id_is_used_up(old):
    """Today: test_nobody_uses_up_what_is_for_another."""
    old.admit("rival", 9, 2, 4)
    consume = ("VerificationLog", "consume", ANCHOR, bytes(32), 1, 1)
    old.call("rival", *consume)
    with pytest.raises(Failed, match="3008"):
        old.call("verifier-hk", *consume)


def test_n_m3_a_withdrawn_consent_is_logged_afterwards(old):
    """Today: test_a_consent_withdrawn_before_it_is_logged_stays_withdrawn."""
    with pytest.raises(Failed, match="3002"):  # its withdrawal left no trace
        old.consent(HOLDER, "withdraw")
    old.consent(HOLDER, "grant", 2_000_000)
    assert old.call("verifier-hk", "ConsentLog", "isLive", CONSENT)


def test_n_m4_a_renewal_cuts_off_what_came_before(old):
    """Today: test_a_renewed_accreditation_keeps_what_came_before."""
    arguments = (ANCHOR, 1, 1, 0, 1, 0)
    old.call("issuer-sz", "HashRegistry", "registerAnchor", *arguments)
    registered = old.height
    old.pass_blocks(5)
    old.call(GOVERNOR, "OrgRegistry", "accredit", 1, 1, 0)
    _, since, _ = old.call("regulator", "OrgRegistry", "getAccreditation", 1, 1)
    assert since > registered


def test_n_m7_whoever_has_left_writes_and_claims(old):
    """Today: test_an_organisation_that_is_not_active_writes_nothing, test_an_account_agrees…"""
    old.call(GOVERNOR, "OrgRegistry", "setOrgStatus", 1, 3)
    old.call("issuer-sz", "OrgRegistry", "addKey", 1, 2, 1, bytes(64))
    old.call("issuer-sz", "OrgRegistry", "reportCompromised", 1, 1, 1)
    stranger = sha256(b"a stranger").digest()[:20]
    old.call("issuer-sz", "OrgRegistry", "setAccount", 1, stranger, 2)
    with pytest.raises(Failed, match="2007"):  # and now the stranger can join nobody else
        old.call("issuer-hk", "OrgRegistry", "setAccount", 2, stranger, 2)


def test_n_m11_a_superseded_batch_passes_for_erased(old):
    """Today: test_one_document_of_a_batch_is_erased_alone."""
    leaf = sha256(b"dvp1-b0" + ANCHOR).digest()
    for root in (leaf, NEWER):
        old.call("issuer-sz", "HashRegistry", "registerBatch", root, 1, 1, 1, 0, 1, 0)
    old.call("issuer-sz", "HashRegistry", "supersede", leaf, NEWER)
    state, _, _ = old.call("regulator", "HashRegistry", "getLeafStatus", 1, leaf, ANCHOR, 0, [])
    assert state in (4, 5, 6)  # all that a holder asked before it destroyed its copy
    assert "getLeafErasureReceipt" not in VERSION_1["HashRegistry"]["functions"]
    assert HASH_REGISTRY_ADDRESS != VERIFICATION_LOG_ADDRESS
