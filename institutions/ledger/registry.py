"""Reads the registry's contracts through one node.

A call that a contract refuses raises `RegistryRefused` with the frozen error number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from lowu.contracts.abi import load_artifact
from lowu.contracts.registry import (
    CONSENT_LOG_ADDRESS,
    HASH_REGISTRY_ADDRESS,
    ORG_REGISTRY_ADDRESS,
    AnchorRecord,
    AnchorState,
    Consent,
    ConsentId,
    Jurisdiction,
    LedgerSchema,
    Org,
    OrgKey,
    decode_consent,
    decode_key,
    decode_org,
    decode_record,
    decode_registry_error,
    decode_schema,
    encode_get_record,
    hash_function,
    org_function,
)
from lowu.institutions.ledger.facts import (
    Facts,
    Query,
    RegistryRefused,
    Terms,
    consent_call,
    consumption_call,
    decode_facts,
    decode_leaf_status,
    decode_terms,
    decode_use,
    facts_calls,
    leaf_call,
    org_call,
    require,
    terms_calls,
)
from lowu.institutions.ledger.responses import (
    EventLog,
    answers_of,
    read_data,
    read_fields,
    read_hash,
    read_logs,
    read_quantity,
)
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.forms import (
    FormError,
    read_hex,
    read_integer,
    read_list,
    read_row,
    read_text,
)
from lowu.institutions.package.proof import (
    VALIDATORS_MAX,
    RegistrationProof,
    Validators,
    read_proof,
)
from lowu.institutions.package.signatures import PUBLIC_KEY_BYTES
from lowu.node.client import RemoteError, RpcClient

REVERTED = 3
METHOD_NOT_FOUND = -32601
OUTPUT_BYTES_MAX = 64 * 1024
"""Most bytes of a call's output; the largest, a proposal of sixteen calls, has about 10 kB."""
KEYS_MAX = 8_192
"""Most document keys of all organisations together; one has 64 at most."""
ORGS_MAX = 4_096
CALLS_AT_ONCE = 50

T = TypeVar("T")


class Registry:
    """The registry contracts, through one node."""

    def __init__(self, client: RpcClient) -> None:
        self.client = client

    async def _read_many(
        self, calls: Sequence[tuple[bytes, bytes]], block: object = "latest"
    ) -> list[bytes | RegistryRefused]:
        """Make calls in one request; return each answer, or the refusal in its place."""
        messages = [
            [{"to": "0x" + address.hex(), "data": "0x" + data.hex()}, block]
            for address, data in calls
        ]
        answers = await self.client.call_many("eth_call", messages)
        with answers_of(self.client.url):
            return [
                read_refusal(item) if isinstance(item, RemoteError) else _read_output(item)
                for item in answers
            ]

    async def read(self, address: bytes, data: bytes) -> bytes:
        """Return the output of a contract call at the node's latest block."""
        (answer,) = await self._read_many([(address, data)])
        return require(answer)

    async def read_as(self, decode: Callable[[bytes], T], address: bytes, data: bytes) -> T:
        """Return the decoded output of a contract call."""
        answer = await self.read(address, data)
        with answers_of(self.client.url):
            return decode(answer)

    async def get_record(self, issuer: int, anchor: bytes) -> AnchorRecord:
        """Return a record; its state is NONE if there is none."""
        data = encode_get_record(issuer, anchor)
        return await self.read_as(decode_record, HASH_REGISTRY_ADDRESS, data)

    async def get_org(self, org: int) -> Org:
        """Return an organisation; its status is UNKNOWN if there is none."""
        return await self.read_as(decode_org, *org_call("getOrg", org))

    async def read_facts(self, query: Query, block_hash: str) -> Facts:
        """Return everything that a verification needs, read in one request.

        All of it is the state of one block, the one with this hash, or, where the node does not
        keep the state of blocks (it has `history_blocks = 0`, or is not Lowu), of its latest.

        Raises:
            ClientError: the node could not be asked.
            RegistryRefused: a contract refused a read.
        """
        calls = facts_calls(query)
        answers = await self._read_many(calls, {"blockHash": block_hash})
        if any(isinstance(item, RegistryRefused) and item.code is None for item in answers):
            answers = await self._read_many(calls)
        with answers_of(self.client.url):
            return decode_facts(query, answers)

    async def read_terms(self, start: int, schema: int, audience: int) -> Terms:
        """Return what a document of a schema, from a jurisdiction, for a receiver depends on."""
        answers = await self._read_many(terms_calls(start, schema, audience))
        with answers_of(self.client.url):
            return decode_terms(answers)

    async def get_schema(self, schema: int) -> LedgerSchema:
        """Return a schema with its policy; its status is UNKNOWN if the ledger has none."""
        return await self.read_as(decode_schema, *org_call("getSchema", schema))

    async def is_accredited(self, org: int, schema: int) -> bool:
        """Return whether an organisation may register documents of a schema now."""
        return bool(int.from_bytes(await self.read(*org_call("isAccredited", org, schema)), "big"))

    async def is_routed(self, start: Jurisdiction, end: Jurisdiction) -> bool:
        """Return whether documents of one jurisdiction may be used in another now."""
        answer = await self.read(*org_call("isRouted", int(start), int(end)))
        return bool(int.from_bytes(answer, "big"))

    async def get_use_height(self, verifier: int, presentation: bytes) -> int:
        """Return the block in which an organisation used a presentation up; 0 if it did not."""
        return await self.read_as(decode_use, *consumption_call(verifier, presentation))

    async def get_erasure(self, issuer: int, anchor: bytes) -> bytes:
        """Return the digest of the receipt for an erased anchor; zeros if there is none."""
        data = hash_function("getErasureReceipt").encode_call(issuer, anchor)
        return await self.read(HASH_REGISTRY_ADDRESS, data)

    async def get_leaf_erasure(self, issuer: int, root: bytes, index: int) -> bytes:
        """Return the digest of the receipt for an erased document of a batch, or zeros."""
        data = hash_function("getLeafErasureReceipt").encode_call(issuer, root, index)
        return await self.read(HASH_REGISTRY_ADDRESS, data)

    async def has_witnessed(self, issuer: int, anchor: bytes, witness: int) -> bool:
        """Whether an organisation has attested another's anchor."""
        data = hash_function("hasWitnessed").encode_call(issuer, anchor, witness)
        return bool(int.from_bytes(await self.read(HASH_REGISTRY_ADDRESS, data), "big"))

    async def get_consent(self, consent: ConsentId) -> Consent:
        """Return a consent; its heights are 0 if there is none."""
        return await self.read_as(decode_consent, CONSENT_LOG_ADDRESS, consent_call(consent))

    async def get_account(self, address: bytes) -> tuple[int, int]:
        """Return the organisation and the roles of an account; zeros if it has none."""
        function = org_function("getAccount")
        data = function.encode_call("0x" + address.hex())
        org, roles = await self.read_as(function.decode_output, ORG_REGISTRY_ADDRESS, data)
        return org, roles

    async def get_leaf_status(
        self, issuer: int, root: bytes, leaf: tuple[bytes, int, Sequence[bytes]]
    ) -> tuple[AnchorState, int, int]:
        """Return a document's state in a batch, its reason, and the height of its begin.

        The document is named by its anchor, its index and the path to the root.
        """
        (answer,) = await self._read_many([leaf_call(issuer, root, leaf)])
        with answers_of(self.client.url):
            return decode_leaf_status(answer)

    async def get_key(self, org: int, key_id: int) -> OrgKey:
        """Return a document key; it is not known if there is none."""
        return await self.read_as(_decode_whole_key, *org_call("getKey", org, key_id))

    async def get_orgs(self, numbers: Sequence[int]) -> list[Org]:
        """Return organisations by their numbers; the status of those unknown is UNKNOWN."""
        calls = [org_call("getOrg", number) for number in numbers]
        return await self._read_all_as(decode_org, calls)

    async def get_keys(self, pairs: Sequence[tuple[int, int]]) -> list[OrgKey]:
        """Return document keys by organisation and number; those unknown are not known."""
        calls = [org_call("getKey", *pair) for pair in pairs]
        return await self._read_all_as(_decode_whole_key, calls)

    async def _read_all_as(
        self, decode: Callable[[bytes], T], calls: Sequence[tuple[bytes, bytes]]
    ) -> list[T]:
        found: list[T] = []
        for start in range(0, len(calls), CALLS_AT_ONCE):
            answers = await self._read_many(calls[start : start + CALLS_AT_ONCE])
            with answers_of(self.client.url):
                found += [decode(require(answer)) for answer in answers]
        return found

    async def find_orgs(self) -> list[int]:
        """Return the number of each organisation admitted since genesis."""
        admitted = load_artifact("OrgRegistry").events["OrgAdmitted"].topic
        logs = await self.find_logs(ORG_REGISTRY_ADDRESS, [[admitted]])
        with answers_of(self.client.url):
            return read_list([item.number(1) for item in logs], ORGS_MAX, "organisations")

    async def find_keys(self) -> list[tuple[int, int]]:
        """Return organisation and number of each document key added since genesis."""
        added = load_artifact("OrgRegistry").events["KeyAdded"].topic
        logs = await self.find_logs(ORG_REGISTRY_ADDRESS, [[added]])
        with answers_of(self.client.url):
            return read_list([(item.number(1), item.number(2)) for item in logs], KEYS_MAX, "keys")

    async def find_logs(
        self,
        address: bytes,
        topics: Sequence[Sequence[bytes]],
        first: int = 0,
        last: int | None = None,
    ) -> tuple[EventLog, ...]:
        """Return a contract's events from block `first` to `last`, by default the latest.

        `topics` lists the accepted values at each place; an empty list accepts any.

        Raises:
            RemoteError: the node refused, for example because there are too many events.
            ClientError: the node could not be asked.
        """
        where = {
            "address": "0x" + address.hex(),
            "fromBlock": hex(first),
            "toBlock": "latest" if last is None else hex(last),
            "topics": [["0x" + item.hex() for item in wanted] or None for wanted in topics],
        }
        answer = await self.client.call("eth_getLogs", where)
        with answers_of(self.client.url):
            return read_logs(answer)

    async def get_ledger(self) -> int:
        """Return the number that transactions are signed for."""
        answer = await self.client.call("eth_chainId")
        with answers_of(self.client.url):
            return read_quantity(answer, "chain id")

    async def get_chain(self) -> tuple[str, str, Validators]:
        """Return chain id, group id and the validators, ordered by node id."""
        info = await self.client.call("getGroupInfo", "", "")
        members = await self.client.call("getSealerList", "", "")
        with answers_of(self.client.url):
            chain, group = read_fields(info, ("chainID", "groupID"), "group")
            rows = read_list(members, VALIDATORS_MAX, "validators")
            validators = tuple(sorted(map(_read_validator, rows)))
            encode_canonical([chain, group])  # they go into trust files and proofs
            return read_text(chain, "chainID"), read_text(group, "groupID"), validators

    async def find_proof(self, issuer: int, anchor: bytes) -> RegistrationProof | None:
        """Return the proof that an anchor or a batch is registered; None if there is none.

        Also None if the node does not serve proofs.
        """
        record = await self.get_record(issuer, anchor)
        if record.state is AnchorState.NONE:
            return None
        events = load_artifact("HashRegistry").events
        names = [events[name].topic for name in ("AnchorRegistered", "BatchRegistered")]
        topics = [names, [issuer.to_bytes(32, "big")], [anchor]]
        height = record.registered_height
        logs = await self.find_logs(HASH_REGISTRY_ADDRESS, topics, height, height)
        return await fetch_proof(self.client, logs[0].tx_hash) if logs else None

    async def get_latest_block(self) -> dict[str, Any]:
        """Return number, hash and time (seconds) of the node's latest block."""
        block = await self.client.call("eth_getBlockByNumber", "latest", False)
        with answers_of(self.client.url):
            number, found, time = read_fields(block, ("number", "hash", "timestamp"), "block")
            return {
                "number": read_quantity(number, "block number"),
                "hash": read_hash(found, "block hash"),
                "time": read_quantity(time, "block time"),
            }


async def fetch_proof(client: RpcClient, tx_hash: str) -> RegistrationProof | None:
    """Fetch a committed transaction's proof; None if the node has none or serves no proofs."""
    try:
        raw = await client.call("getTransactionProof", "", "", tx_hash)
    except RemoteError as error:
        if error.code == METHOD_NOT_FOUND:
            return None
        raise
    if raw is None:
        return None
    with answers_of(client.url):
        return _read_proof(raw)


def _read_output(value: object) -> bytes:
    """Return a call's output; its size is bounded, as encoded values may share bytes."""
    output = read_data(value, "eth_call")
    if len(output) > OUTPUT_BYTES_MAX:
        raise FormError(f"eth_call: {len(output)} bytes; at most {OUTPUT_BYTES_MAX}")
    return output


def _read_proof(raw: object) -> RegistrationProof:
    """Return the proof in a node's answer, parsed like the proof in a package."""
    chain_id, group_id, epoch = read_fields(raw, ("chainID", "groupID", "epoch"), "proof")
    transaction, receipt, header = (
        _strip(item) for item in read_fields(raw, ("transaction", "receipt", "header"), "proof")
    )
    path, signatures = (
        [[first, _strip(second)] for first, second in _read_pairs(item)]
        for item in read_fields(raw, ("path", "signatures"), "proof")
    )
    return read_proof(
        {
            "chain_id": chain_id,
            "group_id": group_id,
            "epoch": epoch,
            "transaction": transaction,
            "receipt": receipt,
            "path": path,
            "header": header,
            "signatures": signatures,
        }
    )


def _strip(value: object) -> str:
    return read_data(value, "proof").hex()


def _read_pairs(value: object) -> list[list[Any]]:
    return [read_row(item, 2, "proof") for item in read_list(value, VALIDATORS_MAX, "proof")]


def _read_validator(value: object) -> tuple[bytes, int]:
    node_id, weight = read_fields(value, ("nodeID", "weight"), "validator")
    return read_hex(node_id, 64, "nodeID"), read_integer(weight, "weight of a validator")


def _decode_whole_key(data: bytes) -> OrgKey:
    key = decode_key(data)
    if key.is_known and len(key.public_key) != PUBLIC_KEY_BYTES:
        raise FormError(f"public key of {len(key.public_key)} bytes")
    return key


def read_refusal(error: RemoteError) -> RegistryRefused:
    """Return the refusal in a node's error, with the contract's error number if it gave one."""
    code = None
    if error.code == REVERTED and error.data:
        with suppress(FormError):
            code = decode_registry_error(read_data(error.data, "revert data"))
    return RegistryRefused(code, str(error))
