"""An issuer, a holder, a receiver, and a ledger in memory."""

from dataclasses import replace
from types import SimpleNamespace

from eth_utils.crypto import keccak

from lowu.contracts.registry import (
    Accreditation,
    AnchorKind,
    AnchorRecord,
    AnchorState,
    Consent,
    LedgerSchema,
    Org,
    OrgKey,
    OrgStatus,
    Role,
    SchemaStatus,
)
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.institutions.documents.document import Document, Subject, build_enterprise_report
from lowu.institutions.exchange.presentation import decode_presentation, encode_presentation
from lowu.institutions.exchange.trust import Trust, TrustedKey, TrustedOrg
from lowu.institutions.ledger.facts import Facts, Terms
from lowu.institutions.ledger.responses import TransactionReceipt
from lowu.institutions.package.format import Profile, encode_package
from lowu.institutions.package.leaves import Attachment
from lowu.institutions.package.signatures import DocumentKey
from lowu.institutions.roles.holder import Agreement, Holder
from lowu.institutions.roles.issuer import Audience, Issuer
from lowu.institutions.roles.member import Member
from lowu.institutions.roles.verifier import Verifier
from lowu.node.client import ClientError

NOW_S = 1_800_000_000
CHAIN_ID = 20200
ISSUER_KEY = DocumentKey(b"\x05" * 32)
HOLDER_KEY = DocumentKey(b"\x06" * 32)
NOVA_KEY = DocumentKey(b"\x07" * 32)
USCC = "91440300MA5DEM012D"
SUBJECT = Subject("USCC", USCC)
EVERYTHING = ("",)
NOVA = Audience("nova", 2)
ORGS = {"szcredit": 1, "nova": 2}
TRUST = Trust(
    chain_id="chain0",
    group_id="group0",
    ledger=CHAIN_ID,
    validators=(),
    orgs=(
        TrustedOrg(1, keccak(text="szcredit"), 1, OrgStatus.ACTIVE),
        TrustedOrg(2, keccak(text="nova"), 2, OrgStatus.ACTIVE),
    ),
    keys=(TrustedKey(1, 1, ISSUER_KEY.public_key), TrustedKey(2, 1, NOVA_KEY.public_key)),
    height=10,
    time_s=NOW_S,
)
"""What holders know."""


def open_terms(schema):
    """Return terms under which everything of a schema, by number, may be issued to everybody."""
    (rules,) = (item for item in SCHEMAS.values() if item.number == schema)
    org = Org(b"m" * 32, 2, int(Role.VERIFIER), OrgStatus.ACTIVE, 0, 0, 0, 0, 0)
    policy = (0, 0, False, 0, 1, 0, 0, 0, rules.digest, rules.must_disclose_digest)
    return Terms(org, LedgerSchema(SchemaStatus.ACTIVE, *policy), frozenset({1, 2, 3}))


RECEIPT = TransactionReceipt("0x" + "ab" * 32, 7, True, b"", ())
"""The receipt of a transaction that succeeded in block 7."""


class Ledger:
    """A node's answers, which tests may change."""

    def __init__(self, url="http://one"):
        self.client = SimpleNamespace(url=url)
        self.height, self.time_s = 10, NOW_S + 60
        self.records, self.leaves, self.consents = {}, {}, {}
        self.consumed = {}
        self.routes = {(1, 2), (2, 1), (1, 1), (2, 2)}
        self.org = Org(b"m" * 32, 1, 3, OrgStatus.ACTIVE, 0, 0, 0, 0, 0)
        self.key = OrgKey(1, 0, 0, 0, ISSUER_KEY.public_key)
        self.accreditations = (Accreditation(True, 0, 0),)
        self.schema_hash = SCHEMAS["cn.ecr/1"].digest
        self.is_down = False
        self.state_before = AnchorState.ACTIVE
        """That of every record before its last change."""

    def register(self, header, anchor, kind=AnchorKind.SINGLE):
        fields = (1, 1, 1, 0, AnchorState.ACTIVE, 0, header.valid_until_day, 5, NOW_S + 5)
        self.records[anchor] = AnchorRecord(*fields, kind, 0, 5, 0, 0, False, bytes(32))

    def log(self, receipt, **changes):
        consent = replace(Consent(6, 0, receipt.expires_at), **changes)
        self.consents[receipt.ledger_id] = consent

    async def get_latest_block(self):
        if self.is_down:
            raise ClientError("down")
        return {"number": self.height, "hash": "0xb", "time": self.time_s}

    async def get_consent(self, consent):
        if self.is_down:
            raise ClientError("down")
        return self.consents[consent]

    async def get_use_height(self, verifier, presentation):
        return self.consumed.get((verifier, presentation), 0)

    async def read_facts(self, query, block_hash):
        none = AnchorRecord(*[0] * 4, AnchorState.NONE, *[0] * 10, bytes(32))
        record = self.records.get(query.anchor, none) if query.org == 1 else none
        state, reason = record.state, record.reason
        if query.leaf is not None:
            absent = (AnchorState.NONE, 0)
            state, reason = self.leaves.get((query.anchor, *query.leaf), absent)
        if 0 < query.as_of < record.state_height:
            state, reason = self.state_before, 0
        unknown = Consent(0, 0, 0)
        return Facts(
            record,
            state,
            reason,
            self.org,
            self.key,
            self.accreditations,
            None if query.consent is None else self.consents.get(query.consent, unknown),
            (query.verifier, query.presentation) in self.consumed,
            query.route in self.routes,
            self.schema_hash,
            not 0 < query.as_of < self.org.status_height,
        )


class World:
    """A company's document, issued for Nova and registered."""

    def __init__(self, document=None, profile=Profile.FIELDS):
        self.document = document or build_enterprise_report(1, NOW_S, USCC)
        self.issuer = Issuer(Member("szcredit", 1, "SZ", ISSUER_KEY, CHAIN_ID), signer=None)
        self.ledger = Ledger()
        self.holder = self.holder_with(HOLDER_KEY)
        self.nova = self.verifier()
        self.package = self.issuer.build_package(
            self.document,
            audience=NOVA,
            holder_key=HOLDER_KEY.public_key,
            issued_at_s=NOW_S,
            profile=profile,
        )
        self.doc_id = self.package.header.doc_id
        self.keep(self.package)
        self.ledger.register(self.package.header, self.package.anchors[0].anchor)

    def holder_with(self, key, trust=None):
        """Return a holder who knows szcredit and Nova."""
        return Holder("acme", key, trust=trust or TRUST, clock_s=lambda: self.ledger.time_s)

    def verifier(self, name="nova", document_key=NOVA_KEY, side="HK", **options):
        member = Member(name, ORGS.get(name, 3), side, document_key, CHAIN_ID)
        defaults = {"registry": self.ledger, "clock_s": lambda: self.ledger.time_s}
        return Verifier(member, **defaults | options)

    def keep(self, package):
        self.holder.receive(encode_package(package))

    def ask(self, verifier=None, purpose="LOAN", fields=EVERYTHING):
        return (verifier or self.nova).request(
            schema=self.document.schema, purpose=purpose, now_s=NOW_S, fields=fields
        )

    def agree(self, request, **options):
        """Return a consent that is on the ledger."""
        defaults = {"agreement": Agreement(True, True)}
        receipt = self.holder.consent(self.doc_id, request, **defaults | options)
        self.ledger.log(receipt)
        return receipt

    def show(self, request=None, fields=None):
        """Return a presentation that is valid in every respect."""
        request = request or self.ask()
        return self.holder.build(self.doc_id, request, self.agree(request), fields)

    async def verify(self, shown, subject=SUBJECT, verifier=None, **options):
        data = shown if isinstance(shown, bytes) else encode_presentation(shown)
        return await (verifier or self.nova).verify(data, subject, **options)


def resigned(shown, **changes):
    """Return a presentation with changes, signed again by its holder."""
    return replace(shown, **changes).signed(HOLDER_KEY)


def round_trip(shown):
    return decode_presentation(encode_presentation(shown))


def scan_document():
    """Return a document that consists of one file."""
    content = {"file": Attachment(b"%PDF-1.7 a scanned report" * 100)}
    return Document("cn.ecr/1", SUBJECT, NOW_S, content)
