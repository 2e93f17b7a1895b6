"""Parties, documents and a ledger in memory, for attacks on what is shown.

The ledger is a plain dict, as the oracle takes it. `MemoryLedger` answers the verifier from the
same dict, so both judge by the same facts and share nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from eth_utils.crypto import keccak

from lowu.contracts.registry import (
    Accreditation,
    AnchorKind,
    AnchorRecord,
    AnchorState,
    Consent,
    Jurisdiction,
    Org,
    OrgKey,
    OrgStatus,
    Suite,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.experiments.oracle.package_oracle import is_in_batch
from lowu.institutions.documents.document import Document, build_enterprise_report
from lowu.institutions.documents.personal import build_health_extract
from lowu.institutions.exchange.consent import ConsentReceipt
from lowu.institutions.exchange.presentation import Presentation, encode_presentation
from lowu.institutions.exchange.request import Request, encode_request
from lowu.institutions.exchange.trust import Trust, TrustedKey, TrustedOrg
from lowu.institutions.ledger.facts import Facts, Query
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.package.batch import build_batch
from lowu.institutions.package.format import BatchPlace, Package, encode_package
from lowu.institutions.package.signatures import DocumentKey
from lowu.institutions.roles.holder import Agreement, Holder
from lowu.institutions.roles.issuer import Audience, Issuer
from lowu.institutions.roles.member import Member
from lowu.institutions.roles.verifier import Verifier

NOW_S = 1_800_000_000
LEDGER = 20_200
USCC = "91440300MA5DEM012D"
REGISTERED_HEIGHT, HEIGHT = 5, 10
EVERYTHING = ("",)
MEMBERS = {
    "szcredit": (1, "SZ"),
    "nova": (2, "HK"),
    "bea-cn": (3, "SZ"),
    "fusion": (4, "HK"),
    "hk-ehealth": (5, "HK"),
}
RIVALS = ("bea-cn", "fusion", "mallory")
"""Parties that have keys and nothing to do with the documents that are shown."""


@dataclass(slots=True)
class ShownCase:
    """A presentation that Nova accepts, with all that belongs to it."""

    package: Package
    document: Document
    request: Request
    presentation: Presentation
    files: dict[str, bytes] = field(default_factory=dict)


class MemoryLedger:
    """A node's answers from a world."""

    def __init__(self, world: dict[str, Any]) -> None:
        self.client = SimpleNamespace(url="memory")
        self._world = world

    async def get_latest_block(self) -> dict[str, Any]:
        """Return the latest block."""
        block = self._world["block"]
        return {"number": block["height"], "hash": "0xb", "time": block["time_s"]}

    async def read_facts(self, query: Query, block_hash: str) -> Facts:
        """Return all that a verification needs."""
        world = self._world
        row = world["records"].get((query.org, query.anchor.hex()))
        record = _record(row)
        state = record.state
        if query.leaf is not None and row is not None:
            anchor, index, path = query.leaf
            batch = [query.anchor.hex(), index, [item.hex() for item in path]]
            is_there = is_in_batch(anchor.hex(), batch, row["count"])  # type: ignore[no-untyped-call]
            state = state if is_there else AnchorState.NONE
        elif record.kind is AnchorKind.BATCH:
            state = AnchorState.NONE
        org, key = world["orgs"].get(query.org), world["keys"].get((query.org, query.key_id))
        start, end = (Jurisdiction(item).name if item else "" for item in query.route)
        windows = world["accreditations"].get((query.org, query.schema), [])
        return Facts(
            record=record,
            state=state,
            reason=0,
            org=_org(org),
            key=_key(key),
            accreditations=tuple(Accreditation(True, since, until) for since, until in windows),
            consent=None if query.consent is None else self._consent(query.consent),
            is_consumed=query.presentation.hex() in world["used"],
            is_routed=(start, end) in world["routes"],
            schema_hash=_RULES.get(query.schema, bytes(32)),
        )

    def _consent(self, consent: tuple[bytes, bytes]) -> Consent:
        row = self._world["consents"].get(tuple(item.hex() for item in consent))
        return Consent(*(row.values() if row else (0, 0, 0)))


_RULES = {schema.number: schema.digest for schema in SCHEMAS.values()}


def _record(row: dict[str, Any] | None) -> AnchorRecord:
    if row is None:
        none = (AnchorState.NONE, 0, 0, 0, 0, AnchorKind.SINGLE, 0, 0, 0, 0, False, bytes(32))
        return AnchorRecord(0, 0, 0, 0, *none)
    kind = AnchorKind.BATCH if row["count"] else AnchorKind.SINGLE
    height = row["height"]
    return AnchorRecord(
        key_id=row["key_id"],
        schema=row["schema"],
        suite=row["suite"],
        flags=0,
        state=AnchorState[row["state"]],
        reason=0,
        valid_until_day=row["valid_until_day"],
        registered_height=height,
        registered_time=row["time_s"],
        kind=kind,
        witness_count=0,
        state_height=height,
        count=row["count"],
        min_witness=0,
        is_counted=False,
        superseded_by=bytes(32),
    )


def _org(row: dict[str, Any] | None) -> Org:
    if row is None:
        return Org(bytes(32), 0, 0, OrgStatus.UNKNOWN, 0, 0, 0, 0, 0)
    side = Jurisdiction[row["jurisdiction"]]
    return Org(bytes(32), side, 0, OrgStatus[row["status"]], 0, 0, 0, 0, row["suspended_until_s"])


def _key(row: dict[str, Any] | None) -> OrgKey:
    if row is None:
        return OrgKey(0, 0, 0, 0, b"")
    return OrgKey(1, 0, row["retired"], row["compromised"], bytes.fromhex(row["public"]))


class HostileWorld:
    """Issuers, receivers and holders with their keys, and documents that were shown to Nova."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"hostile world {seed}")  # noqa: S311
        names = (*MEMBERS, "acme", "mallory")
        self.keys = {name: DocumentKey(self._draw(31).rjust(32, b"\1")) for name in names}
        self.world = self._build_world()
        self.nova = self._verifier("nova")
        self.shown = [self._show(build_enterprise_report(n, NOW_S, USCC)) for n in (1, 2)]
        self.shown.append(self._show(build_enterprise_report(3, NOW_S, USCC), in_batch=True))
        self.shown.append(self._show(build_health_extract(4, NOW_S), issuer="hk-ehealth"))
        self.shown.append(self._show(build_enterprise_report(5, NOW_S, USCC), fields=PARTS))
        self.requests = self._ask_more()

    def _draw(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def _build_world(self) -> dict[str, Any]:
        return {
            "now_s": NOW_S + 60,
            "block": {"height": HEIGHT, "time_s": NOW_S + 60},
            "seen_height": 0,
            "receiver": {"name": "nova", "org": 2, "jurisdiction": "HK"},
            "is_used": False,
            "max_age_s": None,
            "schemas": {
                item.id: {
                    "number": item.number,
                    "must_disclose": list(item.must_disclose),
                    "sensitivity": item.sensitivity,
                    "max_age_s": item.max_age_s,
                }
                for item in SCHEMAS.values()
            },
            "orgs": {
                org: {"status": "ACTIVE", "jurisdiction": side, "suspended_until_s": 0}
                for org, side in MEMBERS.values()
            },
            "keys": {
                (org, 1): {
                    "public": self.keys[name].public_key.hex(),
                    "retired": 0,
                    "compromised": 0,
                }
                for name, (org, _) in MEMBERS.items()
            },
            "accreditations": {
                **{(org, SCHEMAS["cn.ecr/1"].number): [[0, 0]] for org in (1, 3)},
                (5, SCHEMAS["hk.ehr/1"].number): [[0, 0]],
            },
            "routes": {("SZ", "HK"), ("HK", "HK")},
            "records": {},
            "consents": {},
            "used": set(),
        }

    def member(self, name: str) -> Member:
        """Return a member with its key."""
        return Member(name, *MEMBERS[name], self.keys[name], LEDGER)

    def _verifier(self, name: str) -> Verifier:
        return Verifier(
            self.member(name),
            registry=cast("Registry", MemoryLedger(self.world)),
            clock_s=lambda: self.world["now_s"],
            randomness=self._draw,
        )

    def _holder(self, name: str) -> Holder:
        trust = Trust(
            chain_id="chain0",
            group_id="group0",
            ledger=LEDGER,
            validators=(),
            orgs=tuple(
                TrustedOrg(org, keccak(text=known), Jurisdiction[side], OrgStatus.ACTIVE)
                for known, (org, side) in MEMBERS.items()
            ),
            keys=tuple(
                TrustedKey(org, 1, self.keys[known].public_key)
                for known, (org, _) in MEMBERS.items()
            ),
            height=HEIGHT,
            time_s=NOW_S,
        )
        return Holder(
            name, self.keys[name], trust=trust, clock_s=lambda: NOW_S, randomness=self._draw
        )

    def register(self, package: Package, count: int = 0) -> None:
        """Put the last anchor of a package, or the batch that it is in, on the ledger."""
        header = package.header
        key = (header.issuer_org, package.anchors[-1].registered.hex())
        self.world["records"][key] = {
            "state": "ACTIVE",
            "key_id": header.key_id,
            "schema": SCHEMAS[header.schema].number,
            "suite": int(Suite.SHA256_P256),
            "valid_until_day": header.valid_until_day,
            "height": REGISTERED_HEIGHT,
            "time_s": NOW_S + 5,
            "count": count,
        }

    def log(self, receipt: ConsentReceipt) -> None:
        """Put a consent on the ledger."""
        row = {"granted": 6, "withdrawn": 0, "expires_at": receipt.expires_at}
        self.world["consents"][receipt.ledger_key, receipt.digest.hex()] = row

    def _show(
        self,
        document: Document,
        *,
        issuer: str = "szcredit",
        in_batch: bool = False,
        fields: tuple[str, ...] = EVERYTHING,
    ) -> ShownCase:
        """Have a document issued for Nova and for Fusion, and shown to Nova."""
        issuing = Issuer(self.member(issuer), cast("Any", None), self._draw)
        package = issuing.build_package(
            document,
            audience=Audience("nova", 2),
            holder_key=self.keys["acme"].public_key,
            issued_at_s=NOW_S,
        )
        if in_batch:
            package = _place(package, [self._draw(32) for _ in range(4)])
        self.register(package, 5 if in_batch else 0)
        holder = self._holder("acme")
        doc_id = holder.receive(encode_package(package))
        request = self.nova.request(
            schema=document.schema, purpose="LOAN", now_s=NOW_S, fields=fields
        )
        receipt = holder.consent(doc_id, request, agreement=Agreement(True, True))
        self.log(receipt)
        _, files = document.detach()
        shown = holder.build(doc_id, request, receipt)
        data = {path: file.data for path, file in files.items()}
        return ShownCase(package, document, request, shown, data)

    def _ask_more(self) -> list[Request]:
        """Return requests of Fusion and of Nova that nobody has answered."""
        ask = partial(self.nova.request, schema="cn.ecr/1", now_s=NOW_S, fields=EVERYTHING)
        return [
            ask(purpose="LOAN"),
            ask(purpose="CARD"),
            self._verifier("fusion").request(
                schema="cn.ecr/1", purpose="LOAN", now_s=NOW_S, fields=EVERYTHING
            ),
        ]

    def view_for(self, shown: ShownCase, files: dict[str, bytes], nonce: str) -> dict[str, Any]:
        """Return the world as Nova knows it when it judges an answer with a request's nonce."""
        subject = shown.document.subject
        mine = [*(item.request for item in self.shown), *self.requests]
        asked = [item for item in mine if (item.nonce, item.receiver) == (nonce, "nova")]
        return {
            **self.world,
            "request": json.loads(encode_request(asked[0])) if asked else None,
            "subject": [subject.id_type, subject.id_value],
            "files": files,
        }

    def raw(self, shown: ShownCase) -> dict[str, Any]:
        """Return a presentation as a JSON value."""
        found: dict[str, Any] = json.loads(encode_presentation(shown.presentation))
        return found


PARTS = ("/header", "/summary", "/loans", "/basic/investors", "/guarantees/0")
"""Fields that are asked for of one document; the last is beyond the end of its list."""


def _place(package: Package, others: list[bytes]) -> Package:
    """Return a package whose anchor is the third of a batch."""
    (anchor,) = package.anchors
    anchors = [*others[:2], anchor.anchor, *others[2:]]
    root, paths = build_batch(anchors)
    return replace(package, anchors=(replace(anchor, batch=BatchPlace(root, 2, paths[2])),))
