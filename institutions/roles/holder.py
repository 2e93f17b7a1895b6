"""The holder: a company or person that keeps packages and decides which fields a receiver sees.

The holder has no account on the ledger. It answers a request only if it knows, from its own node
or from a trust file, that the request is from whom it says. The holder hands a consent to an
institution, which logs it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, replace

from eth_utils.crypto import keccak

from lowu.contracts.named import UnknownName
from lowu.contracts.registry import Jurisdiction
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.institutions.documents.schemas import CLOCK_AHEAD_S, SENSITIVE, Schemas
from lowu.institutions.exchange.consent import (
    Basis,
    ConsentReceipt,
    LedgerConsent,
    ledger_address,
    sign_for_ledger,
)
from lowu.institutions.exchange.presentation import (
    Presentation,
    build_presentation,
    encode_presentation,
    seal,
)
from lowu.institutions.exchange.request import Request, read_fields
from lowu.institutions.exchange.trust import Trust
from lowu.institutions.package.format import Package, decode_package, encode_package
from lowu.institutions.package.forms import FormError, outermost
from lowu.institutions.package.leaves import LEAVES_MAX
from lowu.institutions.package.salt_seed import find_foreign_leaf, open_seed
from lowu.institutions.package.signatures import DocumentKey, is_signed_by
from lowu.institutions.verification.integrity import find_damage

CONSENT_VALID_S = 30 * 86_400
RETENTION_DAYS = 365


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a holder agrees to, besides showing fields: each has to be asked for where it applies.

    PIPL, articles 29 and 39.
    """

    to_cross_border: bool = False
    """That the document is used in another jurisdiction than its issuer's."""
    to_sensitive: bool = False
    """That sensitive data is shown."""


NOTHING_MORE = Agreement()


def _check_issuer(package: Package, trust: Trust) -> None:
    """Raise `FormError` unless a package is of the issuer that it names, and of its side."""
    header = package.header
    issuer = trust.find_org(header.issuer_org)
    key = trust.find_key(header.issuer_org, header.key_id)
    if issuer is None or key is None:
        raise FormError(
            f"key {header.key_id} of organisation {header.issuer_org}, which the package names as "
            f"its issuer's, is not known as of block {trust.height}; with a trust file, write it "
            "again with `lowu trust`"
        )
    if not is_signed_by(key.public_key, header.doc_digest, package.issuer_signature, header.v):
        raise FormError(
            f"the package is not signed by key {header.key_id} of organisation "
            f"{header.issuer_org}, which it names as its issuer; do not rely on it"
        )
    if Jurisdiction.__members__.get(header.jurisdiction) != issuer.jurisdiction:
        raise FormError(f"its issuer is not of {header.jurisdiction}; do not rely on it")


class Holder:
    """Keeps packages by document id, and the ledger keys of the consents it gave."""

    def __init__(
        self,
        name: str,
        key: DocumentKey,
        *,
        packages: MutableMapping[bytes, Package] | None = None,
        ledger_keys: MutableMapping[bytes, bytes] | None = None,
        trust: Trust | None = None,
        schemas: Schemas = SCHEMAS,
        clock_s: Callable[[], float] = time.time,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.name = name
        self.key = key
        self.schemas = schemas
        self.trust = trust
        """What this holder knows of the chain; without it, it takes no package and no request."""
        self._clock_s = clock_s
        self._random = randomness
        self._packages: MutableMapping[bytes, Package] = {} if packages is None else packages
        self._ledger_keys: MutableMapping[bytes, bytes] = {} if ledger_keys is None else ledger_keys
        """By consent digest: the key that can end the consent. Stored maps outlive the process."""

    def receive(self, data: bytes) -> str:
        """Check and keep a package from an issuer; return its document id.

        Raises:
            FormError: the package is malformed, was changed on its way, is not signed by the issuer
                that it names, is for another holder, has leaves that it does not show, or would
                take another document's place.
        """
        package = decode_package(data)
        header = package.header
        trust = self._require_trust()
        if header.holder_key != self.key.public_key.hex():
            raise FormError(f"the package is for another holder than {self.name}")
        damage = find_damage(package, self.schemas)
        if not damage:
            seed = open_seed(package, self.key)
            foreign = find_foreign_leaf(package, seed, self.schemas[header.schema].number)
            damage = foreign and f"{foreign}, does not follow from its seed"
        if damage:
            raise FormError(f"the package is damaged: {damage}; ask its issuer for it again")
        if header.issued_at > max(int(self._clock_s()), trust.time_s) + CLOCK_AHEAD_S:
            raise FormError("the package is of the future; do not rely on it")
        for item in package.anchors if header.is_for_one_receiver else ():
            receiver = trust.find_org(item.org)
            if receiver is None or receiver.name_hash != keccak(text=item.audience):
                raise FormError(
                    f"its anchor for {item.audience} is for organisation {item.org}, which is not "
                    f"{item.audience} as of block {trust.height}"
                )
        _check_issuer(package, trust)
        return self.keep(self._merge(package))

    def _merge(self, package: Package) -> Package:
        """Return a package with the anchors that this holder has of the same document already.

        Raises:
            FormError: it is another document under the same number, or both together are more than
                a package may be: kept, they could not be read again.
        """
        known = self._packages.get(bytes.fromhex(package.header.doc_id))
        if known is None:
            return package
        if known.header.doc_digest != package.header.doc_digest:
            raise FormError(
                f"{self.name} has another document {package.header.doc_id}; it is kept, and this "
                "one is not"
            )
        anchors = {item.anchor: item for item in (*known.anchors, *package.anchors)}
        return decode_package(encode_package(replace(package, anchors=tuple(anchors.values()))))

    def _check(self, request: Request) -> int:
        """Return the present, in seconds, if a request is in time and from whom it says."""
        now_s = int(self._clock_s())
        self._require_trust().check_request(request, now_s)
        return now_s

    def _require_trust(self) -> Trust:
        if self.trust is None:
            raise FormError(
                f"{self.name} cannot tell whose signature this is: it needs a node or a trust file"
            )
        return self.trust

    def keep(self, package: Package) -> str:
        """Keep a package without checking it; return its document id."""
        self._packages[bytes.fromhex(package.header.doc_id)] = package
        return package.header.doc_id

    def find(self, doc_id: str) -> Package:
        """Return a package; `UnknownName`, a `KeyError`, if this holder does not have it."""
        try:
            found = self._packages.get(bytes.fromhex(doc_id))
        except ValueError:
            found = None
        if found is None:
            raise UnknownName(f"{self.name} has no document {doc_id}")
        return found

    def drop(self, doc_id: str) -> None:
        """Destroy a package; `KeyError` if this holder does not have it."""
        del self._packages[bytes.fromhex(doc_id)]

    @property
    def packages(self) -> list[Package]:
        """All packages."""
        return list(self._packages.values())

    def consent(
        self,
        doc_id: str,
        request: Request,
        *,
        agreement: Agreement = NOTHING_MORE,
        fields: Iterable[str] | None = None,
        purpose: str | None = None,
        valid_s: int = CONSENT_VALID_S,
    ) -> ConsentReceipt:
        """Agree to show a document as a request asks, or more narrowly.

        Raises:
            FormError: the request is not from whom it says, or over.
        """
        now_s = self._check(request)
        header = self.find(doc_id).header
        ledger_key = self._draw_ledger_key()
        chosen = request.fields if fields is None else read_fields(fields)
        agreed = outermost((*header.must_disclose, *chosen))
        if len(agreed) > LEAVES_MAX:
            raise FormError(f"{request.receiver} asks for more than {LEAVES_MAX} fields")
        receipt = ConsentReceipt(
            receipt_id=self._random(16).hex(),
            holder_key=self.key.public_key.hex(),
            doc_id=doc_id,
            provider_org=header.issuer_org,
            receiver=request.receiver,
            receiver_org=request.receiver_org,
            purpose=request.purpose if purpose is None else purpose,
            fields=agreed,
            basis=Basis.PIPL if header.jurisdiction == "SZ" else Basis.PDPO,
            is_cross_border=agreement.to_cross_border,
            is_sensitive=agreement.to_sensitive,
            retention_days=RETENTION_DAYS,
            onward_transfer="",
            issued_at=now_s,
            expires_at=now_s + valid_s,
            ledger_key=ledger_address(ledger_key),
        ).signed(self.key)
        self._ledger_keys[receipt.digest] = ledger_key
        return receipt

    def find_questions(self, doc_id: str, request: Request) -> Agreement:
        """Return what a holder has to be asked before a document is shown as a request asks."""
        header = self.find(doc_id).header
        receiver = self._require_trust().find_org(request.receiver_org)
        here = 0 if receiver is None else receiver.jurisdiction
        return Agreement(
            to_cross_border=Jurisdiction.__members__.get(header.jurisdiction) != here,
            to_sensitive=self.schemas[header.schema].sensitivity >= SENSITIVE,
        )

    def _draw_ledger_key(self) -> bytes:
        # Below 2^255, so every drawn number is a valid private key of secp256k1.
        number = int.from_bytes(self._random(32), "big") >> 1
        return max(1, number).to_bytes(32, "big")

    def authorise(
        self, receipt: ConsentReceipt, chain_id: int, *, is_withdrawal: bool = False
    ) -> LedgerConsent:
        """Return the signed message with which an institution logs or ends a consent."""
        key = self._ledger_keys.get(receipt.digest)
        if key is None:
            raise FormError(f"{self.name} has given no such consent, so it cannot sign for it")
        return sign_for_ledger(key, chain_id, receipt, is_withdrawal=is_withdrawal)

    def build(
        self,
        doc_id: str,
        request: Request,
        consent: ConsentReceipt | None,
        fields: Iterable[str] | None = None,
    ) -> Presentation:
        """Return a signed presentation of the requested fields, or of the chosen `fields`.

        Fields that the schema demands are not added to an explicit choice: a receiver refuses a
        presentation that hides them.

        Raises:
            FormError: the request is not from whom it says, or over.
            KeyError: there is no such document, or none of its anchors is for that receiver.
            ValueError: the document lacks one of the fields, or none is chosen.
        """
        package = self.find(doc_id)
        self._check(request)
        if fields is None:
            paths = [leaf.path for leaf in package.disclosures]
            must = [path for path in package.header.must_disclose if path in paths]
            chosen: Iterable[str] = (*must, *request.fields)
        else:
            chosen = read_fields(fields)
        return build_presentation(package, request, consent, chosen).signed(self.key)

    def present(
        self,
        doc_id: str,
        request: Request,
        consent: ConsentReceipt | None,
        fields: Iterable[str] | None = None,
        *,
        password: str = "",
    ) -> bytes:
        """Return a presentation, sealed to the receiver that made the request. See `build`."""
        shown = self.build(doc_id, request, consent, fields)
        return seal(encode_presentation(shown), request, password)
