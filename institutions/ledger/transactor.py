"""An account that sends transactions to the registry and waits for their receipts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio

from lowu.contracts.account import Account
from lowu.institutions.ledger.registry import REVERTED, Registry, fetch_proof, read_refusal
from lowu.institutions.ledger.responses import (
    TransactionReceipt,
    answers_of,
    read_quantity,
    read_receipt,
)
from lowu.institutions.package.proof import RegistrationProof
from lowu.node.client import ClientError, RemoteError, RpcClient, TransactionTimeout

CALL_GAS = 250_000
"""Gas limit of a registry transaction: about three times what the most expensive one needs, and
low enough that a block holds hundreds."""
DEPLOY_GAS = 5_000_000
NONCE_ATTEMPTS = 20
NONCE_WAIT_S = 0.02
SENDS_MAX = 3
"""How often a call is sent in all if other transactions take its nonces."""
LOOK_S = 1.0
"""Time between checks whether a transaction can still be committed; after the
1st, 2nd, 4th, 8th … it is sent again."""


class NotTaken(ClientError):
    """A node did not accept a transaction; it or another node may accept it later."""


@dataclass(frozen=True, slots=True)
class SentTransaction:
    """A signed transaction that a node has taken."""

    tx_hash: str
    nonce: int
    raw: str
    """As it was sent, in hex."""


class Signer:
    """An account that sends transactions to the registry and waits for their receipts."""

    def __init__(self, client: RpcClient, private_key: bytes) -> None:
        self._client = client
        self._account = Account(private_key)
        self._lock = trio.Lock()
        self._chain_id: int | None = None

    @property
    def registry(self) -> Registry:
        """The registry as the same node serves it."""
        return Registry(self._client)

    @property
    def account(self) -> Account:
        """The account."""
        return self._account

    @property
    def address(self) -> str:
        """The account's address."""
        return self._account.address

    async def deploy(self, code: bytes) -> bytes:
        """Create a contract; return its address."""
        receipt = await self.send(b"", code, gas=DEPLOY_GAS)
        if not receipt.contract:
            raise ClientError(f"{self._client.url}: the receipt names no contract")
        return receipt.contract

    async def prove(
        self, receipt: TransactionReceipt, issuer: int, anchor: bytes
    ) -> RegistrationProof | None:
        """Return the proof of the registration in `receipt`; None if none is available now.

        Registering an anchor again does nothing, and that receipt has no event and proves
        nothing: the first registration's proof is fetched instead.
        """
        try:
            if receipt.logs:
                return await fetch_proof(self._client, receipt.tx_hash)
            return await self.registry.find_proof(issuer, anchor)
        except (ClientError, RemoteError):
            return None

    async def send(
        self, to: bytes, data: bytes, timeout_s: float = 60.0, gas: int = CALL_GAS
    ) -> TransactionReceipt:
        """Send a call; return its receipt once it is committed.

        Raises:
            RegistryRefused: the contract refused, before or after ordering.
            ClientError: the node could not be asked; `TransactionTimeout` if the outcome is
                unknown. Registering the same anchor again is safe.
        """
        until = trio.current_time() + timeout_s
        for _ in range(SENDS_MAX):
            with trio.move_on_at(until) as limit:
                async with self._lock:
                    sent = await self._submit(to, data, gas)
            if limit.cancelled_caught:
                raise TransactionTimeout(f"{self._client.url}: took no transaction in time")
            receipt = await self._wait(sent, until)
            if receipt is None:
                continue
            if not receipt.is_success:
                await self._explain(to, data)
            return receipt
        raise NotTaken(f"{self._client.url}: {SENDS_MAX} nonces went to other transactions")

    async def _wait(self, sent: SentTransaction, until: float) -> TransactionReceipt | None:
        """Return a receipt; None if another transaction has the nonce, so none will ever come.

        A node that has not yet seen the account's latest transactions returns used nonces. One
        that ended may have taken the transaction with it, as a pool is not on disk: the same
        transaction is sent again, which changes nothing where it waits or is in the chain.
        """
        tx_hash, refusal, looks = sent.tx_hash, "", 0
        while True:
            left_s = until - trio.current_time()
            try:
                wait_s = min(LOOK_S, max(0.0, left_s))
                receipt = await self._client.wait_for_receipt(tx_hash, wait_s)
            except (ClientError, RemoteError) as error:
                if left_s <= LOOK_S:
                    why = refusal if isinstance(error, TransactionTimeout) else f" ({error})"
                    text = (
                        f"{self._client.url}: {tx_hash} is in no block yet{why}. Is a quorum of "
                        "validators running, and linked? It may still be committed"
                    )
                    raise TransactionTimeout(text) from error
                if isinstance(error, RemoteError):
                    await trio.sleep(LOOK_S)
            else:
                return self._read(tx_hash, receipt)
            with suppress(ClientError):
                if await self._count("latest") > sent.nonce:  # it is used: look once more
                    receipt = await self._ask("eth_getTransactionReceipt", tx_hash)
                    return None if receipt is None else self._read(tx_hash, receipt)
                looks += 1
                if looks & (looks - 1) == 0:  # after 1, 2, 4, 8 … looks
                    refusal = await self._send_again(sent)

    async def _send_again(self, sent: SentTransaction) -> str:
        """Send a transaction once more; return why the node does not take it now, if so."""
        try:
            await self._client.call("eth_sendRawTransaction", sent.raw)
        except RemoteError as error:
            return "" if "already known" in str(error) else f" ({error})"
        return ""

    async def submit(self, to: bytes, data: bytes, gas: int = CALL_GAS) -> str:
        """Send a call; return its hash once the node has it. Raises as `send` does."""
        async with self._lock:
            return (await self._submit(to, data, gas)).tx_hash

    async def _submit(self, to: bytes, data: bytes, gas: int) -> SentTransaction:
        """Send with the next nonce; retry if another sender with this account took it first."""
        chain_id = await self.read_chain_id()
        for _ in range(NONCE_ATTEMPTS):
            nonce = await self._count("pending")
            raw, tx_hash = self._account.sign_transaction(
                to=to, data=data, gas=gas, nonce=nonce, chain_id=chain_id
            )
            sent = SentTransaction("0x" + tx_hash.hex(), nonce, "0x" + raw.hex())
            try:
                await self._client.call("eth_sendRawTransaction", sent.raw)
            except RemoteError as error:
                if error.code == REVERTED:
                    raise read_refusal(error) from error
                if "already known" in str(error):
                    return sent
                if "nonce" not in str(error):
                    raise NotTaken(f"{self._client.url}: {error}") from error
                await trio.sleep(NONCE_WAIT_S)
            else:
                return sent
        raise NotTaken(f"{self.address} is also used elsewhere: no nonce was free")

    async def read_chain_id(self) -> int:
        """Return the chain id that the node gives, for what the account signs."""
        if self._chain_id is None:
            chain_id = await self._ask("eth_chainId")
            with answers_of(self._client.url):
                self._chain_id = read_quantity(chain_id, "chain id")
        return self._chain_id

    async def _ask(self, method: str, *params: object) -> Any:
        """Call a method; a refusal counts as temporary, as an honest node's is."""
        try:
            return await self._client.call(method, *params)
        except RemoteError as error:
            raise NotTaken(f"{self._client.url}: {error}") from error

    async def _count(self, tag: str) -> int:
        count = await self._ask("eth_getTransactionCount", self.address, tag)
        with answers_of(self._client.url):
            return read_quantity(count, "transaction count")

    def _read(self, tx_hash: str, answer: object) -> TransactionReceipt:
        """Return the receipt in an answer; `ClientError` if it is of another transaction."""
        with answers_of(self._client.url):
            receipt = read_receipt(answer)
            if receipt.tx_hash != tx_hash:
                raise ValueError(f"receipt of {receipt.tx_hash} instead of {tx_hash}")
        return receipt

    async def _explain(self, to: bytes, data: bytes) -> None:
        """Repeat a failed transaction as a call, and raise the reason it gives."""
        message = {"from": self.address, "to": "0x" + to.hex(), "data": "0x" + data.hex()}
        try:
            await self._client.call("eth_call", message, "latest")
        except RemoteError as error:
            raise read_refusal(error) from error
        raise NotTaken("the transaction failed, but the same call succeeds now: send it again")
