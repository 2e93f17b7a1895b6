"""Identifiers, documents, packages and verification without a network."""

import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.registry import (
    Accreditation,
    AnchorKind,
    AnchorRecord,
    AnchorState,
    Org,
    OrgKey,
    OrgStatus,
    RevokeReason,
)
from institutions import identifiers as ids
from institutions.canonical import CanonicalError, decode_canonical, encode_canonical
from institutions.documents import (
    build_enterprise_report,
    build_kyc_file,
    build_owner_report,
)
from institutions.holder import Holder
from institutions.issuer import Issuer
from institutions.leaves import LeafType, build_leaves, compute_root, flatten
from institutions.package import PackageError, decode_package, encode_package
from institutions.registry import RegistryRefused, Signer
from institutions.schemas import DAY_S
from institutions.signing import DocumentKey, is_signed_by
from institutions.verdicts import Verdict
from institutions.verifier import Verifier
from node.client import ClientError, RemoteError

NOW_S = 1_800_000_000
KEY = DocumentKey(b"\x05" * 32)
HOLDER = DocumentKey(b"\x06" * 32)


# --- identifiers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "9144030031977063XH", "9144030071526726XG", "91350100M000100Y43", "91440300MA5DEM012D",
        "91440305MA5DEM020G", "91440304MA5DEM039Y", "91440400MA5DEM0475", "91440100MA5DEM055G",
    ],
)  # fmt: skip
def test_uscc_vectors(text):
    assert ids.is_uscc(text)
    assert not ids.is_uscc(text[:-1] + ("0" if text[-1] != "0" else "1"))


def test_other_vectors():
    assert not ids.is_uscc("91350100M000100Y4Z")
    assert ids.compute_body_check("31977063") == "X"
    assert ids.compute_body_check("70846113") == "6"
    assert ids.compute_body_check("M000100Y") == "4"
    for text in ("11010519491231002X", "440300199001010016", "440305198512312224"):
        assert ids.is_mainland_id(text)
        assert not ids.is_mainland_id(text[:16] + str((int(text[16]) + 1) % 10) + text[17])
    for text in (
        "A123456(3)", "AB987654(3)", "C668668(9)", "Z000001(A)", "WX123456(9)", "G123456(A)",
        "K111111(6)",
    ):  # fmt: skip
        assert ids.is_hkid(text)
    assert not ids.is_hkid("A123456(4)")
    assert not ids.is_hkid("nonsense")


def test_generated_identifiers_are_valid():
    random = Random(1)
    for _ in range(200):
        assert ids.is_uscc(ids.generate_uscc(random))
        assert ids.is_mainland_id(ids.generate_mainland_id(random))
        assert ids.is_hkid(ids.generate_hkid(random))


# --- canonical JSON and leaves ----------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        2**53,
        "e\u0301",
        "\ud800",
        {"é": 1},
        {1: 2},
        b"x",
        [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]],
    ],
)
def test_values_outside_the_profile(value):
    with pytest.raises(CanonicalError):
        encode_canonical(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"a":1,"a":1}',
        b'{"b":1,"a":2}',
        b'{ "a":1}',
        b"1.0",
        b"NaN",
        b"\xff",
        b'"\\u0061"',
    ],
)
def test_bytes_outside_the_profile(data):
    with pytest.raises(CanonicalError):
        decode_canonical(data, 1000)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text("abc/~0.1", max_size=5)
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), documents, max_size=3))
def test_canonical_round_trip(value):
    assert decode_canonical(encode_canonical(value), 10**6) == value


@given(documents, documents)
def test_different_documents_have_different_leaves(one, two):
    assert (list(flatten(one)) == list(flatten(two))) == (
        json.dumps(one) == json.dumps(two) or sorted(flatten(one)) == sorted(flatten(two))
    )
    assert (sorted(flatten({"x": one})) == sorted(flatten({"x": two}))) == (
        one == two and _same_types(one, two)
    )


def _same_types(one, two):
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_same_types(one[k], two[k]) for k in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_same_types, one, two))
    return type(one) is type(two)


def test_types_keep_one_and_one_apart():
    kinds = {
        kind
        for _, kind, _ in flatten(
            [1, "1", "1.5", True, False, None, [], {}, "2024-02-30", "2024-02-29"]
        )
    }
    assert kinds == set(LeafType) - {LeafType.PAD}
    assert compute_root([b"a" * 32]) == b"a" * 32


def test_leaves_are_padded_and_salted():
    leaves = build_leaves({"a": 1, "b": [2, 3]}, b"seed")
    assert len(leaves) == 32
    assert [leaf.path for leaf in leaves[:4]] == ["/a", "/b/0", "/b/1", ""]
    assert len({leaf.salt for leaf in leaves}) == 32
    with pytest.raises(ValueError, match="at most 256"):
        build_leaves({"a": list(range(300))}, b"seed")


@pytest.mark.parametrize(
    ("document", "low", "high"),
    [
        (build_enterprise_report(1, NOW_S), 60, 200),
        (build_owner_report(1, NOW_S), 40, 80),
        (build_kyc_file(1, NOW_S), 50, 120),
        (build_kyc_file(1, NOW_S, is_hong_kong=True), 50, 120),
    ],
)
def test_documents_have_a_realistic_size(document, low, high):
    assert low <= len(list(flatten(document.content))) <= high
    assert len(document.canaries()) >= 10
    encode_canonical(document.content)


# --- packages and verification ------------------------------------------------------------------


class FakeRegistry:
    """A ledger that answers from memory."""

    def __init__(self, package):
        header = package.header
        self.height, self.time_s = 10, NOW_S + 60
        self.record = AnchorRecord(
            1,
            1,
            1,
            0,
            AnchorState.ACTIVE,
            0,
            header.valid_until_day,
            5,
            NOW_S + 5,
            AnchorKind.SINGLE,
            0,
            5,
            0,
            0,
            bytes(32),
        )
        self.org = Org(b"m" * 32, 1, 3, OrgStatus.ACTIVE, 0, 0, 0)
        self.key = OrgKey(1, 0, 0, 0, KEY.public_key)
        self.accreditation = Accreditation(True, 0, 0)
        self.is_down = False
        self.anchor = package.anchors[0].anchor

    async def get_latest_block(self):
        if self.is_down:
            raise ClientError("down")
        return {"number": self.height, "hash": "0xb", "time": self.time_s}

    async def get_record(self, issuer, anchor):
        if self.is_down:
            raise ClientError("down")
        is_known = anchor == self.anchor and issuer == 1
        return self.record if is_known else replace(self.record, state=AnchorState.NONE)

    async def get_org(self, org):
        return self.org

    async def get_key(self, org, key_id):
        return self.key

    async def get_accreditation(self, org, schema):
        return self.accreditation


@pytest.fixture
def package():
    issuer = Issuer(name="szcredit", org_id=1, jurisdiction="SZ", signer=None, document_key=KEY)
    document = build_enterprise_report(1, NOW_S, "91440300MA5DEM012D")
    built, _ = issuer.build_package(
        document, audience="nova", holder_key=HOLDER.public_key, issued_at_s=NOW_S
    )
    return built


async def verify(package, registry=None, **changes):
    registry = registry or FakeRegistry(package)
    for name, value in changes.items():
        setattr(registry, name, value)
    data = package if isinstance(package, bytes) else encode_package(package)
    return await Verifier(name="nova", registry=registry).verify(data)


async def test_a_good_package_is_accepted(package):
    report = await verify(package)
    assert (report.verdict, report.codes) == (Verdict.ACCEPT, [])
    assert [line.check.value for line in report.lines] == ["V1", "V2", "V3", "V4", "V5", "V6"]


async def test_hiding_fields(package):
    holder = Holder("acme", HOLDER)
    doc_id = holder.receive(encode_package(package))
    must = package.header.must_disclose
    shown = holder.present(doc_id, "nova", must)
    assert (await verify(shown, FakeRegistry(package))).verdict is Verdict.ACCEPT
    assert b"legal_representative" not in shown
    report = await verify(holder.present(doc_id, "nova", ("/basic",)), FakeRegistry(package))
    assert report.codes == [f"MANDATORY_FIELD_HIDDEN({path})" for path in must]
    with pytest.raises(KeyError, match="not issued for"):
        holder.present(doc_id, "fusion")


def mutations(package):
    """Single changes of a package, each with a code that must be reported."""
    leaf = next(item for item in package.disclosures if item.path == "/loans/3/balance")
    at = package.disclosures.index(leaf)

    def with_leaf(**changes):
        changed = replace(leaf, **changes)
        parts = (*package.disclosures[:at], changed, *package.disclosures[at + 1 :])
        return replace(package, disclosures=parts)

    head = package.header
    tampered = "TAMPERED_FIELD(/loans/3/balance)"
    yield "amount", with_leaf(value="1.00"), tampered
    yield "type", with_leaf(type=LeafType.STRING), tampered
    yield "salt", with_leaf(salt=b"x" * 32), tampered
    yield "path", with_leaf(path="/loans/3/balancf"), "TAMPERED_FIELD(/loans/3/balancf)"
    yield (
        "swap",
        replace(
            package,
            disclosures=(package.disclosures[1], package.disclosures[0], *package.disclosures[2:]),
        ),
        "PROOF_INVALID(order of fields)",
    )
    yield (
        "leaf hash",
        replace(package, leaves=(b"x" * 32, *package.leaves[1:])),
        "PROOF_INVALID(root)",
    )
    yield "fewer leaves", replace(package, leaves=package.leaves[:-1]), "PROOF_INVALID(leaf count)"
    extra = replace(leaf, index=255, path="/zzz", type=LeafType.EMPTY_ARRAY, value="")
    yield (
        "empty array",
        replace(package, disclosures=(*package.disclosures, extra)),
        "TAMPERED_FIELD(/zzz)",
    )
    yield "signature", replace(package, issuer_signature=b"s" * 64), "SIG_INVALID"
    for name, value in {
        "report_time": head.report_time + 1, "valid_until": head.valid_until + 1,
        "root": "ab" * 32, "doc_id": "cd" * 16, "holder_key": "ef" * 64, "must_disclose": (),
        "schema": "grp.kyc/1", "issuer_org": 2, "key_id": 2, "leaf_count": 64, "sensitivity": 0,
        "subject_commitment": "12" * 32, "jurisdiction": "HK", "supersedes": "x",
    }.items():  # fmt: skip
        yield name, replace(package, header=replace(head, **{name: value})), "TAMPERED_HEADER"
    anchor = replace(package.anchors[0], blind=b"b" * 32)
    yield "blind", replace(package, anchors=(anchor,)), "TAMPERED_HEADER"
    anchor = replace(package.anchors[0], anchor=b"b" * 32)
    yield "anchor", replace(package, anchors=(anchor,)), "NOT_REGISTERED"


async def test_no_single_change_is_accepted(package):
    registry = FakeRegistry(package)
    for name, changed, code in mutations(package):
        report = await verify(changed, registry)
        assert report.verdict is Verdict.REJECT, name
        assert code in report.codes, (name, report.codes)


async def test_no_changed_byte_is_accepted(package):
    data = encode_package(package)
    registry = FakeRegistry(package)
    start = data.index(b'"audience') if b'"audience' in data else 0
    for position in range(start, len(data), 97):
        changed = bytearray(data)
        changed[position] ^= 1
        report = await verify(bytes(changed), registry)
        is_hint = bytes(changed).replace(b"0]]", b"", 1) == data.replace(b"0]]", b"", 1)
        assert report.verdict is Verdict.REJECT or is_hint, position


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"org": Org(bytes(32), 0, 0, OrgStatus.UNKNOWN, 0, 0, 0)}, "ISSUER_UNKNOWN(1)"),
        (
            {"org": Org(bytes(32), 1, 3, OrgStatus.SUSPENDED, 0, 0, 0)},
            "ISSUER_SUSPENDED(SUSPENDED)",
        ),
        ({"accreditation": Accreditation(False, 0, 0)}, "ISSUER_NOT_ACCREDITED(cn.ecr/1)"),
        ({"accreditation": Accreditation(True, 0, 5)}, "ISSUER_NOT_ACCREDITED(cn.ecr/1)"),
        ({"accreditation": Accreditation(True, 6, 0)}, "ISSUER_NOT_ACCREDITED(cn.ecr/1)"),
        ({"key": OrgKey(1, 0, 5, 0, KEY.public_key)}, "KEY_RETIRED_BEFORE(5)"),
        ({"key": OrgKey(1, 0, 0, 5, KEY.public_key)}, "KEY_COMPROMISED(5)"),
        ({"key": OrgKey(1, 0, 0, 0, HOLDER.public_key)}, "SIG_INVALID"),
        ({"key": OrgKey(0, 0, 0, 0, b"")}, "SIG_INVALID"),
        ({"anchor": b"other"}, "NOT_REGISTERED"),
        ({"time_s": NOW_S - 3 * DAY_S}, "NOT_YET_VALID"),
        ({"time_s": NOW_S + 40 * DAY_S}, "EXPIRED"),
        ({"time_s": NOW_S + 40 * DAY_S}, "STALE"),
    ],
)
async def test_issuer_anchor_and_time(package, changes, code):
    report = await verify(package, **changes)
    assert report.verdict is Verdict.REJECT
    assert code in report.codes


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"state": AnchorState.PENDING_WITNESS}, "PENDING_WITNESS"),
        ({"registered_height": 11}, "NOT_FINAL(11)"),
        ({"state": AnchorState.REVOKED, "reason": RevokeReason.DISPUTED}, "REVOKED(DISPUTED)"),
        ({"state": AnchorState.SUSPENDED}, "SUSPENDED"),
        ({"state": AnchorState.SUPERSEDED}, f"SUPERSEDED({'00' * 32})"),
        ({"state": AnchorState.ERASED}, "ERASED"),
        ({"registered_time": NOW_S + 2 * DAY_S}, "REGISTERED_LATE"),
        ({"schema": 4}, "TAMPERED_HEADER(differs from the record)"),
        ({"valid_until_day": 1}, "TAMPERED_HEADER(differs from the record)"),
    ],
)
async def test_record(package, changes, code):
    registry = FakeRegistry(package)
    registry.record = replace(registry.record, **changes)
    report = await verify(package, registry)
    assert report.verdict is Verdict.REJECT
    assert code in report.codes


async def test_keys_retired_or_compromised_later_do_not_matter(package):
    report = await verify(package, key=OrgKey(1, 0, 6, 6, KEY.public_key))
    assert report.verdict is Verdict.ACCEPT


async def test_no_node_no_verdict(package):
    report = await verify(package, is_down=True)
    assert report.verdict is Verdict.INDETERMINATE
    assert set(report.codes) == {"FRESHNESS_UNKNOWN"}
    changed = replace(package, leaves=package.leaves[:-1])
    assert (await verify(changed, is_down=True)).verdict is Verdict.REJECT


async def test_a_receivers_own_limit_of_age(package):
    verifier = Verifier(name="nova", registry=FakeRegistry(package), max_age_s=30)
    assert "STALE" in (await verifier.verify(encode_package(package))).codes


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "PKG_MALFORMED"),
        (b"[]", "PKG_MALFORMED"),
        (b"{}", "PKG_MALFORMED"),
        (b"[" * 100_000, "PKG_MALFORMED"),
        (bytes(5 * 1024 * 1024), "PKG_MALFORMED"),
    ],
)
async def test_malformed_packages(package, data, code):
    report = await verify(data, FakeRegistry(package))
    assert report.verdict is Verdict.REJECT
    assert report.codes[0].startswith(code)


async def test_other_versions_and_audiences(package):
    raw = json.loads(encode_package(package))
    for part, code in (
        ({"format": "dvp2"}, "PKG_UNSUPPORTED_VERSION"),
        ({"header": raw["header"] | {"v": 2}}, "PKG_UNSUPPORTED_VERSION"),
        ({"header": raw["header"] | {"schema": "xx/1"}}, "PKG_UNSUPPORTED_VERSION"),
        ({"header": {}}, "PKG_MALFORMED"),
        ({"anchors": []}, "PKG_MALFORMED"),
        ({"disclosures": [[0, "/a", 15, "", "00" * 32]]}, "PKG_MALFORMED"),
        ({"leaves": ["zz" * 32]}, "PKG_MALFORMED"),
    ):
        report = await verify(encode_canonical(raw | part), FakeRegistry(package))
        assert report.codes[0].startswith(code), part
    with pytest.raises(PackageError):
        decode_package(b"x")


def test_two_audiences_share_no_anchor(package):
    issuer = Issuer(name="s", org_id=1, jurisdiction="SZ", signer=None, document_key=KEY)
    document = build_owner_report(1, NOW_S)
    one, two = (
        issuer.build_package(
            document, audience=name, holder_key=HOLDER.public_key, issued_at_s=NOW_S
        )[0]
        for name in ("nova", "fusion")
    )
    assert one.anchors[0].anchor != two.anchors[0].anchor
    assert one.header.subject_commitment != two.header.subject_commitment


def test_signatures():
    digest = b"d" * 32
    signature = KEY.sign(digest)
    assert is_signed_by(KEY.public_key, digest, signature)
    assert not is_signed_by(HOLDER.public_key, digest, signature)
    for key, sig in ((b"", signature), (b"\0" * 64, signature), (KEY.public_key, b"\0" * 64)):
        assert not is_signed_by(key, digest, sig)


class RacingClient:
    """A node at which another program uses the same account."""

    def __init__(self, losses):
        self.losses = losses
        self.nonces = []

    async def call(self, method, *params):
        if method == "eth_chainId":
            return "0x4ee8"
        if method == "eth_getTransactionCount":
            return hex(len(self.nonces))
        self.nonces.append(len(self.nonces))
        if len(self.nonces) <= self.losses:
            raise RemoteError(-32000, "another transaction with nonce 0 waits already", None)
        return "0xhash"

    async def wait_for_receipt(self, tx_hash, timeout_s):
        return {"status": "0x1", "transactionHash": tx_hash}


async def test_two_users_of_one_account_take_turns(autojump_clock):
    client = RacingClient(losses=3)
    receipt = await Signer(client, b"\x01" * 32).send(b"\x02" * 20, b"")
    assert receipt["status"] == "0x1"
    assert client.nonces == [0, 1, 2, 3]
    with pytest.raises(RegistryRefused, match="used elsewhere"):
        await Signer(RacingClient(losses=99), b"\x01" * 32).send(b"\x02" * 20, b"")
