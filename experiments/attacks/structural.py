"""Changes what is shown as each party could, with its own keys; no wrong answer may be accepted.

Unlike changes of bytes, these keep every form: parts are swapped between documents, requests,
consents and receivers, relabelled, left out with a proof that fits, and signed again by the holder,
by a rival, or by an issuer that registers what it forges. The verifier's verdict on each is held
against that of `lowu.experiments.oracle`, which shares no code with it.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.experiments.attacks.hostile_world import RIVALS, HostileWorld, ShownCase
from lowu.experiments.oracle import check_oracle as second
from lowu.experiments.oracle import package_oracle as reader
from lowu.institutions.exchange.consent import read_consent
from lowu.institutions.package.format import leaf_fields
from lowu.institutions.package.forms import covers
from lowu.institutions.package.leaves import PAD_BUCKETS, compute_root
from lowu.institutions.package.multiproof import collect_siblings

Raw = dict[str, Any]
CHANGES_MAX = 3
"""Most changes of one mutant."""
FLIPS = ("0", "1", "x", "", "2026-01-01", "1.00")


@dataclass(slots=True)
class StructuralOutcome:
    """Results of the mutants."""

    tried: int = 0
    agreed: Counter[str] = field(default_factory=Counter)
    """Mutants by the verdict and, if it is a rejection, the first code."""
    accepted: list[str] = field(default_factory=list)
    """Mutants that were accepted and should not have been: each is a hole."""
    refused: list[str] = field(default_factory=list)
    """Mutants that should have had a better verdict."""

    def add(self, other: StructuralOutcome) -> None:
        """Add the results of other mutants."""
        self.tried += other.tried
        self.agreed += other.agreed
        self.accepted += other.accepted
        self.refused += other.refused


@dataclass(slots=True)
class ChangedAnswer:
    """A presentation while it is changed."""

    lab: HostileWorld
    shown: ShownCase
    raw: Raw
    files: dict[str, bytes]
    random: Random

    def other(self) -> ShownCase:
        """Return another document that was shown."""
        return self.random.choice([item for item in self.lab.shown if item is not self.shown])

    def pick(self, rows: list[Any]) -> Any:
        """Return one of some values."""
        return self.random.choice(rows)


# --- by the holder: what is shown of the document -------------------------------------------------


def _reveal(item: ChangedAnswer, keep: Callable[[list[Any]], bool]) -> None:
    """Show those leaves of the whole document that are to be kept, with a proof that fits."""
    package = item.shown.package
    kept = [row for row in map(leaf_fields, package.disclosures) if keep(row)]
    places = [row[0] for row in kept]
    item.raw["disclosures"] = kept
    item.raw["hashes"] = [package.leaves[place].hex() for place in places]
    siblings = collect_siblings(package.leaves, places) if places else ()
    item.raw["siblings"] = [sibling.hex() for sibling in siblings]


def hide_below(item: ChangedAnswer) -> None:
    """Leave out one path with everything below it."""
    before = {row[1] for row in item.raw["disclosures"]}
    path = item.pick(sorted(before)) if before else ""
    _reveal(item, lambda row: row[1] in before and not covers([path], row[1]))


def hide_containers(item: ChangedAnswer) -> None:
    """Leave out leaves of containers, and keep what they contain."""
    before = {row[1] for row in item.raw["disclosures"]}
    share = item.random.choice((0.0, 0.5, 0.9))
    kept = {path for path in sorted(before) if item.random.random() < share}
    _reveal(item, lambda row: row[1] in before and (row[3] not in (7, 8) or row[1] in kept))


def hide_some(item: ChangedAnswer) -> None:
    """Leave out one or a few leaves."""
    before = [row[1] for row in item.raw["disclosures"]]
    count = min(len(before), item.random.choice((1, 1, 2, 5)))
    hidden = set(item.random.sample(before, count))
    _reveal(item, lambda row: row[1] in before and row[1] not in hidden)


def show_all(item: ChangedAnswer) -> None:
    """Show the whole document, whatever was asked for."""
    _reveal(item, lambda row: True)


def change_leaf(item: ChangedAnswer) -> None:
    """Change one part of a leaf."""
    if not item.raw["disclosures"]:
        return
    row = item.pick(item.raw["disclosures"])
    at = item.random.randrange(6)
    if at == 0:
        row[0] = item.random.randrange(512)
    elif at == 1:
        row[1] = item.pick([row[1] + "/0", row[1].rpartition("/")[0], "/header/report_no"])
    elif at == 2:
        row[2] = item.pick([row[2].replace("a", "o"), row[2].replace("o", "a"), ""])
    elif at == 3:
        row[3] = item.random.randrange(10)
    elif at == 4:
        row[4] = item.pick([*FLIPS, str(item.random.randrange(12))])
    else:
        row[5] = item.random.randbytes(32).hex()


def swap_leaves(item: ChangedAnswer) -> None:
    """Exchange a part of two leaves, or the leaves themselves."""
    rows = item.raw["disclosures"]
    if len(rows) < 2:
        return
    one, two = item.random.sample(range(len(rows)), 2)
    at = item.random.randrange(7)
    if at == 6:
        rows[one], rows[two] = rows[two], rows[one]
    else:
        rows[one][at], rows[two][at] = rows[two][at], rows[one][at]


def take_leaf(item: ChangedAnswer) -> None:
    """Take a leaf of another document in place of one, or beside it, with its hash."""
    other = item.lab.raw(item.other())
    if not other["disclosures"] or not item.raw["disclosures"]:
        return
    at = item.random.randrange(len(other["disclosures"]))
    leaf, digest = other["disclosures"][at], other["hashes"][at]
    here = item.random.randrange(len(item.raw["disclosures"]))
    if item.random.random() < 0.5:
        item.raw["disclosures"][here], item.raw["hashes"][here : here + 1] = leaf, [digest]
    else:
        item.raw["disclosures"].insert(here, leaf)
        item.raw["hashes"].insert(here, digest)


def take_part(item: ChangedAnswer) -> None:
    """Take a whole part from the presentation of another document."""
    other = item.lab.raw(item.other())
    for name in item.random.sample(sorted(set(other) - {"format"}), item.random.choice((1, 2, 4))):
        item.raw[name] = other[name]


def change_list(item: ChangedAnswer) -> None:
    """Drop, repeat or exchange entries of a list."""
    rows = item.raw[item.pick(["disclosures", "hashes", "siblings"])]
    if not rows:
        return
    at = item.random.randrange(len(rows))
    match item.random.randrange(3):
        case 0:
            del rows[at]
        case 1:
            rows.insert(at, copy.deepcopy(rows[at]))
        case _:
            rows[at], rows[-1] = rows[-1], rows[at]


def change_header(item: ChangedAnswer) -> None:
    """Change a field of the header, or take it from another document."""
    header, name = item.raw["header"], item.pick(sorted(item.raw["header"]))
    if item.random.random() < 0.5:
        header[name] = item.lab.raw(item.other())["header"][name]
    elif isinstance(header[name], int):
        header[name] += item.pick([1, -1, 86_400, -86_400, 2**40])
    elif isinstance(header[name], str):
        header[name] = item.pick(["", "file-blind", "file-plain", "00" * 32, "HK", "cn.pcr/1"])
    else:
        header[name] = item.pick([[], header[name][:1], [*header[name], "/basic"]])


# --- between receivers, requests and consents -----------------------------------------------------


def change_anchor(item: ChangedAnswer) -> None:
    """Relabel the anchor, or take another's."""
    anchor = item.raw["anchor"]
    match item.random.randrange(6):
        case 0:
            anchor[0] = item.pick(["fusion", "", "Nova"])
        case 1:
            anchor[1] = item.pick([0, 4, 3])
        case 2:
            anchor[2] = item.random.randbytes(32).hex()
        case 3:
            item.raw["anchor"] = item.lab.raw(item.other())["anchor"]
        case 4:
            anchor[5] = item.lab.raw(item.other())["anchor"][5]
        case _:
            if anchor[5] is not None:
                anchor[5][1] = item.random.randrange(6)
                if item.random.random() < 0.5:
                    anchor[3] = anchor[5][0]


def retarget(item: ChangedAnswer) -> None:
    """Show the document's anchor for Fusion as Nova's (N-H2)."""
    blind, org = item.random.randbytes(32), item.pick([2, 4, 4])
    header = item.raw["header"]
    if header["profile"] != "fields":
        return
    found = reader.anchor_of(header, org, blind)  # type: ignore[no-untyped-call]
    row = ["nova", item.pick([2, org]), blind.hex(), found.hex(), 5, None, None]
    item.raw["anchor"] = row
    if item.random.random() < 0.8:  # its issuer did register it, for another receiver
        number = SCHEMAS[header["schema"]].number if header["schema"] in SCHEMAS else 0
        _register(item, row, header, number)


def _register(item: ChangedAnswer, row: list[Any], header: Raw, number: int) -> None:
    key = (header["issuer_org"], row[3])
    item.lab.world["records"][key] = {
        "state": "ACTIVE",
        "key_id": header["key_id"],
        "schema": number,
        "suite": 1,
        "valid_until_day": header["valid_until"] // 86_400,
        "height": 5,
        "time_s": header["issued_at"] + 5,
        "count": 0,
    }


def relay(item: ChangedAnswer) -> None:
    """Answer another request than the one that the receiver holds against it (N-H1)."""
    request = item.pick(item.lab.requests)
    raw = {name: getattr(request, name) for name in request.__slots__} | {"format": ""}
    raw["fields"] = list(raw["fields"])
    if item.random.random() < 0.5:
        raw["sealing_key"] = item.random.randbytes(32).hex()
    item.raw["request"] = reader.request_digest(raw).hex()  # type: ignore[no-untyped-call]
    if item.random.random() < 0.3:
        item.raw["nonce"] = request.nonce


def change_consent(item: ChangedAnswer) -> None:
    """Change the consent, take another's, or drop it."""
    consent = item.raw["consent"]
    if consent is None or item.random.random() < 0.15:
        item.raw["consent"] = None
        return
    if item.random.random() < 0.2:
        item.raw["consent"] = item.lab.raw(item.other())["consent"]
        return
    name = item.pick(sorted(consent))
    if isinstance(consent[name], bool):
        consent[name] = not consent[name]
    elif isinstance(consent[name], int):
        consent[name] += item.pick([1, -1, -(10**7), 10**7])
    elif isinstance(consent[name], list):
        consent[name] = item.pick([[], ["/header"], [""], consent[name][1:], ["/loans/3"]])
    elif name == "receiver":
        consent[name] = item.pick(["fusion", "", "Nova"])
    elif name == "purpose":
        consent[name] = item.pick(["CARD", "KYC_REFRESH"])
    else:
        consent[name] = item.lab.raw(item.other())["consent"][name]
    _sign_consent(item)


def _sign_consent(item: ChangedAnswer) -> None:
    """Sign a changed consent, and sometimes log it as it is now."""
    consent = item.raw["consent"]
    key = item.lab.keys[item.pick(["acme", "acme", "acme", *RIVALS])]
    digest = reader.consent_digest(consent)  # type: ignore[no-untyped-call]
    consent["holder_signature"] = key.sign(digest).hex()
    if item.random.random() < 0.7:
        try:
            item.lab.log(read_consent(consent))
        except ValueError:
            return


def change_files(item: ChangedAnswer) -> None:
    """Supply another file, none, or one more."""
    match item.random.randrange(4):
        case 0:
            item.files.clear()
        case 1:
            item.files[item.pick(["/radiology/image", "/Radiology/image", "/Annex"])] = b"forged"
        case 2:
            item.files = dict(item.other().files)
        case _:
            for path, data in item.files.items():
                item.files[path] = data + b"\0"


# --- by an issuer that registers what it forges ---------------------------------------------------


def forge_document(item: ChangedAnswer) -> None:
    """Have the issuer make a document of leaves that contradict each other, and register it."""
    header = item.raw["header"]
    issuer = {1: "szcredit", 3: "bea-cn", 5: "hk-ehealth"}.get(header["issuer_org"])
    if issuer is None or header["schema"] not in SCHEMAS or header["profile"] != "fields":
        return
    rows = copy.deepcopy(item.raw["disclosures"])
    _contradict(item, rows)
    salts = [item.random.randbytes(32) for _ in range(len(rows))]
    salts = sorted(salts) if item.random.random() < 0.9 else salts
    number = SCHEMAS[header["schema"]].number
    size = next((bucket for bucket in PAD_BUCKETS if bucket >= len(rows)), 0)
    if not rows or not size:
        return
    places = sorted(item.random.sample(range(size), len(rows)))
    hashes = [item.random.randbytes(32) for _ in range(size)]
    for row, place, salt in zip(rows, places, salts, strict=True):
        row[0], row[5] = place, salt.hex()
        hashes[place] = reader.leaf_hash(number, row)  # type: ignore[no-untyped-call]
    header |= {"leaf_count": size, "root": compute_root(hashes).hex(), "v": 2}
    item.raw["disclosures"] = rows
    item.raw["hashes"] = [hashes[place].hex() for place in places]
    item.raw["siblings"] = [one.hex() for one in collect_siblings(hashes, places)]
    blind = item.random.randbytes(32)
    anchor = reader.anchor_of(header, 2, blind).hex()  # type: ignore[no-untyped-call]
    row = item.raw["anchor"] = ["nova", 2, blind.hex(), anchor, 5, None, None]
    digest = reader.doc_digest(header)  # type: ignore[no-untyped-call]
    item.raw["issuer_signature"] = item.lab.keys[issuer].sign(digest).hex()
    _register(item, row, header, number)


def _contradict(item: ChangedAnswer, rows: list[Any]) -> None:
    """Change the rows of a document in a way that keeps each of them well formed."""
    if not rows:
        return
    row = item.pick(rows)
    match item.random.randrange(6):
        case 0:  # two values at one path
            rows.append([*row[:3], 5, "another value", row[5]])
        case 1:  # an element that the container does not have
            rows.append([0, f"{row[1]}/0", row[2] + item.pick(["a", "o"]), 5, "more", row[5]])
        case 2:
            row[3], row[4] = item.pick([(7, "0"), (8, "0"), (7, "3"), (8, "1"), (2, "")])
        case 3:
            row[2] = row[2].replace("a", "o", 1)
        case 4:
            rows.remove(row)
        case _:
            row[3], row[4] = 5, "another value"


CHANGES: tuple[Callable[[ChangedAnswer], None], ...] = (
    hide_below,
    hide_containers,
    hide_some,
    show_all,
    change_leaf,
    swap_leaves,
    take_leaf,
    take_part,
    change_list,
    change_header,
    change_anchor,
    retarget,
    relay,
    change_consent,
    change_files,
    forge_document,
)


def sign_again(item: ChangedAnswer) -> str:
    """Sign what was changed as a party would; return who did."""
    who: str = item.pick(["acme", "acme", "acme", "acme", "nobody", *RIVALS])
    if who == "nobody":
        return who
    if who == "mallory" and item.random.random() < 0.5:  # who also claims to be its holder
        item.raw["header"]["holder_key"] = item.lab.keys[who].public_key.hex()
    try:
        digest = reader.presentation_digest(item.raw)  # type: ignore[no-untyped-call]
    except reader.RefusedForm:
        return who
    item.raw["holder_signature"] = item.lab.keys[who].sign(digest).hex()
    return who


async def try_structures(count: int, seed: int) -> StructuralOutcome:
    """Judge so many mutants of presentations, each by the verifier and by the second reader."""
    lab, random, outcome = HostileWorld(seed), Random(f"structures {seed}"), StructuralOutcome()  # noqa: S311
    known = copy.deepcopy(lab.world)
    for _ in range(count):
        lab.world.clear()
        lab.world.update(copy.copy(known))
        for name in ("records", "consents"):
            lab.world[name] = dict(known[name])
        shown = random.choice(lab.shown)
        item = ChangedAnswer(lab, shown, lab.raw(shown), dict(shown.files), random)
        changes = [random.choice(CHANGES) for _ in range(random.randint(1, CHANGES_MAX))]
        for change in changes:
            with suppress(reader.RefusedForm):  # an earlier one left nothing to change
                change(item)
        signer = sign_again(item)
        told = f"{' '.join(one.__name__ for one in changes)}, signed by {signer}"
        await _judge(item, f"seed {seed}, mutant {outcome.tried}: {told}", outcome)
    return outcome


async def _judge(item: ChangedAnswer, told: str, outcome: StructuralOutcome) -> None:
    outcome.tried += 1
    try:
        data = reader.canonical(item.raw)  # type: ignore[no-untyped-call]
    except reader.RefusedForm:
        outcome.agreed["not JSON of the profile"] += 1
        return
    view = item.lab.view_for(item.shown, item.files, item.raw["nonce"])
    found = await item.lab.nova.verify(data, item.shown.document.subject, files=item.files)
    expected = second.judge(data, view)  # type: ignore[no-untyped-call]
    results = {line.check.value: line.result.value for line in found.lines}
    wanted = {name: row[0] for name, row in expected.items() if name != "verdict"}
    verdict = found.verdict.value
    if verdict == expected["verdict"] and results == wanted:
        code = found.codes[0].partition("(")[0] if found.codes else ""
        outcome.agreed[f"{verdict} {code}".strip()] += 1
        return
    text = f"{told}: {verdict} {found.codes[:4]}, but by the second reader {expected}"
    better = verdict == "ACCEPT" or (verdict, expected["verdict"]) == ("INDETERMINATE", "REJECT")
    (outcome.accepted if better else outcome.refused).append(text)


def try_chunk(task: tuple[int, int]) -> StructuralOutcome:
    """Judge the mutants of one task, (count, seed), in a process of its own."""
    return trio.run(try_structures, *task)
