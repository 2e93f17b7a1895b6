"""V1 and V2: whether a package, or what is shown of it, is as its issuer made it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from lowu.contracts.schemas.document_schema import Schema
from lowu.institutions.documents.schemas import Schemas, must_disclose
from lowu.institutions.exchange.presentation import Presentation
from lowu.institutions.package.containers import ShownFields, find_gaps, read_shown
from lowu.institutions.package.format import (
    FILE_PATH,
    Package,
    PackageHeader,
    Profile,
    compute_anchor,
    find_file_digest,
)
from lowu.institutions.package.forms import FormError
from lowu.institutions.package.leaves import (
    PAD_BUCKETS,
    Leaf,
    LeafType,
    compute_root,
    hash_leaf,
    is_file_of,
)
from lowu.institutions.package.multiproof import compute_root_from
from lowu.institutions.package.tags import FIRST_VERSION
from lowu.institutions.verification.judging import SHOWN_MAX, Evidence, judge_proof, make_line
from lowu.institutions.verification.verdicts import (
    Check,
    Finding,
    Line,
    Report,
    Result,
    VerdictCode,
)


def report_malformed(error: FormError) -> Report:
    """Return the report on unreadable data: the other checks are skipped."""
    code = VerdictCode.PKG_UNSUPPORTED_VERSION if error.is_version else VerdictCode.PKG_MALFORMED
    first = Line(Check.PACKAGE, Result.FAIL, [Finding(code, str(error))])
    rest = [Line(check, Result.SKIPPED) for check in Check if check is not Check.PACKAGE]
    return Report((first, *rest))


def find_damage(package: Package, schemas: Schemas) -> str:
    """Return why a package is not as its issuer made it; empty if it is consistent.

    Checks what a holder can see without the ledger: fields, tree and anchors, not the signature.
    """
    header, count = package.header, len(package.leaves)
    schema = schemas.get(header.schema)
    if schema is None:
        return f"schema {header.schema} is not known here"
    if not _follows_schema(header, schema):
        return f"its header does not follow schema {header.schema}"
    if not is_ordered(package.disclosures, header.v):
        return "its fields are not in order"
    if _find_beside_file(header, package.disclosures):
        return f"under profile {header.profile} it has one file, and nothing beside it"
    contradiction = read(package.disclosures, header.v).contradiction
    if contradiction:
        return contradiction
    for leaf in package.disclosures:
        is_there = leaf.index < count
        if not is_there or hash_leaf(schema.number, leaf, header.v) != package.leaves[leaf.index]:
            return f"field {leaf.path} is not what was issued"
    is_complete = count == header.leaf_count and count in PAD_BUCKETS
    if not is_complete or compute_root(package.leaves).hex() != header.root:
        return "its fields do not lead to its root"
    if not package.anchors:
        return "it has no anchor"
    digest = find_file_digest(package.disclosures)
    for item in package.anchors:
        if compute_anchor(header, item.org, item.blind, digest) != item.anchor:
            return f"the anchor for {item.audience} is not of this document"
        flaw = judge_proof(header, item, schema).flaw
        if flaw:
            return f"the proof of registration for {item.audience} does not hold: {flaw}"
    return ""


def read(leaves: tuple[Leaf, ...], version: int) -> ShownFields:
    """Return shown leaves by their paths; version 1 says nothing about containers."""
    return ShownFields() if version == FIRST_VERSION else read_shown(leaves)


def is_ordered(leaves: tuple[Leaf, ...], version: int) -> bool:
    """Whether leaves stand in ascending order of their places, and of what determines these."""

    def place(leaf: Leaf) -> tuple[int, bytes]:
        return leaf.index, leaf.path.encode() if version == FIRST_VERSION else leaf.salt

    return all(
        first[0] < second[0] and first[1] < second[1]
        for first, second in itertools.pairwise(map(place, leaves))
    )


def check_integrity(shown: Presentation, files: Mapping[str, bytes], schema: Schema) -> Line:
    """V2: fields, proof, header, anchor and files match each other, and nothing is hidden."""
    header = shown.header
    tree = read(shown.disclosures, header.v)
    failures = _check_tree(shown, tree)
    failures += [
        Finding(VerdictCode.TAMPERED_FIELD, path) for path in _find_tampered(shown, files, schema)
    ][:SHOWN_MAX]
    beside = _find_beside_file(header, shown.disclosures)
    if not _is_anchored(shown) or not _follows_schema(header, schema) or beside:
        failures.append(Finding(VerdictCode.TAMPERED_HEADER))
    must = must_disclose(schema, header.profile, header.v)
    failures += [
        Finding(VerdictCode.MANDATORY_FIELD_HIDDEN, path)
        for path in _find_hidden(shown, tree, must)[:SHOWN_MAX]
    ]
    attached = {leaf.path for leaf in shown.disclosures if leaf.type is LeafType.FILE}
    failures += [
        Finding(VerdictCode.ATTACHMENT_UNEXPECTED, path) for path in files if path not in attached
    ]
    unknowns = [
        Finding(VerdictCode.ATTACHMENT_MISSING, path)
        for path in sorted(attached)
        if path not in files
    ]
    if not header.is_for_one_receiver:
        why = f"profile {header.profile}" if header.v != FIRST_VERSION else "version 1"
        unknowns.append(Finding(VerdictCode.NOT_PROMISED, f"{why}: for which receiver"))
    evidence: Evidence = {
        "doc_digest": header.doc_digest.hex(),
        "fields_shown": len(shown.disclosures),
        "leaves": header.leaf_count,
        "files_compared": len(attached & set(files)),
    }
    return make_line(Check.INTEGRITY, failures, evidence, unknowns)


def _check_tree(shown: Presentation, tree: ShownFields) -> list[Finding]:
    """Return what is wrong with the way from the leaves to the root."""
    header, leaves = shown.header, shown.disclosures
    if not is_ordered(leaves, header.v) or len(shown.hashes) != len(leaves):
        return [Finding(VerdictCode.PROOF_INVALID, "order of fields")]
    hashes = {leaf.index: digest for leaf, digest in zip(leaves, shown.hashes, strict=True)}
    root = compute_root_from(header.leaf_count, hashes, shown.siblings)
    if root is None or root.hex() != header.root or header.leaf_count not in PAD_BUCKETS:
        return [Finding(VerdictCode.PROOF_INVALID, "root")]
    if tree.contradiction:
        return [Finding(VerdictCode.PROOF_INVALID, tree.contradiction)]
    return []


def _find_tampered(shown: Presentation, files: Mapping[str, bytes], schema: Schema) -> list[str]:
    header, number = shown.header, schema.number
    pairs = zip(shown.disclosures, shown.hashes, strict=False)
    tampered = [leaf.path for leaf, one in pairs if hash_leaf(number, leaf, header.v) != one]
    return tampered + [
        leaf.path
        for leaf in shown.disclosures
        if leaf.type is LeafType.FILE
        and leaf.path in files
        and not is_file_of(files[leaf.path], leaf.value)
    ]


def _follows_schema(header: PackageHeader, schema: Schema) -> bool:
    must = must_disclose(schema, header.profile, header.v)
    return (header.must_disclose, header.sensitivity) == (must, schema.sensitivity)


def _find_beside_file(header: PackageHeader, leaves: tuple[Leaf, ...]) -> bool:
    """Whether a document of one file has, or may have, anything beside it."""
    if header.profile is Profile.FIELDS or header.v == FIRST_VERSION:
        return False
    paths = {leaf.path: leaf for leaf in leaves}
    return set(paths) != {"", FILE_PATH} or paths[""].value != "1"


def _find_hidden(shown: Presentation, tree: ShownFields, must: tuple[str, ...]) -> list[str]:
    if shown.header.v != FIRST_VERSION:
        return find_gaps(tree, must, may_be_absent=False)
    paths = {leaf.path for leaf in shown.disclosures}
    return [path for path in must if path not in paths]


def _is_anchored(shown: Presentation) -> bool:
    header, anchor = shown.header, shown.anchor
    digest = find_file_digest(shown.disclosures)
    if header.profile is not Profile.FIELDS and not digest:
        return False
    return compute_anchor(header, anchor.org, anchor.blind, digest) == anchor.anchor
