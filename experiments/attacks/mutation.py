"""Changes bytes of a presentation, or of the package it is made from; none may be accepted.

A document is issued, consented to and presented on a network in virtual time. Then bytes are
changed, and a verifier judges the result against the node's cached answers. The holder of a
changed package presents it and signs the changed content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from lowu.experiments.actors.actors import EVERYTHING, Actors
from lowu.experiments.actors.frozen_client import FrozenClient
from lowu.institutions.documents.document import Document, build_enterprise_report
from lowu.institutions.exchange.presentation import (
    Presentation,
    decode_presentation,
    encode_presentation,
)
from lowu.institutions.exchange.request import Request
from lowu.institutions.ledger.registry import Registry
from lowu.institutions.package.format import Package, decode_package, encode_package
from lowu.institutions.package.forms import FormError
from lowu.institutions.package.multiproof import collect_siblings
from lowu.institutions.roles.holder import Holder
from lowu.institutions.roles.verifier import Verifier
from lowu.institutions.verification.verdicts import Verdict

USCC = "91440300MA5DEM012D"
HEX = b"0123456789abcdef"


@dataclass(slots=True)
class MutationOutcome:
    """Results of the changes."""

    tried: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Number of refusals by their first code."""
    accepted: list[str] = field(default_factory=list)
    """Descriptions of changes that were accepted: each is a hole."""


def mutate(data: bytes, random: Random) -> tuple[bytes, str]:
    """Return the bytes with one change, and its description."""
    at = random.randrange(len(data))
    kind = random.choice(("bit", "byte", "digit", "cut", "insert", "repeat", "swap"))
    changed = bytearray(data)
    match kind:
        case "bit":
            changed[at] ^= 1 << random.randrange(8)
        case "byte":
            changed[at] = random.randrange(256)
        case "digit":  # keeps most changes in canonical form
            places = [place for place in range(at, min(at + 200, len(data))) if data[place] in HEX]
            at = places[0] if places else at
            changed[at] = random.choice(HEX)
        case "cut":
            del changed[at : at + random.randrange(1, 4)]
        case "insert":
            changed[at:at] = random.randbytes(random.randrange(1, 4))
        case "repeat":
            changed[at:at] = changed[at : at + random.randrange(1, 80)]
        case "swap":
            other = random.randrange(len(data))
            changed[at], changed[other] = changed[other], changed[at]
    return bytes(changed), f"{kind} at {at}"


@dataclass(slots=True)
class _Case:
    """A document that a receiver accepts, with its holder and verifier."""

    document: Document
    package: Package
    request: Request
    holder: Holder
    verifier: Verifier
    presented: bytes
    now_s: Callable[[], int]

    @property
    def shown(self) -> Presentation:
        """The presentation, unsigned."""
        return replace(decode_presentation(self.presented), holder_signature=b"")


async def prepare(actors: Actors) -> _Case:
    """Issue, consent and present; the unchanged presentation must be accepted."""
    document = build_enterprise_report(1, actors.now_s(), USCC)
    issued = await actors.issue("szcredit", document, "acme-sz", "nova")
    item = next(one for one in actors.plan.institutions if one.spec.id == "nova")
    holder, doc_id = actors.holders["acme-sz"], issued.package.header.doc_id
    request = actors.ask("nova", document, fields=EVERYTHING)
    receipt = await actors.agree("acme-sz", doc_id, request)
    verifier = actors.verifiers["nova"].reading(Registry(FrozenClient(actors.clients["nova"])))
    presented = encode_presentation(holder.build(doc_id, request, receipt))
    report = await verifier.verify(presented, document.subject)
    if report.verdict is not Verdict.ACCEPT:
        raise AssertionError(f"{item.spec.id} refuses a valid presentation: {report.codes}")
    case = (document, issued.package, request, holder, verifier, presented)
    return _Case(*case, actors.now_s)


async def try_presentations(case: _Case, count: int, random: Random) -> MutationOutcome:
    """Change bytes of the presentation."""
    outcome = MutationOutcome()
    for _ in range(count):
        data, what = mutate(case.presented, random)
        if data != case.presented:
            await _judge(case, data, what, outcome)
    return outcome


async def try_packages(case: _Case, count: int, random: Random) -> MutationOutcome:
    """Change bytes of the holder's package; the holder presents the result."""
    outcome = MutationOutcome()
    original = encode_package(case.package)
    consent = decode_presentation(case.presented).consent
    for _ in range(count):
        data, what = mutate(original, random)
        if data == original:
            continue
        outcome.tried += 1
        try:
            changed = decode_package(data)
        except FormError:
            outcome.refused["not a package"] += 1
            continue
        holder = Holder("cheat", case.holder.key, trust=case.holder.trust, clock_s=case.now_s)
        doc_id = holder.keep(changed)
        try:
            shown = holder.build(doc_id, case.request, consent)
        except (KeyError, ValueError) as error:
            outcome.refused[f"cannot be presented: {type(error).__name__}"] += 1
            continue
        if _says_no_other(shown, case.package):
            outcome.refused["shows less, and nothing else"] += 1
            continue
        if replace(shown, holder_signature=b"") == case.shown and _is_refused(case.holder, data):
            outcome.refused["not in what is shown, and refused by its holder"] += 1
            continue
        outcome.tried -= 1
        await _judge(case, encode_presentation(shown), what, outcome)
    return outcome


def _is_refused(holder: Holder, data: bytes) -> bool:
    try:
        Holder(holder.name, holder.key, trust=holder.trust).receive(data)
    except FormError:
        return True
    return False


def _says_no_other(shown: Presentation, package: Package) -> bool:
    """Whether a presentation only hides fields, which its holder may do anyway."""
    is_subset = set(shown.disclosures) <= set(package.disclosures)
    hashes = tuple(package.leaves[leaf.index] for leaf in shown.disclosures) if is_subset else ()
    siblings = collect_siblings(package.leaves, {leaf.index for leaf in shown.disclosures})
    return (
        is_subset
        and len(shown.disclosures) < len(package.disclosures)
        and (shown.header, shown.hashes, shown.siblings) == (package.header, hashes, siblings)
        and (shown.anchor, shown.subject_salt) == (package.anchors[0], package.subject_salt)
        and shown.issuer_signature == package.issuer_signature
    )


async def _judge(case: _Case, data: bytes, what: str, outcome: MutationOutcome) -> None:
    outcome.tried += 1
    report = await case.verifier.verify(data, case.document.subject)
    if report.verdict is Verdict.ACCEPT:
        outcome.accepted.append(what)
    else:
        outcome.refused[report.codes[0].split("(")[0]] += 1


TRIALS: dict[str, Callable[..., Any]] = {
    "presentations": try_presentations,
    "packages": try_packages,
}
