"""The legacy mode: evidence as an early open contract of the field keeps it, to compare with.

After WeIdentity's evidence contract: anybody writes; one key for all, first come, first served;
who signed and when is the caller's word; free text in the logs. Nothing here is used by the
registry. `lowu attack legacy` plays both side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.abi import load_artifact
from institutions.ledger.responses import answers_of, read_data
from institutions.ledger.transactor import Signer
from node.client import RpcClient


@dataclass(frozen=True, slots=True)
class LegacyEntry:
    """What the contract has of a hash."""

    signer: str
    """Address of whoever the writer said it was, lower-case."""
    updated_s: int
    """When the writer said it was; 0 if there is no evidence."""
    signature: str
    is_revoked: bool


async def deploy_legacy(signer: Signer) -> bytes:
    """Create a contract of its own; return its address."""
    return await signer.deploy(load_artifact("LegacyEvidence").bytecode)


class LegacyEvidence:
    """The contract, written to by one account, which need not be anybody's."""

    def __init__(self, client: RpcClient, signer: Signer, address: bytes) -> None:
        self._client = client
        self._signer = signer
        self._address = address
        self._functions = load_artifact("LegacyEvidence").functions

    async def create(self, key: bytes, *, said_signer: str, said_time_s: int) -> bool:
        """Write evidence of a hash; return whether the contract took it. It never refuses."""
        return await self._write("createEvidence", key, said_signer, "a signature", said_time_s)

    async def add_log(self, key: bytes, text: str, *, said_signer: str, said_time_s: int) -> bool:
        """Add free text to evidence; return whether there was any."""
        return await self._write("addLog", key, said_signer, text, said_time_s)

    async def revoke(self, key: bytes, *, said_signer: str, said_time_s: int) -> bool:
        """Revoke evidence by naming its signer; return whether it was taken."""
        return await self._write("revoke", key, said_signer, said_time_s)

    async def read(self, key: bytes) -> LegacyEntry:
        """Return what the contract has of a hash."""
        function = self._functions["getEvidence"]
        message = {"to": "0x" + self._address.hex(), "data": "0x" + function.encode_call(key).hex()}
        answer = await self._client.call("eth_call", message, "latest")
        with answers_of(self._client.url):
            (found,) = function.decode_output(read_data(answer, "eth_call"))
        signer, updated, signature, is_revoked = found
        return LegacyEntry(signer.lower(), updated, signature, is_revoked)

    async def _write(self, name: str, *arguments: object) -> bool:
        call = self._functions[name].encode_call(*arguments)
        receipt = await self._signer.send(self._address, call)
        return bool(receipt.logs)  # what it does not take it passes over in silence
