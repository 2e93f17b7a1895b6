"""What the registry's contracts say, through one node.

A call that a contract refuses raises `RegistryRefused` with the frozen error number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contracts.abi import load_artifact
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
from institutions.proof import RegistrationProof, Validators
from node.client import RemoteError, RpcClient

REVERTED = 3
METHOD_NOT_FOUND = -32601


class RegistryRefused(Exception):
    """A contract refused a call."""

    def __init__(self, code: RegistryErrorCode | None, text: str) -> None:
        super().__init__(code.name if code is not None else text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Query:
    """What a verification needs to know of the ledger."""

    org: int
    key_id: int
    schema: int
    anchor: bytes
    """What is registered: a document's anchor, or the root of its batch."""
    leaf: tuple[bytes, int, tuple[bytes, ...]] | None
    """In a batch: the document's anchor, its index and its path."""
    consent: bytes | None
    presentation: bytes
    route: tuple[int, int]
    """From which jurisdiction to which the document goes."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a node says of it. Two honest nodes at one height say the same."""

    record: AnchorRecord
    state: AnchorState
    """Of the document: of its record, or of its leaf in a batch."""
    reason: int
    org: Org
    key: OrgKey
    accreditation: Accreditation
    consent: Consent | None
    """None if no consent is named."""
    consumed_by: int
    """The organisation that used the presentation up; 0 if nobody has."""
    is_routed: bool
    """Whether documents may go from the one jurisdiction to the other."""


class Registry:
    """The registry contracts, through one node."""

    def __init__(self, client: RpcClient) -> None:
        self.client = client

    async def _read_many(
        self, calls: Sequence[tuple[bytes, bytes]]
    ) -> list[bytes | RegistryRefused]:
        """Return the answers to calls, asked in one request; a refusal in its place."""
        messages = [
            [{"to": "0x" + address.hex(), "data": "0x" + data.hex()}, "latest"]
            for address, data in calls
        ]
        answers = await self.client.call_many("eth_call", messages)
        return [
            read_refusal(answer) if isinstance(answer, RemoteError) else bytes.fromhex(answer[2:])
            for answer in answers
        ]

    async def read(self, address: bytes, data: bytes) -> bytes:
        """Return what a call of a contract answers, at the node's latest block."""
        (answer,) = await self._read_many([(address, data)])
        return _require(answer)

    async def get_record(self, issuer: int, anchor: bytes) -> AnchorRecord:
        """Return a record; its state is NONE if there is none."""
        return decode_record(
            await self.read(HASH_REGISTRY_ADDRESS, encode_get_record(issuer, anchor))
        )

    async def get_org(self, org: int) -> Org:
        """Return an organisation; its status is UNKNOWN if there is none."""
        return decode_org(await self.read(*_org_call("getOrg", org)))

    async def read_facts(self, query: Query) -> Facts:
        """Return all that a verification needs, read in one request.

        Raises:
            ClientError: the node could not be asked.
            RegistryRefused: it refused to read.
        """
        consumption = verification_function("getConsumption")
        calls = [
            (HASH_REGISTRY_ADDRESS, encode_get_record(query.org, query.anchor)),
            _org_call("getOrg", query.org),
            _org_call("getKey", query.org, query.key_id),
            _org_call("getAccreditation", query.org, query.schema),
            (VERIFICATION_LOG_ADDRESS, consumption.encode_call(query.presentation)),
            (CONSENT_LOG_ADDRESS, _consent_call(query.consent or bytes(32))),
            _org_call("isRouted", *query.route),
        ]
        if query.leaf is not None:
            calls.append(_leaf_call(query.org, query.anchor, query.leaf))
        answers = await self._read_many(calls)
        record, org, key, accreditation, consumed, consent, route = map(_require, answers[:7])
        found = decode_record(record)
        state, reason = found.state, found.reason
        if query.leaf is not None:
            state, reason = _decode_leaf_status(answers[7])
        return Facts(
            record=found,
            state=state,
            reason=reason,
            org=decode_org(org),
            key=decode_key(key),
            accreditation=decode_accreditation(accreditation),
            consent=None if query.consent is None else decode_consent(consent),
            consumed_by=int(consumption.decode_output(consumed)[0][0]),
            is_routed=bool(int.from_bytes(route, "big")),
        )

    async def get_consumer(self, presentation: bytes) -> int:
        """Return the organisation that used a presentation up; 0 if nobody has."""
        function = verification_function("getConsumption")
        data = function.encode_call(presentation)
        answer = await self.read(VERIFICATION_LOG_ADDRESS, data)
        return int(function.decode_output(answer)[0][0])

    async def get_erasure(self, issuer: int, anchor: bytes) -> bytes:
        """Return the digest of the receipt for an erased anchor; zeros if there is none."""
        data = hash_function("getErasureReceipt").encode_call(issuer, anchor)
        return await self.read(HASH_REGISTRY_ADDRESS, data)

    async def has_witnessed(self, issuer: int, anchor: bytes, witness: int) -> bool:
        """Whether an organisation has attested another's anchor."""
        data = hash_function("hasWitnessed").encode_call(issuer, anchor, witness)
        return bool(int.from_bytes(await self.read(HASH_REGISTRY_ADDRESS, data), "big"))

    async def get_consent(self, digest: bytes) -> Consent:
        """Return a consent; its heights are 0 if there is none."""
        return decode_consent(await self.read(CONSENT_LOG_ADDRESS, _consent_call(digest)))

    async def get_account(self, address: bytes) -> tuple[int, int]:
        """Return the organisation and the roles of an account; zeros if it has none."""
        function = org_function("getAccount")
        answer = await self.read(ORG_REGISTRY_ADDRESS, function.encode_call("0x" + address.hex()))
        org, roles = function.decode_output(answer)
        return org, roles

    async def get_leaf_status(
        self, issuer: int, root: bytes, leaf: tuple[bytes, int, Sequence[bytes]]
    ) -> tuple[AnchorState, int]:
        """Return state and reason of a document (anchor, index, path) in a batch."""
        (answer,) = await self._read_many([_leaf_call(issuer, root, leaf)])
        return _decode_leaf_status(answer)

    async def get_key(self, org: int, key_id: int) -> OrgKey:
        """Return a document key; it is not known if there is none."""
        return decode_key(await self.read(*_org_call("getKey", org, key_id)))

    async def find_keys(self) -> list[tuple[int, int]]:
        """Return organisation and number of each document key that was added since genesis."""
        event = load_artifact("OrgRegistry").events["KeyAdded"]
        where = {
            "address": "0x" + ORG_REGISTRY_ADDRESS.hex(),
            "fromBlock": "0x0",
            "toBlock": "latest",
            "topics": ["0x" + event.topic.hex()],
        }
        logs = await self.client.call("eth_getLogs", where)
        return [(int(item["topics"][1], 16), int(item["topics"][2], 16)) for item in logs]

    async def get_chain(self) -> tuple[str, str, Validators]:
        """Return chain id, group id and the validators, in order of node ids."""
        info = await self.client.call("getGroupInfo", "", "")
        members = await self.client.call("getSealerList", "", "")
        validators = [(bytes.fromhex(item["nodeID"]), int(item["weight"])) for item in members]
        return info["chainID"], info["groupID"], tuple(sorted(validators))

    async def find_proof(self, issuer: int, anchor: bytes) -> RegistrationProof | None:
        """Return the proof of an anchor's, or a batch's, registration; None if there is none.

        Also None if the node does not know of proofs.
        """
        record = await self.get_record(issuer, anchor)
        if record.state is AnchorState.NONE:
            return None
        topics = [
            [_topic("AnchorRegistered"), _topic("BatchRegistered")],
            "0x" + issuer.to_bytes(32, "big").hex(),
            "0x" + anchor.hex(),
        ]
        where = {
            "address": "0x" + HASH_REGISTRY_ADDRESS.hex(),
            "fromBlock": hex(record.registered_height),
            "toBlock": hex(record.registered_height),
            "topics": topics,
        }
        logs = await self.client.call("eth_getLogs", where)
        return await fetch_proof(self.client, logs[0]["transactionHash"]) if logs else None

    async def get_latest_block(self) -> dict[str, Any]:
        """Return number, hash and time (seconds) of the node's latest block."""
        block = await self.client.call("eth_getBlockByNumber", "latest", False)
        return {
            "number": int(block["number"], 16),
            "hash": block["hash"],
            "time": int(block["timestamp"], 16),
        }


async def fetch_proof(client: RpcClient, tx_hash: str) -> RegistrationProof | None:
    """Ask a node for a committed transaction's proof; None if it has none, or knows of none."""
    try:
        raw = await client.call("getTransactionProof", "", "", tx_hash)
    except RemoteError as error:
        if error.code == METHOD_NOT_FOUND:
            return None
        raise
    if raw is None:
        return None
    return RegistrationProof(
        chain_id=raw["chainID"],
        group_id=raw["groupID"],
        epoch=raw["epoch"],
        transaction=bytes.fromhex(raw["transaction"][2:]),
        receipt=bytes.fromhex(raw["receipt"][2:]),
        path=tuple((is_left, bytes.fromhex(sibling[2:])) for is_left, sibling in raw["path"]),
        header=bytes.fromhex(raw["header"][2:]),
        signatures=tuple((index, bytes.fromhex(item[2:])) for index, item in raw["signatures"]),
    )


def _topic(event: str) -> str:
    return "0x" + load_artifact("HashRegistry").events[event].topic.hex()


def _org_call(name: str, *arguments: object) -> tuple[bytes, bytes]:
    return ORG_REGISTRY_ADDRESS, org_function(name).encode_call(*arguments)


def _leaf_call(
    issuer: int, root: bytes, leaf: tuple[bytes, int, Sequence[bytes]]
) -> tuple[bytes, bytes]:
    anchor, index, path = leaf
    call = hash_function("getLeafStatus").encode_call(issuer, root, anchor, index, list(path))
    return HASH_REGISTRY_ADDRESS, call


def _consent_call(consent: bytes) -> bytes:
    return consent_function("getConsent").encode_call(consent)


def _require(answer: bytes | RegistryRefused) -> bytes:
    if isinstance(answer, RegistryRefused):
        raise answer
    return answer


def _decode_leaf_status(answer: bytes | RegistryRefused) -> tuple[AnchorState, int]:
    """Return state and reason of a document in a batch; NONE if it is not in it."""
    absent = (RegistryErrorCode.BAD_PROOF, RegistryErrorCode.NOT_FOUND)
    if isinstance(answer, RegistryRefused) and answer.code in absent:
        return AnchorState.NONE, 0
    state, reason, _ = hash_function("getLeafStatus").decode_output(_require(answer))
    return AnchorState(state), reason


def read_refusal(error: RemoteError) -> RegistryRefused:
    """Return the refusal in a node's error: with a number, if a contract gave one."""
    code = None
    if error.code == REVERTED and error.data:
        code = decode_registry_error(bytes.fromhex(error.data[2:]))
    return RegistryRefused(code, str(error))
