"""Identifiers, documents, leaves, signatures and accounts."""

import json
from random import Random

import pytest
import rfc8785
import trio
from hypothesis import given
from hypothesis import strategies as st

from lowu.contracts.registry import org_function
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.institutions.documents import identifiers as ids
from lowu.institutions.documents import personal
from lowu.institutions.documents.document import (
    build_enterprise_report,
    build_kyc_file,
    build_owner_report,
)
from lowu.institutions.ledger.governance import rotation_calls
from lowu.institutions.ledger.transactor import NotTaken, Signer
from lowu.institutions.package.canonical import CanonicalError, decode_canonical, encode_canonical
from lowu.institutions.package.leaves import (
    CONTAINERS,
    Attachment,
    LeafType,
    build_leaves,
    compute_root,
    flatten,
)
from lowu.institutions.package.signatures import ORDER, DocumentKey, is_signed_by
from lowu.node.client import ClientError, RemoteError, TransactionTimeout

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


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("aZ~_/. ", max_size=3), inner),
        max_leaves=8,
    )
)
def test_the_encoding_is_that_of_rfc_8785(value):
    try:
        encoded = encode_canonical(value)
    except CanonicalError:
        return
    assert encoded == rfc8785.dumps(value)


@given(documents, documents)
def test_different_documents_have_different_leaves(one, two):
    """N-D4: {"x": ["v"]} and {"x": {"0": "v"}} had the same leaves."""
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
    values = [1, "1", "1.5", True, False, None, [], {}, "2024-02-30", "2024-02-29"]
    kinds = {kind for _, _, kind, _ in flatten({"a": values})}
    assert kinds == set(LeafType) - {LeafType.FILE, LeafType.PAD}
    assert compute_root([b"a" * 32]) == b"a" * 32


def test_leaves_are_padded_and_salted():
    leaves = build_leaves({"a": 1, "b": [2, 3]}, b"seed")
    assert len(leaves) == 32
    shown = {leaf.path: (leaf.kinds, leaf.type, leaf.value) for leaf in leaves if not is_pad(leaf)}
    assert shown == {
        "": ("", LeafType.OBJECT, "2"),
        "/a": ("o", LeafType.INTEGER, "1"),
        "/b": ("o", LeafType.ARRAY, "2"),
        "/b/0": ("oa", LeafType.INTEGER, "2"),
        "/b/1": ("oa", LeafType.INTEGER, "3"),
    }
    salts = [leaf.salt for leaf in leaves]
    assert salts == sorted(set(salts)) and [leaf.index for leaf in leaves] == list(range(32))
    with pytest.raises(ValueError, match="at most 512"):
        build_leaves({"a": list(range(511))}, b"seed")


def is_pad(leaf):
    return leaf.type is LeafType.PAD


def test_places_tell_nothing_about_what_is_hidden():
    """N-M10: the gap between two mandatory leaves told every receiver the number of loans."""
    for count in (0, 1, 3, 8):
        places = []
        for number in range(300):
            leaves = build_leaves({"a": 1, "loans": ["x"] * count, "z": 2}, b"seed %d" % number)
            first, last = (
                next(leaf.index for leaf in leaves if leaf.path == path) for path in ("/a", "/z")
            )
            places.append(last - first)
        assert len(leaves) == 32
        # The difference of two places drawn at random from 32: no mean, and a spread of 13.
        mean = sum(places) / len(places)
        spread = (sum((place - mean) ** 2 for place in places) / len(places)) ** 0.5
        assert abs(mean) < 4 and 11 < spread < 15.5


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"n": 2**53}, "integer beyond"),  # N-D8: it was issued, though the format excludes it
        ({"n": -(2**53)}, "integer beyond"),
        ({"n": 0.5}, "write amounts as strings"),
        ({"e\u0301": 1}, "Unicode NFC"),
        ({"k" * 1_024: 1}, "1024 bytes"),
        ({"\u540d" * 342: 1}, "1024 bytes"),  # N-H5
    ],
)
def test_what_cannot_stand_in_a_document(content, text):
    with pytest.raises(ValueError, match=text):
        build_leaves(content, b"seed")


def test_field_names_are_of_any_script():
    leaves = build_leaves({"\u59d3\u540d": {"\u00fc~/": 1}}, b"seed")
    assert {"/\u59d3\u540d", "/\u59d3\u540d/\u00fc~0~1"} < {leaf.path for leaf in leaves}


@pytest.mark.parametrize(
    ("document", "low", "high"),
    [
        (build_enterprise_report(1, NOW_S), 60, 200),
        (build_owner_report(1, NOW_S), 40, 80),
        (build_kyc_file(1, NOW_S), 45, 120),
        (build_kyc_file(1, NOW_S, is_hong_kong=True), 45, 120),
        (personal.build_personal_report(1, NOW_S), 80, 200),
        (personal.build_hk_personal_report(1, NOW_S), 40, 120),
        (personal.build_hk_company_report(1, NOW_S), 40, 120),
        (personal.build_transcript(1, NOW_S), 24, 80),
        (personal.build_health_extract(1, NOW_S), 30, 100),
        (personal.build_asset_certificate(1, NOW_S), 16, 32),
        (personal.build_residence_proof(1, NOW_S), 20, 32),
    ],
)
def test_documents_have_a_realistic_size(document, low, high):
    leaves = {path: kind for path, _, kind, _ in flatten(document.content)}
    paths, fields = set(leaves), [kind for kind in leaves.values() if kind not in CONTAINERS]
    assert low <= len(fields) <= high
    assert set(SCHEMAS[document.schema].must_disclose) <= paths
    assert len(document.canaries()) >= low // 10


# --- signatures and accounts --------------------------------------------------------------------


def test_signatures():
    digest = b"d" * 32
    signature = KEY.sign(digest)
    assert is_signed_by(KEY.public_key, digest, signature)
    assert not is_signed_by(HOLDER.public_key, digest, signature)
    r, s = signature[:32], int.from_bytes(signature[32:], "big")
    turned = r + (ORDER - s).to_bytes(32, "big")
    assert 2 * s < ORDER and not is_signed_by(KEY.public_key, digest, turned)
    assert is_signed_by(KEY.public_key, digest, turned, version=1)
    for key, sig in ((b"", signature), (b"\0" * 64, signature), (KEY.public_key, b"\0" * 64)):
        assert not is_signed_by(key, digest, sig)


def receipt_of(tx_hash):
    return {
        "transactionHash": tx_hash,
        "blockNumber": "0x7",
        "status": "0x1",
        "contractAddress": None,
        "logs": [],
    }


class RacingClient:
    """A node where another program uses the same account."""

    url = "http://racing"

    def __init__(self, losses):
        self.losses = losses
        self.nonces, self.sent = [], []

    async def call(self, method, *params):
        if method == "eth_chainId":
            return "0x4ee8"
        if method == "eth_getTransactionCount":
            return hex(len(self.nonces))
        self.sent.append(params[0])
        if params[0] in self.sent[:-1]:
            raise RemoteError(-32000, "already known", None)
        self.nonces.append(len(self.nonces))
        if len(self.nonces) <= self.losses:
            raise RemoteError(-32000, "another transaction with nonce 0 waits already", None)
        return "0x" + "00" * 32  # any hash: the sender computes its own

    async def wait_for_receipt(self, tx_hash, timeout_s):
        return receipt_of(tx_hash)


class LaggingClient(RacingClient):
    """A node that returns a nonce that another transaction of the account already uses."""

    url = "http://lagging"

    def __init__(self, *, lost=1, is_receipt_late=False):
        super().__init__(losses=0)
        self.lost, self.is_receipt_late, self.polls = lost, is_receipt_late, 0

    async def call(self, method, *params):
        if method == "eth_getTransactionReceipt":
            return receipt_of(params[0]) if self.is_receipt_late else None
        if method == "eth_getTransactionCount" and params[1] == "latest":
            return hex(len(self.nonces)) if self.polls > 2 else "0x0"
        return await super().call(method, *params)

    async def wait_for_receipt(self, tx_hash, timeout_s):
        self.polls += 1
        if len(self.nonces) > self.lost:
            return await super().wait_for_receipt(tx_hash, timeout_s)
        await trio.sleep(timeout_s)
        raise TransactionTimeout("none yet")


def test_files_are_put_at_free_paths():
    document = build_kyc_file(1, NOW_S)
    one, two = Attachment(b"one", "image/png"), Attachment(b"two")
    whole = document.attach("/scan", one).attach("/scans/a~1b", two)
    assert whole.content["scan"].data == b"one" and whole.content["scans"]["a/b"].data == b"two"
    assert "scan" not in document.content
    assert {path for path, _, kind, _ in flatten(whole.content) if kind is LeafType.FILE} == {
        "/scan",
        "/scans/a~1b",
    }
    bare, files = whole.detach()
    assert files == {"/scan": one, "/scans/a~1b": two} and bare.content["scans"] == {}
    extract = personal.build_health_extract(1, NOW_S)
    bare, files = extract.detach()
    assert json.dumps(bare.content) and list(files) == ["/radiology/image"]
    assert bare.attach("/radiology/image", files["/radiology/image"]) == extract
    for path, text in (
        ("", "not a free path"),
        ("scan", "JSON Pointer"),
        ("/scan", "not a free path"),
        ("/scan/more", "not a free path"),
    ):
        with pytest.raises(ValueError, match=text):
            whole.attach(path, one)
    for bad in ("png", "image/PNG", "a/b; c=d", "a/" + "b" * 130):
        with pytest.raises(ValueError, match="media type"):
            Attachment(b"", bad)


def test_a_change_of_keys_that_was_cut_off_goes_on():
    def names(usable, number, since=None):
        key = bytes([number]) * 64
        calls = [data for _, data in rotation_calls(7, usable, (number, key), since)]
        add, retire, report = (
            org_function(name) for name in ("addKey", "retireKey", "reportCompromised")
        )
        known = {add.encode_call(7, number, 1, key): f"add {number}"}
        for old in range(1, 4):
            known[retire.encode_call(7, old)] = f"retire {old}"
            known[report.encode_call(7, old, 5)] = f"report {old}"
        return [known[data] for data in calls]

    assert names((1,), 2) == ["add 2", "retire 1"]
    assert names((1,), 2, 5) == ["add 2", "report 1"]
    assert names((1, 2), 2, 5) == ["report 1"]  # the new key was added, the stolen one not reported
    assert names((1, 2, 3), 3) == ["retire 1", "retire 2"]
    assert names((), 3) == ["add 3"]


async def test_a_nonce_that_another_transaction_took_is_not_waited_for(autojump_clock):
    client, begun = LaggingClient(), trio.current_time()
    receipt = await Signer(client, b"\x01" * 32).send(b"\x02" * 20, b"")
    assert receipt.is_success and client.nonces == [0, 1]
    assert trio.current_time() - begun == pytest.approx(3)  # the time for which the node lagged
    late = LaggingClient(is_receipt_late=True)
    await Signer(late, b"\x01" * 32).send(b"\x02" * 20, b"")
    assert late.nonces == [0]
    begun = trio.current_time()
    with pytest.raises(TransactionTimeout, match="is in no block yet"):
        await Signer(LaggingClient(lost=9), b"\x01" * 32).send(b"\x02" * 20, b"", timeout_s=2)
    assert trio.current_time() - begun == pytest.approx(2)


class ForgetfulClient(RacingClient):
    """A node that ended, and started again, with transactions in its pool."""

    def __init__(self, *, restarts):
        super().__init__(losses=0)
        self.restarts = restarts

    async def call(self, method, *params):
        if method == "eth_getTransactionCount" and params[1] == "latest":
            return "0x0"
        return await super().call(method, *params)

    async def wait_for_receipt(self, tx_hash, timeout_s):
        if len(self.sent) > self.restarts:
            return await super().wait_for_receipt(tx_hash, timeout_s)
        await trio.sleep(timeout_s)
        raise TransactionTimeout("none yet")


async def test_what_a_node_lost_with_its_pool_is_sent_again(autojump_clock):
    client, begun = ForgetfulClient(restarts=2), trio.current_time()
    receipt = await Signer(client, b"\x01" * 32).send(b"\x02" * 20, b"")
    assert receipt.is_success and trio.current_time() - begun == pytest.approx(2)
    assert len(client.sent) == 3 and len(set(client.sent)) == 1  # never a second transaction


class LoweredClient(ForgetfulClient):
    """A node that takes a transaction, and no more once it may use less gas."""

    async def call(self, method, *params):
        if method == "eth_sendRawTransaction" and self.sent:
            self.sent.append(params[0])
            raise RemoteError(-32000, "gas limit 9 exceeds the chain's 3", None)
        return await super().call(method, *params)


async def test_why_a_transaction_is_not_taken_again_is_told(autojump_clock):
    client = LoweredClient(restarts=99)
    with pytest.raises(TransactionTimeout, match=r"no block yet \(.*gas limit 9 exceeds"):
        await Signer(client, b"\x01" * 32).send(b"\x02" * 20, b"")
    assert len(client.sent) == 1 + 6  # after 1, 2, 4, 8, 16 and 32 seconds


class BusyClient(LaggingClient):
    """A node that answers a method with an error."""

    def __init__(self, method):
        super().__init__(lost=0)
        self.method = method

    async def call(self, method, *params):
        if method == self.method:
            raise RemoteError(-32005, "busy", None)
        return await super().call(method, *params)

    async def wait_for_receipt(self, tx_hash, timeout_s):
        return await self.call("eth_getTransactionReceipt", tx_hash)


@pytest.mark.parametrize(
    "method", ["eth_chainId", "eth_getTransactionCount", "eth_sendRawTransaction"]
)
async def test_a_node_that_is_busy_is_asked_again_by_who_likes(method):
    with pytest.raises(NotTaken, match="http://lagging: busy"):
        await Signer(BusyClient(method), b"\x01" * 32).send(b"\x02" * 20, b"")


async def test_a_node_that_will_not_tell_leaves_the_outcome_unknown(autojump_clock):
    begun = trio.current_time()
    with pytest.raises(TransactionTimeout, match="busy"):
        await Signer(BusyClient("eth_getTransactionReceipt"), b"\x01" * 32).send(b"\x02" * 20, b"")
    assert trio.current_time() - begun == pytest.approx(60, abs=2)


class SlowClient(RacingClient):
    """A node that is slow to answer that a nonce is taken."""

    async def call(self, method, *params):
        await trio.sleep(29)
        return await super().call(method, *params)


async def test_a_slow_node_holds_nobody_up(autojump_clock):
    signer, begun = Signer(SlowClient(losses=99), b"\x01" * 32), trio.current_time()
    with pytest.raises(TransactionTimeout, match="took no transaction"):
        await signer.send(b"\x02" * 20, b"", timeout_s=40)
    assert trio.current_time() - begun == pytest.approx(40)


async def test_a_node_that_only_says_that_nonces_are_used_is_not_believed_for_ever(autojump_clock):
    client = LaggingClient(lost=99)
    with pytest.raises(NotTaken, match="3 nonces"):
        await Signer(client, b"\x01" * 32).send(b"\x02" * 20, b"")
    assert len(client.nonces) == 3


async def test_a_receipt_of_another_transaction_is_none(autojump_clock):
    client = LaggingClient(lost=0)
    client.wait_for_receipt = lambda tx_hash, timeout_s: client.call("eth_getTransactionReceipt", 0)
    client.is_receipt_late = True
    with pytest.raises(ClientError, match="malformed answer"):
        await Signer(client, b"\x01" * 32).send(b"\x02" * 20, b"")
    with pytest.raises(ClientError, match="names no contract"):
        await Signer(RacingClient(losses=0), b"\x01" * 32).deploy(b"\x60")


async def test_two_users_of_one_account_take_turns(autojump_clock):
    client = RacingClient(losses=3)
    receipt = await Signer(client, b"\x01" * 32).send(b"\x02" * 20, b"")
    assert receipt.is_success
    assert client.nonces == [0, 1, 2, 3]
    with pytest.raises(NotTaken, match="used elsewhere"):
        await Signer(RacingClient(losses=99), b"\x01" * 32).send(b"\x02" * 20, b"")
