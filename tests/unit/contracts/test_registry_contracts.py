"""What the registry's contracts allow, refuse and record; every call in both EVM engines."""

from hashlib import sha256

import pytest
from eth_keys import keys

from lowu.contracts.registry import (
    AnchorState,
    RegistryErrorCode,
    Role,
    VerdictClass,
)
from tests.unit.registry_world import SCHEMA, Refused, World, account_of, refused

ANCHOR, OTHER = b"\x07" * 32, b"\x08" * 32
DAY_S = 86_400
CODE = RegistryErrorCode


@pytest.fixture
def world():
    return World()


# --- registering ----------------------------------------------------------------------------------


def test_the_same_registration_again_changes_nothing(world):
    assert world.register(ANCHOR, day=30, flags=5) is False
    assert world.events() == ["AnchorRegistered"]
    assert world.gas_used + 21_000 + 16 * 196 < 120_000
    before = world.hashes("issuer-hk", "getRecord", 1, ANCHOR)
    world.pass_blocks(5)
    assert world.register(ANCHOR, day=30, flags=5) is True
    assert world.events() == [] and world.hashes("issuer-hk", "getRecord", 1, ANCHOR) == before
    for changes in ({"day": 31}, {"flags": 4}, {"key": 2}, {"suite": 2}, {"schema": 9}):
        fields = {"day": 30, "flags": 5} | changes
        refused(CODE.ALREADY_REGISTERED_CONFLICT, world.register, ANCHOR, **fields)
    world.hashes("issuer-sz", "revoke", ANCHOR, 1, 0)
    assert world.register(ANCHOR, day=30, flags=5) is True
    assert world.state_of(ANCHOR) == AnchorState.REVOKED


def test_a_squatter_fills_a_record_of_his_own(world):
    world.register(ANCHOR, who="issuer-hk")
    assert world.state_of(ANCHOR, issuer=1) == AnchorState.NONE
    world.register(ANCHOR, who="issuer-sz", flags=1)
    world.hashes("issuer-hk", "revoke", ANCHOR, 1, 0)
    assert world.state_of(ANCHOR, issuer=1) == AnchorState.ACTIVE


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"schema": 0}, CODE.BAD_SCHEMA),
        ({"suite": 0}, CODE.BAD_SUITE),
        ({"suite": 4}, CODE.BAD_SUITE),
        ({"key": 0}, CODE.MALFORMED),
        ({"schema": 77}, CODE.NOT_ACCREDITED),
        ({"who": "verifier-hk"}, CODE.ROLE_REQUIRED),
        ({"who": b"\x55" * 20}, CODE.UNKNOWN_ACCOUNT),
        ({"who": "governor"}, CODE.ROLE_REQUIRED),
        ({"anchor": bytes(32)}, CODE.ZERO_ANCHOR),
        ({"day": 1}, CODE.BAD_VALIDITY),
    ],
)
def test_registrations_that_are_refused(world, changes, code):
    world.pass_blocks(seconds=3 * DAY_S)
    fields = {"anchor": ANCHOR} | changes
    refused(code, world.register, **fields)
    assert world.state_of(ANCHOR) == AnchorState.NONE


def test_schemas_are_paused_deprecated_and_known_once(world):
    world.org("governor", "pauseSchema", SCHEMA, True)
    refused(CODE.SCHEMA_PAUSED, world.register, ANCHOR)
    world.org("governor", "pauseSchema", SCHEMA, False)
    world.register(ANCHOR)
    world.org("governor", "deprecateSchema", SCHEMA)
    refused(CODE.BAD_SCHEMA, world.register, OTHER)
    assert world.register(ANCHOR) is True and world.state_of(ANCHOR) == AnchorState.ACTIVE
    refused(CODE.TERMINAL_STATE, world.org, "governor", "pauseSchema", SCHEMA, False)
    particulars = (1, b"h" * 32, 0, 0, 0, False, bytes(32), 0)
    refused(CODE.TERMINAL_STATE, world.org, "governor", "registerSchema", SCHEMA, *particulars)
    refused(CODE.ROLE_REQUIRED, world.org, "issuer-sz", "registerSchema", 9, *particulars)
    refused(CODE.NOT_FOUND, world.org, "governor", "deprecateSchema", 9)


def test_accreditation_is_for_known_schemas_and_where_they_are_of(world):
    refused(CODE.BAD_SCHEMA, world.org, "governor", "accredit", 1, 40, 0)
    particulars = (1, b"h" * 32, 2, 0, 0, False, bytes(32), 0)
    world.org("governor", "registerSchema", 40, *particulars)
    refused(CODE.JURISDICTION_RULE, world.org, "governor", "accredit", 1, 40, 0)
    world.org("governor", "accredit", 2, 40, 0)
    world.register(ANCHOR, who="issuer-hk", schema=40)


def test_a_renewed_accreditation_keeps_what_came_before(world):
    """N-M4: after a renewal, documents from before were rejected."""
    windows = ("OrgRegistry", "getAccreditations", 1, SCHEMA)
    assert world.call("regulator", *windows) == ((True, 0, 0),)
    world.org("governor", "accredit", 1, SCHEMA, world.height + 5)
    assert world.call("regulator", *windows) == ((True, 0, 0),)  # it was open and stays so
    world.pass_blocks(10)
    world.org("governor", "disaccredit", 1, SCHEMA)
    world.pass_blocks(10)
    refused(CODE.NOT_ACCREDITED, world.register, ANCHOR)
    again, until = world.height, world.height + 5
    world.org("governor", "accredit", 1, SCHEMA, until)
    world.register(ANCHOR)
    assert world.call("regulator", *windows) == ((True, 0, 11), (True, again, until))
    world.pass_blocks(2)
    for offered, kept in ((until - 1, until), (until + 9, until + 9), (0, 0), (until, 0)):
        world.org("governor", "accredit", 1, SCHEMA, offered)
        assert world.call("regulator", *windows)[-1] == (True, again, kept)


def test_a_quota_counts_the_registrations_of_a_block(world):
    world.org("governor", "setQuota", 1, 3, 0)
    for number in range(3):
        world.register(bytes([9, number]) + bytes(30))
    refused(CODE.QUOTA_EXCEEDED, world.register, ANCHOR)
    assert world.register(bytes([9, 0]) + bytes(30)) is True
    world.register(ANCHOR, who="issuer-hk")
    world.pass_blocks()
    world.register(ANCHOR)


ENDS = {
    "revoke": (3, 0),
    "supersede": (bytes([9, 1]) + bytes(30),),
    "markErased": (b"r" * 32,),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_quota_counts_what_is_in_force(world, end):
    world.register(OTHER)
    world.org("governor", "setQuota", 1, 0, 2)
    anchors = [bytes([9, number]) + bytes(30) for number in range(4)]
    for anchor in anchors[:2]:
        world.register(anchor)
        world.pass_blocks()
    refused(CODE.QUOTA_EXCEEDED, world.register, anchors[2])
    assert world.register(anchors[0]) is True
    world.hashes("issuer-sz", "suspend", anchors[0])  # may be reinstated, so it still counts
    refused(CODE.QUOTA_EXCEEDED, world.register, anchors[2])
    world.hashes("issuer-sz", "reinstate", anchors[0])
    world.hashes("issuer-sz", "revoke", OTHER, 1, 0)  # registered before the quota: not counted
    refused(CODE.QUOTA_EXCEEDED, world.register, anchors[2])
    world.hashes("issuer-sz", end, anchors[0], *ENDS[end])
    world.register(anchors[2])
    refused(CODE.QUOTA_EXCEEDED, world.register, anchors[3])
    if end != "markErased":
        world.hashes("issuer-sz", "markErased", anchors[0], b"r" * 32)  # frees no further quota
        refused(CODE.QUOTA_EXCEEDED, world.register, anchors[3])
    world.org("governor", "setQuota", 1, 0, 0)
    world.register(anchors[3])


def test_a_key_out_of_use_registers_nothing_new(world):
    world.register(ANCHOR)
    refused(CODE.KEY_NOT_VALID, world.register, OTHER, key=2)
    world.org("issuer-sz", "addKey", 1, 2, 1, bytes(64))
    world.register(OTHER, key=2)
    world.pass_blocks()
    world.org("issuer-sz", "retireKey", 1, 1)
    world.org("issuer-sz", "reportCompromised", 1, 2, world.height)
    third = b"\x77" * 32
    for key in (1, 2):
        refused(CODE.KEY_NOT_VALID, world.register, third, key=key)
        refused(
            CODE.KEY_NOT_VALID,
            world.hashes,
            "issuer-sz",
            "registerBatch",
            third,
            2,
            1,
            key,
            0,
            1,
            0,
        )
    assert world.register(ANCHOR) is True  # earlier registrations stay


# --- states ---------------------------------------------------------------------------------------


def test_the_state_at_every_height(world):
    expected = {0: AnchorState.NONE}

    def at_next_height(state, name=None, *arguments):
        world.pass_blocks()
        if name is not None:
            world.hashes("issuer-sz", name, *arguments)
        expected[world.height] = state

    at_next_height(AnchorState.NONE)
    world.pass_blocks()
    world.register(ANCHOR)
    world.register(OTHER)
    expected[world.height] = AnchorState.ACTIVE
    at_next_height(AnchorState.SUSPENDED, "suspend", ANCHOR)
    at_next_height(AnchorState.SUSPENDED)
    at_next_height(AnchorState.ACTIVE, "reinstate", ANCHOR)
    at_next_height(AnchorState.SUPERSEDED, "supersede", ANCHOR, OTHER)
    at_next_height(AnchorState.SUPERSEDED)
    at_next_height(AnchorState.ERASED, "markErased", ANCHOR, b"r" * 32)
    world.pass_blocks()
    for height, state in expected.items():
        assert world.hashes("regulator", "getStatusAt", 1, ANCHOR, height) == state, height
    assert world.hashes("regulator", "getRecord", 1, ANCHOR)[-1] == OTHER
    assert world.hashes("regulator", "getErasureReceipt", 1, ANCHOR) == b"r" * 32


def test_a_revocation_may_hold_since_a_block_of_the_past(world):
    world.pass_blocks(3)
    registered = world.height
    world.register(ANCHOR)
    world.pass_blocks(2)
    world.hashes("issuer-sz", "suspend", ANCHOR)
    world.pass_blocks(3)
    for wrong in (registered - 1, world.height + 1):
        refused(CODE.MALFORMED, world.hashes, "issuer-sz", "revoke", ANCHOR, 1, wrong)
    since = registered + 1
    world.hashes("issuer-sz", "revoke", ANCHOR, 1, since)
    assert world.events() == ["AnchorRevoked"]
    erased = world.height + 2
    world.pass_blocks(2)
    world.hashes("issuer-sz", "markErased", ANCHOR, b"r" * 32)
    expected = {
        registered - 1: AnchorState.NONE,
        registered: AnchorState.ACTIVE,
        since: AnchorState.REVOKED,
        erased - 1: AnchorState.REVOKED,
        erased: AnchorState.ERASED,
    }
    for height, state in expected.items():
        assert world.hashes("regulator", "getStatusAt", 1, ANCHOR, height) == state, height


CHANGES = {
    "revoke": (3, 0),
    "suspend": (),
    "reinstate": (),
    "supersede": (OTHER,),
    "markErased": (b"r" * 32,),
}
ALLOWED = {
    AnchorState.PENDING_WITNESS: {"revoke", "markErased"},
    AnchorState.ACTIVE: {"revoke", "suspend", "supersede", "markErased"},
    AnchorState.SUSPENDED: {"revoke", "reinstate", "markErased"},
    AnchorState.REVOKED: {"markErased"},
    AnchorState.SUPERSEDED: {"markErased"},
    AnchorState.ERASED: set(),
}
RESULT = {
    "revoke": AnchorState.REVOKED,
    "suspend": AnchorState.SUSPENDED,
    "reinstate": AnchorState.ACTIVE,
    "supersede": AnchorState.SUPERSEDED,
    "markErased": AnchorState.ERASED,
}


def bring_to(world, state):
    """Register the anchor and bring it into a state; another anchor of its schema is active."""
    schema = SCHEMA
    if state is AnchorState.PENDING_WITNESS:
        schema = 20
        world.org("governor", "registerSchema", schema, 1, b"h" * 32, 0, 0, 1, False, bytes(32), 0)
        world.org("governor", "accredit", 1, schema, 0)
    world.register(ANCHOR, schema=schema)
    world.register(OTHER)
    path = {
        AnchorState.SUSPENDED: "suspend",
        AnchorState.REVOKED: "revoke",
        AnchorState.SUPERSEDED: "supersede",
        AnchorState.ERASED: "markErased",
    }
    if state in path:
        world.hashes("issuer-sz", path[state], ANCHOR, *CHANGES[path[state]])
    assert world.state_of(ANCHOR) == state


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("state", ALLOWED)
def test_every_change_in_every_state(world, state, name):
    bring_to(world, state)
    call = ("issuer-sz", name, ANCHOR, *CHANGES[name])
    if name in ALLOWED[state]:
        world.hashes(*call)
        assert world.state_of(ANCHOR) == RESULT[name]
    else:
        with pytest.raises(Refused):
            world.hashes(*call)
        assert world.state_of(ANCHOR) == state
    with pytest.raises(Refused) as failure:
        world.hashes("issuer-hk", name, ANCHOR, *CHANGES[name])
    assert failure.value.code is CODE.NOT_FOUND


def test_anchors_are_replaced_by_active_ones_of_their_schema(world):
    world.register(ANCHOR)
    refused(CODE.NOT_FOUND, world.hashes, "issuer-sz", "supersede", ANCHOR, OTHER)
    refused(CODE.MALFORMED, world.hashes, "issuer-sz", "supersede", ANCHOR, ANCHOR)
    world.register(OTHER)
    world.hashes("issuer-sz", "suspend", OTHER)
    refused(CODE.NOT_ACTIVE, world.hashes, "issuer-sz", "supersede", ANCHOR, OTHER)
    refused(CODE.MALFORMED, world.hashes, "issuer-sz", "revoke", ANCHOR, 16, 0)


# --- witnesses ------------------------------------------------------------------------------------


def witnessed_schema(world, count, is_crossed):
    world.org("governor", "registerSchema", 30, 1, b"h" * 32, 0, 0, count, is_crossed, bytes(32), 3)
    world.org("governor", "accredit", 1, 30, 0)
    world.register(ANCHOR, schema=30)
    assert world.state_of(ANCHOR) == AnchorState.PENDING_WITNESS


def test_an_anchor_is_active_with_enough_witnesses(world):
    witnessed_schema(world, 2, False)
    refused(CODE.ROLE_REQUIRED, world.hashes, "issuer-hk", "witness", 1, ANCHOR)
    world.hashes("witness-sz", "witness", 1, ANCHOR)
    assert world.events() == ["Witnessed"]
    refused(CODE.ALREADY_WITNESSED, world.hashes, "witness-sz", "witness", 1, ANCHOR)
    assert world.state_of(ANCHOR) == AnchorState.PENDING_WITNESS
    world.pass_blocks()
    world.hashes("witness-hk", "witness", 1, ANCHOR)
    assert world.events() == ["Witnessed", "AnchorActivated"]
    assert world.state_of(ANCHOR) == AnchorState.ACTIVE
    refused(CODE.NOT_ACTIVE, world.hashes, "witness-hk", "witness", 1, ANCHOR)
    refused(CODE.NOT_FOUND, world.hashes, "witness-hk", "witness", 1, OTHER)
    pending = AnchorState.PENDING_WITNESS
    assert world.hashes("regulator", "getStatusAt", 1, ANCHOR, world.height - 1) == pending


def test_a_witness_from_the_other_side_may_be_asked_for(world):
    witnessed_schema(world, 1, True)
    world.hashes("witness-sz", "witness", 1, ANCHOR)
    assert world.state_of(ANCHOR) == AnchorState.PENDING_WITNESS
    world.hashes("witness-hk", "witness", 1, ANCHOR)
    assert world.state_of(ANCHOR) == AnchorState.ACTIVE


def test_nobody_witnesses_his_own(world):
    roles = int(Role.ADMIN | Role.ISSUER | Role.WITNESS)
    world.org("governor", "admitOrg", 9, b"m" * 32, 1, roles)
    world.org("governor", "setAccount", 9, account_of("both"), roles)
    world.org("both", "addKey", 9, 1, 1, bytes(64))
    witnessed_schema(world, 1, False)
    world.org("governor", "accredit", 9, 30, 0)
    world.register(OTHER, who="both", schema=30)
    refused(CODE.SELF_WITNESS, world.hashes, "both", "witness", 9, OTHER)


# --- batches --------------------------------------------------------------------------------------


def leaf(anchor):
    return sha256(b"dvp1-b0" + anchor).digest()


def tree(leaves):
    """Return the root and the path of each leaf, by the recursion of RFC 9162."""
    if len(leaves) == 1:
        return leaves[0], [[]]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    (left, left_paths), (right, right_paths) = tree(leaves[:split]), tree(leaves[split:])
    paths = [[*path, right] for path in left_paths] + [[*path, left] for path in right_paths]
    return sha256(b"dvp1-b1" + left + right).digest(), paths


def anchors(count):
    return [sha256(bytes([number])).digest() for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_every_leaf_of_a_batch_is_found_by_its_path_only(world, count):
    items = anchors(count)
    root, paths = tree([leaf(item) for item in items])
    assert world.hashes("issuer-sz", "registerBatch", root, count, SCHEMA, 1, 0, 1, 0) is False
    for index, (anchor, path) in enumerate(zip(items, paths, strict=True)):
        found = world.hashes("verifier-hk", "getLeafStatus", 1, root, anchor, index, path)
        assert found[0] == AnchorState.ACTIVE
        wrong = [
            (anchor, index + 1, path),
            (anchor, count, path),
            (ANCHOR, index, path),
            (anchor, index, [*path, root]),
            (root, index, path),
        ]
        if path:
            wrong += [(anchor, index, path[:-1]), (anchor, index, path[::-1])][: len(path)]
        for bad_anchor, bad_index, bad_path in wrong:
            if (bad_anchor, bad_index, bad_path) != (anchor, index, path):
                refused(
                    CODE.BAD_PROOF,
                    world.hashes,
                    "verifier-hk",
                    "getLeafStatus",
                    1,
                    root,
                    bad_anchor,
                    bad_index,
                    bad_path,
                )


def test_one_document_of_a_batch_is_revoked_alone(world):
    items = anchors(5)
    root, paths = tree([leaf(item) for item in items])
    world.hashes("issuer-sz", "registerBatch", root, 5, SCHEMA, 1, 0, 1, 0)
    revoke = ("issuer-sz", "revokeLeaf", root, items[3], 3, paths[3], 2)
    world.hashes(*revoke)
    assert world.events() == ["LeafRevoked"]
    refused(CODE.ALREADY_REVOKED, world.hashes, *revoke)
    refused(CODE.NOT_FOUND, world.hashes, "issuer-hk", *revoke[1:])
    states = [
        world.hashes("verifier-hk", "getLeafStatus", 1, root, item, index, paths[index])[0]
        for index, item in enumerate(items)
    ]
    assert states == [1, 1, 1, AnchorState.REVOKED, 1]
    world.hashes("issuer-sz", "suspend", root)
    found = world.hashes("verifier-hk", "getLeafStatus", 1, root, items[3], 3, paths[3])
    assert found[0] == AnchorState.REVOKED
    world.hashes("issuer-sz", "revoke", root, 5, 0)
    found = world.hashes("verifier-hk", "getLeafStatus", 1, root, items[0], 0, paths[0])
    assert found[:2] == (AnchorState.REVOKED, 5)


def test_one_document_of_a_batch_is_erased_alone(world):
    """N-M11: the ledger had no receipt for a leaf; any end of its batch counted as erasure."""
    items, receipt = anchors(5), b"r" * 32
    root, paths = tree([leaf(item) for item in items])
    world.hashes("issuer-sz", "registerBatch", root, 5, SCHEMA, 1, 0, 1, 0)
    erase = ("issuer-sz", "eraseLeaf", root, items[3], 3, paths[3])
    refused(CODE.MALFORMED, world.hashes, *erase, bytes(32))
    refused(CODE.BAD_PROOF, world.hashes, *erase[:-1], paths[2], receipt)
    refused(CODE.NOT_FOUND, world.hashes, "issuer-hk", *erase[1:], receipt)
    world.hashes(*erase, receipt)
    assert world.events() == ["LeafRevoked", "LeafErased"]
    refused(CODE.TERMINAL_STATE, world.hashes, *erase, receipt)
    world.hashes("issuer-sz", "revokeLeaf", root, items[1], 1, paths[1], 2)
    world.hashes("issuer-sz", "revoke", root, 5, 0)
    for index, before in ((1, AnchorState.REVOKED), (2, AnchorState.REVOKED)):
        read = ("verifier-hk", "getLeafStatus", 1, root, items[index], index, paths[index])
        assert world.hashes(*read)[0] == before
        world.hashes("issuer-sz", "eraseLeaf", root, items[index], index, paths[index], receipt)
        assert world.hashes(*read)[0] == AnchorState.ERASED
    noted = [world.hashes("regulator", "getLeafErasureReceipt", 1, root, at) for at in range(5)]
    assert noted == [bytes(32), receipt, receipt, receipt, bytes(32)]


def test_batches_are_bounded_and_told_from_anchors(world):
    for count in (0, 65_537):
        arguments = (ANCHOR, count, SCHEMA, 1, 0, 1, 0)
        refused(CODE.BATCH_LIMIT, world.hashes, "issuer-sz", "registerBatch", *arguments)
    assert world.hashes("issuer-sz", "registerBatch", ANCHOR, 65_536, SCHEMA, 1, 0, 1, 0) is False
    refused(CODE.ALREADY_REGISTERED_CONFLICT, world.register, ANCHOR)
    arguments = (ANCHOR, 65_535, SCHEMA, 1, 0, 1, 0)
    conflict = CODE.ALREADY_REGISTERED_CONFLICT
    refused(conflict, world.hashes, "issuer-sz", "registerBatch", *arguments)
    world.register(OTHER)
    refused(CODE.BAD_PROOF, world.hashes, "issuer-sz", "revokeLeaf", OTHER, OTHER, 0, [], 1)


# --- consents and presentations -------------------------------------------------------------------


CONSENT = b"\x0c" * 32
HOLDER = keys.PrivateKey(b"\x31" * 32)
STRANGER = keys.PrivateKey(b"\x32" * 32)
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def consent_signature(world, key, expires_at, is_withdrawal):
    message = world.call(
        "verifier-hk", "ConsentLog", "messageOf", CONSENT, expires_at, is_withdrawal
    )
    signature = key.sign_msg_hash(message)
    return signature.v + 27, signature.r.to_bytes(32, "big"), signature.s.to_bytes(32, "big")


def address_of(key):
    return key.public_key.to_canonical_address()


def is_live(world, key=HOLDER):
    return world.call("verifier-hk", "ConsentLog", "isLive", address_of(key), CONSENT)


def log_consent(world, key, expires_at, name="grant"):
    signature = consent_signature(world, key, expires_at, name == "withdraw")
    call = ("ConsentLog", name, address_of(key), CONSENT, expires_at, *signature)
    return world.call("verifier-hk", *call)


def test_a_consent_is_granted_expires_and_is_withdrawn_by_its_key(world):
    expires_at = world.time_s + 100
    granted = consent_signature(world, HOLDER, expires_at, False)
    assert not is_live(world)
    holder = address_of(HOLDER)
    grant = ("ConsentLog", "grant", holder, CONSENT, expires_at, *granted)
    assert world.call("verifier-hk", *grant) is False and is_live(world)
    assert world.call("issuer-sz", *grant) is True
    refused(CODE.ROLE_REQUIRED, world.call, "regulator", *grant)
    refused(CODE.ALREADY_REGISTERED_CONFLICT, log_consent, world, HOLDER, expires_at + 1)
    withdraw = ("ConsentLog", "withdraw", holder, CONSENT, expires_at)
    bad = consent_signature(world, STRANGER, expires_at, True)
    refused(CODE.SIGNATURE_INVALID, world.call, "verifier-hk", *withdraw, *bad)
    refused(CODE.SIGNATURE_INVALID, world.call, "verifier-hk", *withdraw, *granted)
    good = consent_signature(world, HOLDER, expires_at, True)
    v, r, s = good
    high = (ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    refused(CODE.SIGNATURE_INVALID, world.call, "verifier-hk", *withdraw, 55 - v, r, high)
    world.call("issuer-sz", *withdraw, *good)
    assert not is_live(world)
    refused(CODE.TERMINAL_STATE, world.call, "issuer-sz", *withdraw, *good)
    assert world.call("issuer-sz", *grant) is True and not is_live(world)


def test_a_consent_ends_by_itself(world):
    expires_at = world.time_s + 100
    log_consent(world, HOLDER, expires_at)
    world.pass_blocks(seconds=99)
    assert is_live(world)
    world.pass_blocks(seconds=1)
    assert not is_live(world)
    refused(CODE.BAD_VALIDITY, log_consent, world, STRANGER, world.time_s)


def test_nobody_takes_a_consent_of_another(world):
    """N-M2: a member logged a digest that it saw with its own key; the holder's own conflicted."""
    log_consent(world, STRANGER, world.time_s + 50)
    assert not is_live(world)
    log_consent(world, HOLDER, world.time_s + 100)
    log_consent(world, STRANGER, world.time_s + 50, "withdraw")
    assert is_live(world) and not is_live(world, STRANGER)


def test_a_consent_withdrawn_before_it_is_logged_stays_withdrawn(world):
    """N-M3: the institution that kept the consent logged it after its withdrawal."""
    expires_at = world.time_s + 100
    log_consent(world, HOLDER, expires_at, "withdraw")
    refused(CODE.TERMINAL_STATE, log_consent, world, HOLDER, expires_at)
    assert not is_live(world)


def test_a_presentation_is_used_up_once(world):
    none = (bytes(20), bytes(32))
    consume = ("VerificationLog", "consume", ANCHOR, *none, int(VerdictClass.ACCEPT), 1)
    refused(CODE.ROLE_REQUIRED, world.call, "issuer-sz", *consume)
    world.call("verifier-hk", *consume)
    refused(CODE.PRESENTATION_CONSUMED, world.call, "verifier-hk", *consume)
    found = world.call("regulator", "VerificationLog", "getConsumption", 5, ANCHOR)
    assert found == (VerdictClass.ACCEPT, world.height)
    for presentation, verdict in ((bytes(32), 1), (OTHER, 0), (OTHER, 4)):
        arguments = ("VerificationLog", "consume", presentation, *none, verdict, 1)
        refused(CODE.MALFORMED, world.call, "verifier-hk", *arguments)
    for origin in (0, 3, 9):
        arguments = ("VerificationLog", "consume", OTHER, *none, 1, origin)
        refused(CODE.JURISDICTION_RULE, world.call, "verifier-hk", *arguments)
    under_consent = ("VerificationLog", "consume", OTHER, address_of(HOLDER), CONSENT, 2, 2)
    log_consent(world, STRANGER, world.time_s + 100)
    refused(CODE.CONSENT_NOT_LIVE, world.call, "verifier-hk", *under_consent)
    log_consent(world, HOLDER, world.time_s + 100)
    world.call("verifier-hk", *under_consent)


def test_nobody_uses_up_what_is_for_another(world):
    """N-M2: another verifier used up an id that it saw; the honest verifier reported REPLAYED."""
    roles = int(Role.VERIFIER)
    world.org("governor", "admitOrg", 9, b"m" * 32, 2, roles)
    world.org("governor", "setAccount", 9, account_of("rival"), roles)
    consume = ("VerificationLog", "consume", ANCHOR, bytes(20), bytes(32), 1, 1)
    world.call("rival", *consume)
    world.call("verifier-hk", *consume)
    refused(CODE.PRESENTATION_CONSUMED, world.call, "verifier-hk", *consume)
