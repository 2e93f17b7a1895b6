"""The legacy mode: evidence as an early public contract of the field keeps it, for comparison.

Modelled on WeIdentity's evidence contract: anybody may write; all writers share one key space,
first come, first served; the caller states who signed and when; logs are free text. The registry
uses nothing of this. `lowu attack legacy` runs both side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowu.contracts.abi import load_artifact
from lowu.institutions.ledger.responses import answers_of, read_data
from lowu.institutions.ledger.transactor import Signer
from lowu.node.client import RpcClient


@dataclass(frozen=True, slots=True)
class LegacyEntry:
    """The contract's record for a hash."""

    signer: str
    """The signer's address as the writer stated it, in lower case."""
    updated_s: int
    """The time that the writer stated; 0 if there is no evidence."""
    signature: str
    is_revoked: bool


async def deploy_legacy(signer: Signer) -> bytes:
    """Deploy a new instance of the contract; return its address."""
    return await signer.deploy(load_artifact("LegacyEvidence").bytecode)


class LegacyEvidence:
    """The contract, as one account writes to it; the account need not belong to a member."""

    def __init__(self, client: RpcClient, signer: Signer, address: bytes) -> None:
        self._client = client
        self._signer = signer
        self._address = address
        self._functions = load_artifact("LegacyEvidence").functions

    async def create(self, key: bytes, *, said_signer: str, said_time_s: int) -> bool:
        """Write evidence of a hash; return whether the contract stored it. It never reverts."""
        return await self._write("createEvidence", key, said_signer, "a signature", said_time_s)

    async def add_log(self, key: bytes, text: str, *, said_signer: str, said_time_s: int) -> bool:
        """Add free text to evidence; return whether the evidence exists."""
        return await self._write("addLog", key, said_signer, text, said_time_s)

    async def revoke(self, key: bytes, *, said_signer: str, said_time_s: int) -> bool:
        """Revoke evidence by naming its signer; return whether the contract revoked it."""
        return await self._write("revoke", key, said_signer, said_time_s)

    async def read(self, key: bytes) -> LegacyEntry:
        """Return the contract's record for a hash."""
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
        return bool(receipt.logs)  # the contract silently ignores a refused call
