"""The issuer: builds packages from documents, registers anchors, revokes and supersedes.

A document's content stays in the package; a node sees a 32-byte anchor and a few numbers.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lowu.contracts.registry import (
    HASH_REGISTRY_ADDRESS,
    AnchorState,
    Jurisdiction,
    OrgStatus,
    RegistryErrorCode,
    RevokeReason,
    Role,
    SchemaStatus,
    Suite,
    encode_register_anchor,
    encode_revoke,
    encode_supersede,
    hash_function,
)
from lowu.contracts.schemas.document_schema import DAY_S, Schema
from lowu.institutions.documents.conformity import check_document
from lowu.institutions.documents.document import Document
from lowu.institutions.documents.schemas import CLOCK_AHEAD_S, must_disclose
from lowu.institutions.documents.times import tell_time
from lowu.institutions.exchange.erasure import ErasedAnchor, ErasureReceipt
from lowu.institutions.ledger.facts import RegistryRefused
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.ledger.responses import TransactionReceipt
from lowu.institutions.ledger.transactor import Signer
from lowu.institutions.package.batch import build_batch
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import (
    ANCHORS_MAX,
    FILE_PATH,
    PACKAGE_BYTES_MAX,
    SUITE,
    Anchor,
    BatchPlace,
    Package,
    PackageHeader,
    Profile,
    compute_anchor,
    compute_subject_commitment,
    encode_package,
    find_file_digest,
)
from lowu.institutions.package.forms import read_integer
from lowu.institutions.package.leaves import (
    Leaf,
    LeafType,
    build_leaves,
    compute_root,
    hash_leaf,
)
from lowu.institutions.package.proof import ProofError, check_proof, proof_fields
from lowu.institutions.package.salt_seed import SEED_BYTES, seal_seed
from lowu.institutions.package.signatures import PUBLIC_KEY_BYTES, DocumentKey, is_public_key
from lowu.institutions.package.tags import VERSION
from lowu.institutions.roles.member import Member

LEAF_BYTES, CHARACTER_BYTES = 512, 6
"""Most bytes that a leaf adds to a package, and a character of it: an escaped one has six."""
_GONE = (RegistryErrorCode.TERMINAL_STATE, RegistryErrorCode.ALREADY_REVOKED)


@dataclass(frozen=True, slots=True)
class Issued:
    """A registered package, and the anchor that was registered last."""

    package: Package
    anchor: bytes


@dataclass(frozen=True, slots=True)
class Audience:
    """The one receiver for whom an anchor is made."""

    name: str
    org: int


def _check_document(
    document: Document, profile: Profile, holder_key: bytes, issued_at_s: int
) -> None:
    """Raise `ValueError` if nobody could read or accept a document's package."""
    read_integer(document.report_time_s, "report_time")
    if not is_public_key(holder_key):
        raise ValueError(
            f"the holder's key must be a point of P-256, {PUBLIC_KEY_BYTES} bytes: `key` asks a "
            "wallet for its own"
        )
    ahead_s = document.report_time_s - issued_at_s
    if ahead_s > CLOCK_AHEAD_S:
        raise ValueError(
            f"report_time is {ahead_s} s in the future, at {tell_time(document.report_time_s)}; no "
            "receiver accepts that"
        )
    if profile is not Profile.FIELDS and list(document.content) != [FILE_PATH[1:]]:
        raise ValueError(f"profile {profile} is for one file, at {FILE_PATH}, and nothing else")


def _check_size(package: Package) -> Package:
    """Return a package that is small enough, also once proofs of registration are in it.

    Raises:
        ValueError: it is too large for anybody to read.
    """
    characters = sum(len(leaf.value) + len(leaf.path) for leaf in package.disclosures)
    size_max = PACKAGE_BYTES_MAX // 2
    if LEAF_BYTES * len(package.leaves) + CHARACTER_BYTES * characters > size_max:
        size = len(encode_package(package))  # that was the most it may have
        if size > size_max:
            raise ValueError(
                f"the document's package would have {size} bytes, at most {size_max}: put large "
                "contents into attachments"
            )
    return package


class Issuer:
    """An institution that issues documents."""

    def __init__(
        self,
        member: Member,
        signer: Signer,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.member = member
        self._signer = signer
        self._random = randomness

    @property
    def registry(self) -> Registry:
        """The registry as the issuer's node serves it."""
        return self._signer.registry

    def with_key(self, document_key: DocumentKey, key_id: int) -> Issuer:
        """Return this issuer with another document key."""
        member = replace(self.member, document_key=document_key, key_id=key_id)
        return Issuer(member, self._signer, self._random)

    def build_package(
        self,
        document: Document,
        *,
        audience: Audience,
        holder_key: bytes,
        issued_at_s: int,
        supersedes: bytes = b"",
        profile: Profile = Profile.FIELDS,
        valid_until_s: int | None = None,
    ) -> Package:
        """Return a package that is not registered yet, whatever its content.

        It is valid for as many whole days as its schema says, or until `valid_until_s`.

        Raises:
            ValueError: the report is of the future, or its content cannot be issued.
        """
        schema = self.member.schemas[document.schema]
        _check_document(document, profile, holder_key, issued_at_s)
        seed, doc_id = self._random(SEED_BYTES), self._random(16).hex()
        leaves = build_leaves(document.content, seed)
        hashes = tuple(hash_leaf(schema.number, leaf) for leaf in leaves)
        subject_salt = self._random(32)
        subject = document.subject
        commitment = compute_subject_commitment(subject.id_type, subject.id_value, subject_salt)
        start = issued_at_s - issued_at_s % DAY_S  # whole days: less to correlate (T3)
        end = start + (schema.valid_days + 1) * DAY_S - 1
        header = PackageHeader(
            v=VERSION,
            suite=SUITE,
            profile=profile,
            doc_id=doc_id,
            schema=schema.id,
            issuer_org=self.member.org_id,
            key_id=self.member.key_id,
            report_time=document.report_time_s,
            issued_at=issued_at_s,
            valid_from=start,
            valid_until=end if valid_until_s is None else valid_until_s,
            holder_key=holder_key.hex(),
            subject_commitment=commitment.hex(),
            leaf_count=len(leaves),
            root=compute_root(hashes).hex(),
            supersedes=supersedes.hex(),
            jurisdiction=self.member.side,
            sensitivity=schema.sensitivity,
            must_disclose=must_disclose(schema, profile),
        )
        disclosures = tuple(leaf for leaf in leaves if leaf.type is not LeafType.PAD)
        made = Package(
            header=header,
            disclosures=disclosures,
            leaves=hashes,
            anchors=(self._blind(header, disclosures, audience),),
            issuer_signature=self.member.document_key.sign(header.doc_digest),
            subject_salt=subject_salt,
            seed=seal_seed(seed, holder_key, doc_id),
        )
        return _check_size(made)

    async def require_conforming(
        self,
        document: Document,
        audience: Audience,
        issued_at_s: int,
        profile: Profile = Profile.FIELDS,
    ) -> None:
        """Check a document against its schema, and whether it can be issued for a receiver.

        Raises:
            ValueError: it is not as its schema says, or cannot be issued for that receiver.
            ClientError: the node could not be asked.
        """
        schema = self.member.schemas[document.schema]
        if profile is Profile.FIELDS:
            check_document(document, schema)
        age_s = issued_at_s - document.report_time_s
        if age_s > schema.max_age_s:
            when = tell_time(document.report_time_s)
            raise ValueError(
                f"report_time is {age_s // DAY_S} days ago, of {when}; "
                f"receivers take a {schema.id} of at most {schema.max_age_s // DAY_S} days"
            )
        await self.require_terms(schema, audience)

    async def require_terms(self, schema: Schema, audience: Audience) -> None:
        """Check with the ledger that a document of a schema can be issued for a receiver.

        Raises:
            ValueError: it cannot.
            ClientError: the node could not be asked.
        """
        own, name = self.member, audience.name
        start = Jurisdiction[own.side]
        terms = await self.registry.read_terms(start, schema.number, audience.org)
        flaw = ""
        if terms.schema.status is SchemaStatus.UNKNOWN:
            flaw = f"schema {schema.id} is not on the ledger; `lowu org propose schema` proposes it"
        elif terms.schema.schema_hash != schema.digest:
            flaw = f"the ledger has other rules for schema {schema.id} than are known here"
        elif terms.audience.status is OrgStatus.UNKNOWN:
            flaw = f"{name} is no member of the consortium"
        elif terms.audience.status is OrgStatus.EXITED:
            flaw = f"{name} has left the consortium"
        elif not terms.audience.roles & Role.VERIFIER:
            flaw = f"{name} cannot receive documents: it lacks the role VERIFIER"
        elif terms.audience.jurisdiction not in terms.open_to:
            where = Jurisdiction(terms.audience.jurisdiction).name
            flaw = (
                f"no route leads from {own.side} to {where}, where {name} is; "
                f"`lowu org propose route {own.side} {where}` proposes one"
            )
        if flaw:
            raise ValueError(flaw)

    def _blind(
        self, header: PackageHeader, disclosures: tuple[Leaf, ...], audience: Audience
    ) -> Anchor:
        blind = self._random(32)
        anchor = compute_anchor(header, audience.org, blind, find_file_digest(disclosures))
        return Anchor(audience.name, audience.org, blind, anchor)

    async def issue(
        self,
        document: Document,
        *,
        audience: Audience,
        holder_key: bytes,
        issued_at_s: int,
        supersedes: bytes = b"",
        profile: Profile = Profile.FIELDS,
    ) -> Issued:
        """Build a package and register its anchor; return once the registration is committed.

        Raises:
            ValueError: see `require_conforming`; nothing is registered then.
        """
        await self.require_conforming(document, audience, issued_at_s, profile)
        package = self.build_package(
            document,
            audience=audience,
            holder_key=holder_key,
            issued_at_s=issued_at_s,
            supersedes=supersedes,
            profile=profile,
        )
        return await self.register(package)

    async def register(self, package: Package) -> Issued:
        """Register a package's last anchor; return once the registration is committed."""
        *others, anchor = package.anchors
        receipt = await self._register(package, anchor.anchor)
        placed = await self._place(anchor, receipt)
        return Issued(replace(package, anchors=(*others, placed)), anchor.anchor)

    async def _register(self, package: Package, anchor: bytes) -> TransactionReceipt:
        call = encode_register_anchor(
            anchor,
            schema=self.member.schemas[package.header.schema].number,
            key_id=package.header.key_id,
            valid_until_day=package.header.valid_until_day,
            suite=Suite.SHA256_P256,
        )
        return await self._signer.send(HASH_REGISTRY_ADDRESS, call)

    async def _place(self, anchor: Anchor, receipt: TransactionReceipt) -> Anchor:
        """Return an anchor with the height and the proof of its registration."""
        proof = await self._signer.prove(receipt, self.member.org_id, anchor.registered)
        height = receipt.height
        if proof is not None:
            try:
                height = check_proof(proof, self.member.org_id, anchor.registered).height
                if receipt.logs and height != receipt.height:
                    raise ProofError(f"of block {height}, not {receipt.height}")
                encode_canonical([height, proof_fields(proof)])
            except ValueError:
                height, proof = receipt.height, None  # a false proof, but the anchor is registered
        return replace(anchor, registered_height=height, proof=proof)

    async def add_audience(self, issued: Issued, audience: Audience) -> Issued:
        """Register another anchor of the same document for another receiver."""
        return await self.register(self.readdress(issued.package, audience))

    def readdress(self, package: Package, audience: Audience) -> Package:
        """Return a package with another anchor, for another receiver; it is not registered yet."""
        if len(package.anchors) == ANCHORS_MAX:
            raise ValueError(f"the document has {ANCHORS_MAX} receivers, the most that it may have")
        anchor = self._blind(package.header, package.disclosures, audience)
        return _check_size(replace(package, anchors=(*package.anchors, anchor)))

    async def issue_batch(
        self, documents: Sequence[tuple[Document, bytes]], *, audience: Audience, issued_at_s: int
    ) -> list[Package]:
        """Build packages for documents and their holders' keys; register all in one transaction.

        All documents must have one schema.

        Raises:
            ValueError: see `require_conforming`; nothing is registered then.
        """
        for document, _ in documents:
            check_document(document, self.member.schemas[document.schema])
        await self.require_terms(self.member.schemas[documents[0][0].schema], audience)
        packages = [
            self.build_package(
                document, audience=audience, holder_key=holder_key, issued_at_s=issued_at_s
            )
            for document, holder_key in documents
        ]
        header = packages[0].header
        root, paths = build_batch([package.anchors[0].anchor for package in packages])
        call = hash_function("registerBatch").encode_call(
            root,
            len(packages),
            self.member.schemas[header.schema].number,
            self.member.key_id,
            header.valid_until_day,
            int(Suite.SHA256_P256),
            0,
        )
        receipt = await self._signer.send(HASH_REGISTRY_ADDRESS, call)
        first = replace(packages[0].anchors[0], batch=BatchPlace(root, 0, paths[0]))
        placed = await self._place(first, receipt)
        return [
            replace(
                package,
                anchors=(
                    replace(
                        package.anchors[0],
                        registered_height=placed.registered_height,
                        batch=BatchPlace(root, index, path),
                        proof=placed.proof,
                    ),
                ),
            )
            for index, (package, path) in enumerate(zip(packages, paths, strict=True))
        ]

    async def read_state(self, item: Anchor) -> tuple[AnchorState, bytes]:
        """Return the state of an anchor, alone or in a batch, and the anchor that replaced it."""
        org, place = self.member.org_id, item.batch
        if place is None:
            record = await self.registry.get_record(org, item.anchor)
            return record.state, record.superseded_by
        leaf = (item.anchor, place.index, place.path)
        return (await self.registry.get_leaf_status(org, place.root, leaf))[0], b""

    async def revoke_leaf(self, anchor: Anchor, reason: RevokeReason) -> TransactionReceipt:
        """Withdraw one document of a batch permanently."""
        place = anchor.batch
        if place is None:
            return await self.revoke(anchor.anchor, reason)
        call = hash_function("revokeLeaf").encode_call(
            place.root, anchor.anchor, place.index, list(place.path), int(reason)
        )
        return await self._signer.send(HASH_REGISTRY_ADDRESS, call)

    async def suspend(self, anchor: bytes) -> TransactionReceipt:
        """Suspend an anchor; `reinstate` ends that."""
        return await self._send("suspend", anchor)

    async def reinstate(self, anchor: bytes) -> TransactionReceipt:
        """Put a suspended anchor into force again."""
        return await self._send("reinstate", anchor)

    async def mark_erased(self, anchor: bytes, receipt_hash: bytes) -> TransactionReceipt:
        """Record on the ledger that an anchor's document was erased, with its receipt's hash."""
        return await self._send("markErased", anchor, receipt_hash)

    def draft_erasure(
        self, packages: list[Package], *, reason: str, erased_at_s: int
    ) -> ErasureReceipt:
        """Return the signed receipt for erasing a document, given all packages made of it."""
        header = packages[0].header
        found = {item.anchor: item.batch for package in packages for item in package.anchors}
        return ErasureReceipt(
            header.issuer_org,
            self.member.key_id,
            header.doc_id,
            tuple(ErasedAnchor(anchor, batch) for anchor, batch in found.items()),
            reason,
            erased_at_s,
        ).signed(self.member.document_key)

    async def note_erasure(self, receipt: ErasureReceipt) -> int:
        """Mark all anchors of a receipt as erased on the ledger; return the last block.

        Repeating it is safe; the ledger refuses another receipt. In a batch, only the document's
        leaf is marked.
        """
        height = 0
        for item in receipt.anchors:
            try:
                if item.batch is None:
                    done = await self.mark_erased(item.anchor, receipt.digest)
                else:
                    place = item.batch
                    leaf = (item.anchor, place.index, list(place.path), receipt.digest)
                    done = await self._send("eraseLeaf", place.root, *leaf)
            except RegistryRefused as error:
                if error.code not in _GONE or not await self._is_noted(item, receipt.digest):
                    raise
            else:
                height = done.height
        return height

    async def _is_noted(self, item: ErasedAnchor, digest: bytes) -> bool:
        if item.batch is None:
            return await self.registry.get_erasure(self.member.org_id, item.anchor) == digest
        place = item.batch
        noted = await self.registry.get_leaf_erasure(self.member.org_id, place.root, place.index)
        return noted == digest

    async def _send(self, function: str, *arguments: object) -> TransactionReceipt:
        call = hash_function(function).encode_call(*arguments)
        return await self._signer.send(HASH_REGISTRY_ADDRESS, call)

    async def revoke(
        self, anchor: bytes, reason: RevokeReason, since_height: int = 0
    ) -> TransactionReceipt:
        """Withdraw an anchor permanently, as of a past block; 0 means now."""
        call = encode_revoke(anchor, reason, since_height)
        return await self._signer.send(HASH_REGISTRY_ADDRESS, call)

    async def supersede(self, anchor: bytes, newer: bytes) -> TransactionReceipt:
        """Replace an anchor with that of a newer document."""
        return await self._signer.send(HASH_REGISTRY_ADDRESS, encode_supersede(anchor, newer))
