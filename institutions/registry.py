"""The registry as an institution uses it: reads, and signed transactions that are waited for.

A call that a contract refuses raises `RegistryRefused` with the frozen error number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio
from eth_account import Account

from contracts.registry import (
    CONSENT_LOG_ADDRESS,
    HASH_REGISTRY_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    VERIFICATION_LOG_ADDRESS,
    Accreditation,
    AnchorRecord,
    AnchorState,
    Consent,
    Org,
    OrgKey,
    RegistryErrorCode,
    consent_function,
    decode_accreditation,
    decode_consent,
    decode_key,
    decode_org,
    decode_record,
    decode_registry_error,
    encode_get_record,
    hash_function,
    org_function,
    verification_function,
)
from node.client import ClientError, RemoteError, RpcClient

CALL_GAS = 250_000
"""Gas offered with a registry transaction: some three times what the dearest needs, and little
enough for hundreds in one block."""
REVERTED = 3
NONCE_ATTEMPTS = 20
NONCE_WAIT_S = 0.02


class RegistryRefused(Exception):
    """A contract refused a call."""

    def __init__(self, code: RegistryErrorCode | None, text: str) -> None:
        super().__init__(code.name if code is not None else text)
        self.code = code


class Registry:
    """The registry contracts, through one node."""

    def __init__(self, client: RpcClient) -> None:
        self.client = client

    async def _read(self, address: bytes, data: bytes) -> bytes:
        message = {"to": "0x" + address.hex(), "data": "0x" + data.hex()}
        try:
            answer: str = await self.client.call("eth_call", message, "latest")
        except RemoteError as error:
            raise _refusal(error) from error
        return bytes.fromhex(answer[2:])

    async def get_record(self, issuer: int, anchor: bytes) -> AnchorRecord:
        """Return a record; its state is NONE if there is none."""
        return decode_record(
            await self._read(HASH_REGISTRY_ADDRESS, encode_get_record(issuer, anchor))
        )

    async def get_org(self, org: int) -> Org:
        """Return an organisation; its status is UNKNOWN if there is none."""
        data = org_function("getOrg").encode_call(org)
        return decode_org(await self._read(ORG_REGISTRY_ADDRESS, data))

    async def get_key(self, org: int, key_id: int) -> OrgKey:
        """Return a document-signing key."""
        data = org_function("getKey").encode_call(org, key_id)
        return decode_key(await self._read(ORG_REGISTRY_ADDRESS, data))

    async def get_accreditation(self, org: int, schema: int) -> Accreditation:
        """Return an organisation's accreditation for a schema."""
        data = org_function("getAccreditation").encode_call(org, schema)
        return decode_accreditation(await self._read(ORG_REGISTRY_ADDRESS, data))

    async def get_consent(self, consent: bytes) -> Consent:
        """Return a consent; its granted height is 0 if there is none."""
        data = consent_function("getConsent").encode_call(consent)
        return decode_consent(await self._read(CONSENT_LOG_ADDRESS, data))

    async def is_consumed(self, presentation: bytes) -> bool:
        """Whether a presentation has been used up."""
        call = verification_function("getConsumption")
        data = await self._read(VERIFICATION_LOG_ADDRESS, call.encode_call(presentation))
        return bool(call.decode_output(data)[0][1])

    async def get_leaf_status(
        self, issuer: int, root: bytes, anchor: bytes, index: int, path: Sequence[bytes]
    ) -> tuple[AnchorState, int]:
        """Return state and reason of a document in a batch; NONE if it is not in it."""
        call = hash_function("getLeafStatus")
        data = call.encode_call(issuer, root, anchor, index, list(path))
        try:
            answer = await self._read(HASH_REGISTRY_ADDRESS, data)
        except RegistryRefused as error:
            if error.code in (RegistryErrorCode.BAD_PROOF, RegistryErrorCode.NOT_FOUND):
                return AnchorState.NONE, 0
            raise
        state, reason, _ = call.decode_output(answer)
        return AnchorState(state), reason

    async def get_latest_block(self) -> dict[str, Any]:
        """Return number, hash and time (seconds) of the node's latest block."""
        block = await self.client.call("eth_getBlockByNumber", "latest", False)
        return {
            "number": int(block["number"], 16),
            "hash": block["hash"],
            "time": int(block["timestamp"], 16),
        }


class Signer:
    """An account that sends transactions to the registry and waits for their receipts."""

    def __init__(self, client: RpcClient, private_key: bytes) -> None:
        self._client = client
        self._account = Account.from_key(private_key)
        self._lock = trio.Lock()
        self._chain_id: int | None = None

    @property
    def address(self) -> str:
        """The account's address."""
        return str(self._account.address)

    async def send(self, to: bytes, data: bytes, timeout_s: float = 60.0) -> dict[str, Any]:
        """Send a call and return its receipt once committed.

        Raises:
            RegistryRefused: the contract refused, before or after ordering.
            ClientError: the node could not be asked; `TransactionTimeout` if the outcome is
                unknown. Equal registration is idempotent: doing it again is safe.
        """
        tx_hash = await self.submit(to, data)
        receipt = await self._client.wait_for_receipt(tx_hash, timeout_s)
        if receipt["status"] != "0x1":
            await self._explain(to, data)
        return receipt

    async def submit(self, to: bytes, data: bytes) -> str:
        """Send a call and return its hash once the node has it; raises as `send` does."""
        async with self._lock:
            return await self._submit(to, data)

    async def _submit(self, to: bytes, data: bytes) -> str:
        """Send with the next nonce; take another if somebody with this account was faster."""
        if self._chain_id is None:
            self._chain_id = int(await self._client.call("eth_chainId"), 16)
        for _ in range(NONCE_ATTEMPTS):
            signed = await self._sign(to, data)
            try:
                raw = "0x" + bytes(signed.raw_transaction).hex()
                tx_hash: str = await self._client.call("eth_sendRawTransaction", raw)
            except RemoteError as error:
                if "already known" in str(error):
                    return "0x" + bytes(signed.hash).hex()
                if "nonce" not in str(error):
                    raise _refusal(error) from error
                await trio.sleep(NONCE_WAIT_S)
            else:
                return tx_hash
        raise RegistryRefused(None, f"{self.address} is used elsewhere too: no nonce was free")

    async def _sign(self, to: bytes, data: bytes) -> Any:
        count = await self._client.call("eth_getTransactionCount", self.address, "pending")
        return self._account.sign_transaction(
            {
                "to": to,
                "data": data,
                "value": 0,
                "gas": CALL_GAS,
                "gasPrice": 0,
                "nonce": int(count, 16),
                "chainId": self._chain_id,
            }
        )

    async def _explain(self, to: bytes, data: bytes) -> None:
        """Raise the reason for which a transaction failed."""
        message = {"from": self.address, "to": "0x" + to.hex(), "data": "0x" + data.hex()}
        try:
            await self._client.call("eth_call", message, "latest")
        except RemoteError as error:
            raise _refusal(error) from error
        raise RegistryRefused(None, "the transaction failed, but the same call succeeds now")


def _refusal(error: RemoteError) -> RegistryRefused:
    code = None
    if error.code == REVERTED and error.data:
        code = decode_registry_error(bytes.fromhex(error.data[2:]))
    return RegistryRefused(code, str(error))


__all__ = ["ClientError", "Registry", "RegistryRefused", "Signer"]
