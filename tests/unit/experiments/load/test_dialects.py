"""How FISCO BCOS is spoken to: published transactions, and a chain that answers as its nodes do."""

import json
import time
from functools import partial

import pytest
import rlp
import trio
from eth_account import Account as EthAccount
from eth_keys import keys
from eth_utils.crypto import keccak

from lowu.contracts.account import Account
from lowu.experiments.load.offered.dialects import (
    EthDialect,
    Fisco2Dialect,
    Fisco3Dialect,
    wrap_fisco3,
)
from lowu.experiments.load.offered.generator import Generator, GeneratorPlan
from lowu.experiments.load.offered.steps import Sender, WorkloadCall
from lowu.experiments.load.offered.tars import TarsWriter
from lowu.experiments.load.offered.workloads import deploy
from lowu.experiments.load.outcomes import Ending
from lowu.experiments.load.target import find_dialect
from lowu.node.client import ClientError, RemoteError, RpcClient
from tests.unit.experiments.load.test_generator import commit_every, serve

# From the documentation of FISCO BCOS 2.x (sendRawTransaction), with the hash that it answers.
RAW_2 = bytes.fromhex(
    "f8d3a003922ee720bb7445e3a914d8ab8f507d1a647296d563100e49548d83fd98865c8411e1a3008411e1a300"
    "8201f894d6c8a04b8826b0a37c6d4aa0eaa8644d8e35b79f80a466c99139000000000000000000000000000000"
    "00000000000000000000000000000000040101a466c99139000000000000000000000000000000000000000000"
    "00000000000000000000041ba08e0d3fae10412c584c977721aeda88df932b2a019f084feda1e0a42d199ea979"
    "a016c387f79eb85078be5db40abe1670b8b480a12c7eab719bedee212b7972f775"
)
HASH_2 = "0accad4228274b0d78939f48149767883a6e99c95941baa950156e926f1c96ba"
# From a tutorial on WeBASE-Front 3.x: what it signed for a user whose address it shows.
RAW_3 = bytes.fromhex(
    "1a1c2606636861696e30360667726f75703041031e562831353736353236303331393738393139333534353130"
    "363537393532393432303839373937303234662a3078383638383663336234396264636538323834653531663334"
    "306537326631373631653666623232667d0000644ed3885e00000000000000000000000000000000000000000000"
    "0000000000000000002000000000000000000000000000000000000000000000000000000000000000056170706c"
    "650000000000000000000000000000000000000000000000000000000b2d000020f5512897101ab3141396dbbbe6"
    "199df00907285cdc9e93c6c8a4b29df84d75b73d000041daebe629fc4010327294b24fd4f85b9a879049cab5cb0b"
    "bac4cdcaec398355873f20e3496175e678f43d6afd7503eca9a3d4f75b8db3420fef8201d4f13df261005001"
)
SIGNER_3 = "0xa0b0d1cd6a783c0cd2f06613de0795356f4bb858"
NONCE_3 = "1576526031978919354510657952942089797024"
TO_3 = bytes.fromhex("86886c3b49bdce8284e51f340e72f1761e6fb22f")


def test_a_published_transaction_of_2_is_the_same_to_the_byte():
    call = WorkloadCall(
        bytes.fromhex("d6c8a04b8826b0a37c6d4aa0eaa8644d8e35b79f"),
        bytes.fromhex("66c99139" + "00" * 31 + "04"),
        300_000_000,
    )
    random_id = int("3922ee720bb7445e3a914d8ab8f507d1a647296d563100e49548d83fd98865c", 16)
    fields = Fisco2Dialect(1, 1).list_fields(call, random_id, 504, 300_000_000)
    *_, extra, v, r, s = rlp.decode(RAW_2)
    assert rlp.encode([*fields[:-1], extra, v, r, s]) == RAW_2
    assert keccak(RAW_2).hex() == HASH_2


def test_a_published_transaction_of_3_is_the_same_to_the_byte():
    text = "4ed3885e" + f"{32:064x}" + f"{5:064x}" + b"apple".hex() + "00" * 27
    call = WorkloadCall(TO_3, bytes.fromhex(text), 0)
    data, digest = Fisco3Dialect("chain0", "group0").encode(call, NONCE_3, 798)
    signature = RAW_3[-67:-2]
    assert wrap_fisco3(data, digest, signature) == RAW_3
    signer = keys.Signature(signature).recover_public_key_from_msg_hash(digest)
    assert signer.to_address() == SIGNER_3


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "1c"), (1, "1001"), (-1, "10ff"), (127, "107f"), (128, "110080"), (32_767, "117fff"),
        (32_768, "1200008000"), (2**31, "130000000080000000"),
    ],
)  # fmt: skip
def test_numbers_take_as_few_bytes_as_hold_them(value, written):
    writer = TarsWriter()
    writer.write_int(1, value)
    assert writer.written.hex() == written


def test_long_texts_have_a_long_length_and_there_are_limits():
    writer = TarsWriter()
    writer.write_text(2, "x" * 255)
    writer.write_text(3, "x" * 256)
    assert writer.written[:2] == bytes([0x26, 255])
    assert writer.written[257:262] == bytes([0x37, 0, 0, 1, 0])
    with pytest.raises(ValueError, match="64 bits"):
        writer.write_int(4, 2**63)
    with pytest.raises(ValueError, match="no tag"):
        writer.write_int(15, 1)


class FiscoChain:
    """A chain of FISCO BCOS, of 2.x or 3.x, that commits when the test says so."""

    def __init__(self, dialect):
        self.dialect = dialect
        self.blocks = [[], []]
        self.pending = []
        self.known = {}
        self.refusals = 0
        self.failed = set()
        self.limits = []

    def commit(self):
        self.blocks.append(self.pending)
        self.pending = []

    def answer(self, call):
        method, params = call["method"], call["params"]
        is_2 = isinstance(self.dialect, Fisco2Dialect)
        if method in ("eth_chainId", "eth_gasPrice"):
            return {"error": {"code": -32601, "message": "the method does not exist"}}
        if method == "getGroupList":
            told = [1, 2] if is_2 else {"code": 0, "msg": "success", "groupList": ["group0"]}
            return {"result": told}
        if method == "getClientVersion":
            return {"result": {"Chain Id": "7", "FISCO-BCOS Version": "2.9.1"}}
        if method == "getGroupInfo":
            return {"result": {"chainID": "chain0", "groupID": "group0", "smCryptoType": False}}
        head = [1] if is_2 else ["group0", ""]
        assert params[: len(head)] == head, call
        rest = params[len(head) :]
        number = len(self.blocks) - 1
        if method == "getBlockNumber":
            return {"result": hex(number) if is_2 else number}
        if method == "getBlockByNumber":
            assert rest[1:] == ([False] if is_2 else [False, True])
            block = self.blocks[int(rest[0], 16) if is_2 else rest[0]]
            return {"result": {"number": rest[0], "transactions": block}}
        if method == "getTransactionReceipt":
            failed = rest[0] in self.failed
            if not any(rest[0] in block for block in self.blocks):
                return {"result": None} if is_2 else {"error": {"code": 3001, "message": "none"}}
            status = 22 if failed else 0
            created = "0x" + "ab" * 20 if is_2 else "ab" * 20
            return {
                "result": {"status": hex(status) if is_2 else status, "contractAddress": created}
            }
        assert method == ("sendRawTransaction" if is_2 else "sendTransaction")
        return self.take(bytes.fromhex(rest[0][2:]))

    def take(self, raw):
        is_2 = isinstance(self.dialect, Fisco2Dialect)
        if raw in self.known:
            return {"error": {"code": 10_000 if is_2 else 10_004, "message": "already there"}}
        if self.refusals:
            self.refusals -= 1
            return {"error": {"code": 10_002, "message": "TxPoolIsFull"}}
        if is_2:
            fields = rlp.decode(raw)
            assert [int.from_bytes(item, "big") for item in fields[7:9]] == [7, 1]
            self.limits.append(int.from_bytes(fields[3], "big") - (len(self.blocks) - 1))
            tx_hash = "0x" + keccak(raw).hex()
        else:
            at = raw.index(bytes([0x2D, 0, 0, 0x20])) + 4
            tx_hash = "0x" + raw[at : at + 32].hex()
        self.known[raw] = tx_hash
        self.pending.append(tx_hash)
        return {"result": tx_hash}


DIALECTS = [Fisco2Dialect(7, 1), Fisco3Dialect("chain0", "group0")]


@pytest.mark.parametrize("dialect", DIALECTS, ids=["2.x", "3.x"])
async def test_a_load_on_a_chain_of_fisco_bcos(dialect):
    chain = FiscoChain(dialect)
    senders = (Sender(b"\1" * 32), Sender(b"\2" * 32))
    due = tuple(number / 200 for number in range(80))
    async with trio.open_nursery() as nursery:
        start = partial(trio.serve_tcp, partial(serve, chain), 0, host="127.0.0.1")
        (listener,) = await nursery.start(start)
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.start_soon(commit_every, chain, 0.05)
        async with RpcClient(url) as client:
            assert await find_dialect(client) == dialect
            made = await deploy(client, ["Performance"], (), Account(b"\3" * 32), dialect)
            assert made == {"Performance": b"\xab" * 20}
        chain.refusals = 5
        plan = GeneratorPlan((url,), senders, 0, due, 5.0, {"nothing": 1.0}, dialect=dialect)
        generator = Generator(plan)
        found = await generator.run(time.monotonic())
        nursery.cancel_scope.cancel()
    assert list(found.records.outcome) == [Ending.COMMITTED] * 80
    assert len(chain.known) == 81
    assert all(495 <= ahead <= 500 for ahead in chain.limits)


@pytest.mark.parametrize("dialect", DIALECTS, ids=["2.x", "3.x"])
async def test_what_was_reverted_there_is_found(dialect):
    chain = FiscoChain(dialect)
    async with trio.open_nursery() as nursery:
        start = partial(trio.serve_tcp, partial(serve, chain), 0, host="127.0.0.1")
        (listener,) = await nursery.start(start)
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        plan = GeneratorPlan(
            (url,), (Sender(b"\1" * 32),), 0, (0.0, 0.0), 5.0, {"nothing": 1.0}, dialect=dialect
        )

        async def fail_one():
            while len(chain.pending) < 2:
                await trio.sleep(0.01)
            chain.failed.add(chain.pending[0])
            chain.commit()

        nursery.start_soon(fail_one)
        found = await Generator(plan).run(time.monotonic())
        nursery.cancel_scope.cancel()
    assert sorted(found.records.outcome) == [Ending.COMMITTED, Ending.FAILED]


def test_a_legacy_transaction_of_ethereum_has_its_sender():
    call = WorkloadCall(b"\1" * 20, b"\2", 21_000)
    account = Account(b"\5" * 32)
    raw, tx_hash = EthDialect(9, 3).sign(account, call, 4, 0)
    assert EthAccount.recover_transaction(raw) == account.address
    assert tx_hash == "0x" + keccak(raw).hex()


class OneAnswer:
    """A client whose calls have given answers; an error for all others."""

    url = "http://127.0.0.1:1"

    def __init__(self, **answers):
        self.answers = answers

    async def call(self, method, *params):
        if method in self.answers:
            return self.answers[method]
        raise RemoteError(-32601, "no such method", None)


@pytest.mark.parametrize(
    ("client", "told"),
    [
        (OneAnswer(), "neither Ethereum's JSON-RPC nor"),
        (OneAnswer(getGroupList=7), "neither Ethereum's"),
        (OneAnswer(getGroupList=[]), "neither Ethereum's"),
        (OneAnswer(getGroupList=[1.5]), "neither Ethereum's"),
        (OneAnswer(getGroupList={"groupList": "abc"}), "neither Ethereum's"),
        (OneAnswer(eth_chainId="zz", eth_gasPrice="0x1"), "no number: 'zz'"),
        (OneAnswer(eth_chainId="-0x1", eth_gasPrice="0x1"), "no number: '-0x1'"),
        (OneAnswer(eth_chainId=None, eth_gasPrice="0x1"), "no number: 'None'"),
        (
            OneAnswer(getGroupList=[1], getClientVersion={"Chain Id": "-7"}),
            "no number: '-7'",
        ),
        (
            OneAnswer(getGroupList=[1], getClientVersion={"FISCO-BCOS Version": "2.9.1 gm"}),
            "uses SM2",
        ),
        (
            OneAnswer(
                getGroupList={"groupList": ["group0"]},
                getGroupInfo={"chainID": "chain0", "smCryptoType": True},
            ),
            "uses SM2",
        ),
    ],
)
async def test_systems_that_no_load_can_be_offered_to(client, told):
    with pytest.raises(ValueError, match=told):
        await find_dialect(client)


async def test_nobody_there_is_told_as_such():
    with pytest.raises(ClientError):
        async with RpcClient("http://127.0.0.1:1") as client:
            await find_dialect(client)


def test_calls_are_plain_json_rpc():
    for dialect in (EthDialect(1), *DIALECTS):
        for request in (dialect.ask_height(), dialect.ask_block(5), dialect.ask_receipt("0x00")):
            method, params = request
            assert isinstance(method, str) and json.loads(json.dumps(params)) == params
