"""Unmodified web3.py 8 against a running network, over HTTP and WebSocket."""

import asyncio
import json

import pytest
import trio
from eth_account import Account
from trio_websocket import open_websocket_url
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import ContractCustomError, TransactionNotFound

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import decode_registry_error

ARTIFACT = load_artifact("OrgRegistry")


@pytest.fixture
def w3(shared):
    return Web3(Web3.HTTPProvider(shared.url))


def send(w3, account, transaction):
    signed = account.sign_transaction(transaction)
    tx_hash = w3.eth.send_raw_transaction(signed.raw_transaction)
    return w3.eth.wait_for_transaction_receipt(tx_hash, timeout=30, poll_latency=0.02)


@pytest.fixture
def deployed(w3):
    account = Account.create()
    contract = w3.eth.contract(abi=ARTIFACT.abi, bytecode=ARTIFACT.bytecode)
    built = contract.constructor(account.address, account.address).build_transaction(
        {"from": account.address, "nonce": 0}
    )
    receipt = send(w3, account, built)
    assert receipt.status == 1
    return account, w3.eth.contract(address=receipt.contractAddress, abi=ARTIFACT.abi)


def test_deploy_send_call_logs_and_revert(w3, deployed):
    account, contract = deployed
    meta = b"\x01" * 32
    built = contract.functions.admitOrg(5, meta, 1, 7).build_transaction(
        {"from": account.address, "nonce": 1}
    )
    receipt = send(w3, account, built)
    assert receipt.status == 1
    (event,) = contract.events.OrgAdmitted().process_receipt(receipt)
    assert (event.args.org, event.args.metaHash) == (5, meta)
    assert contract.functions.getOrg(5).call()[:4] == (meta, 1, 7, 1)
    (found,) = contract.events.OrgAdmitted().get_logs(from_block=0)
    assert found.transactionHash == receipt.transactionHash
    with pytest.raises(ContractCustomError) as refusal:
        contract.functions.admitOrg(5, meta, 1, 7).call({"from": account.address})
    data = bytes.fromhex(str(refusal.value.data)[2:])
    assert decode_registry_error(data).name == "TERMINAL_STATE"


def test_a_failed_transaction_stays_on_chain(w3, deployed):
    account, contract = deployed
    data = contract.encode_abi("admitOrg", [0, b"\0" * 32, 1, 7])
    transaction = {
        "to": contract.address, "data": data, "gas": 200_000, "gasPrice": 0, "nonce": 1,
        "value": 0, "chainId": w3.eth.chain_id,
    }  # fmt: skip
    receipt = send(w3, account, transaction)
    assert receipt.status == 0 and receipt.logs == []
    block = w3.eth.get_block(receipt.blockNumber, True)
    assert receipt.transactionHash in [item["hash"] for item in block.transactions]
    assert w3.eth.get_transaction_count(account.address) == 2


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_every_envelope(w3, kind):
    account = Account.create()
    transaction = {
        "to": account.address, "value": 0, "gas": 30_000, "nonce": 0, "chainId": w3.eth.chain_id,
    }  # fmt: skip
    if kind == 2:
        transaction |= {"maxFeePerGas": 5, "maxPriorityFeePerGas": 1, "type": 2}
    else:
        transaction |= {"gasPrice": 9}
    if kind == 1:
        entry = {"address": account.address, "storageKeys": ["0x" + "00" * 32]}
        transaction |= {"type": 1, "accessList": [entry]}
    receipt = send(w3, account, transaction)
    assert receipt.status == 1 and receipt.type == kind
    found = w3.eth.get_transaction(receipt.transactionHash)
    assert found["from"] == account.address and found.type == kind


def test_refused_transactions_say_why(w3):
    account = Account.create()
    base = {"to": account.address, "value": 0, "gas": 21_000, "gasPrice": 0, "nonce": 0}

    def refused(text, **changes):
        signed = account.sign_transaction(base | {"chainId": w3.eth.chain_id} | changes)
        with pytest.raises(Exception, match=text):
            w3.eth.send_raw_transaction(signed.raw_transaction)

    refused("chain id 7", chainId=7)
    refused("intrinsic gas too low", gas=20_999)
    refused("exceeds the chain's", gas=10**12)
    refused("nonce too high", nonce=10_000)
    send(w3, account, base | {"chainId": w3.eth.chain_id})
    refused("already known")
    refused("nonce too low", value=1)
    with pytest.raises(TransactionNotFound):
        w3.eth.get_transaction("0x" + "12" * 32)


def test_state_of_past_blocks(w3):
    account = Account.create()
    base = {"to": account.address, "value": 0, "gas": 21_000, "gasPrice": 0}
    base |= {"chainId": w3.eth.chain_id}
    receipts = [send(w3, account, base | {"nonce": nonce}) for nonce in range(3)]
    for count, receipt in enumerate(receipts, 1):
        for block in (receipt.blockNumber, receipt.blockHash):
            assert w3.eth.get_transaction_count(account.address, block) == count
            assert w3.eth.call(base | {"from": account.address}, block) == b""
    assert w3.eth.get_transaction_count(account.address, receipts[0].blockNumber - 1) == 0
    with pytest.raises(Exception, match="no such block here"):
        w3.eth.get_balance(account.address, receipts[-1].blockNumber + 1_000)


async def test_websocket_subscriptions(shared):
    url = shared.url.replace("http", "ws")
    async with open_websocket_url(url) as socket:

        async def ask(method, *params):
            request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            await socket.send_message(json.dumps(request))
            return json.loads(await socket.get_message())

        heads = (await ask("eth_subscribe", "newHeads"))["result"]
        assert (await ask("eth_subscribe", "weather"))["error"]["code"] == -32602
        await trio.to_thread.run_sync(shared.__class__, shared.directory)  # commits a probe
        with trio.fail_after(20):
            push = json.loads(await socket.get_message())
        assert push["params"]["subscription"] == heads
        assert int(push["params"]["result"]["number"], 16) >= 2
        while "method" in (answer := await ask("eth_unsubscribe", heads)):
            pass
        assert answer["result"] is True


async def test_websocket_provider_of_web3(shared):
    """N-R11: it sends its requests as bytes, side by side, and gets notifications between."""
    await trio.to_thread.run_sync(asyncio.run, ask_by_websocket(shared))


async def ask_by_websocket(shared):
    async with AsyncWeb3(WebSocketProvider(shared.url.replace("http", "ws"))) as w3:
        heads = await w3.eth.subscribe("newHeads")
        numbers = await asyncio.gather(*(w3.eth.get_block_number() for _ in range(50)))
        assert min(numbers) >= 1 and await w3.eth.chain_id == shared.chain_id
        await asyncio.to_thread(shared.__class__, shared.directory)  # commits a probe
        async with asyncio.timeout(20):
            async for push in w3.socket.process_subscriptions():
                assert push["subscription"] == heads and push["result"]["number"] >= 2
                break
        assert await w3.eth.unsubscribe(heads)


async def test_a_waiting_request_holds_up_nothing(shared):
    """N-R7: a transaction behind a gap of nonces waits; other requests and pings do not."""
    account = Account.create()
    transaction = {
        "to": account.address, "value": 0, "gas": 21_000, "gasPrice": 0, "nonce": 1,
        "chainId": shared.chain_id,
    }  # fmt: skip
    raw = "0x" + account.sign_transaction(transaction).raw_transaction.hex()
    async with open_websocket_url(shared.url.replace("http", "ws")) as socket:

        def request(number, method, *params):
            body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            return socket.send_message(json.dumps(body))

        await request(1, "eth_sendRawTransactionSync", raw, 2_000)
        await request(2, "eth_chainId")
        await socket.ping()
        with trio.fail_after(30):
            found = [json.loads(await socket.get_message()) for _ in range(2)]
        assert [item["id"] for item in found] == [2, 1]
        assert found[1]["error"]["code"] == 4
