"""Guesses a small form from its anchor by trying every value of an identifier (threat T1).

The form has eight fields, of which the attacker knows seven; the eighth is a Hong Kong identity
number. There are 26 million of these with one letter. (Ours have two letters, Q and any other, so
that they belong to nobody; their number is the same.) Against `file-plain`, each guess is one hash
of a file. Against the other profiles, no guess can be checked without the 32 random bytes, which
are not on chain; the search still tries the same guesses with the same budget.
"""

from __future__ import annotations

import hashlib
import string
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from lowu.experiments.actors.actors import Actors
from lowu.experiments.worker_pool import open_worker_pool
from lowu.institutions.documents.document import Document, Subject
from lowu.institutions.documents.identifiers import compute_hkid_check, generate_hkid
from lowu.institutions.package.canonical import encode_canonical
from lowu.institutions.package.format import Profile
from lowu.institutions.package.leaves import Attachment

MARK = "QX000000(0)"
"""Placeholder for the unknown number in the form."""
SCHEMA = "grp.kyc/1"
SUM_MAX = 9 * (7 + 6 + 5 + 4 + 3 + 2)
"""Highest sum of six digits, weighted as for the check digit."""
SHARES = 8
"""Shares of a letter's numbers, so that several processes finish together."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search."""

    value: str
    """The number; empty if it was not found."""
    guesses: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Form:
    """A form issued under every profile."""

    number: str
    anchors: dict[Profile, bytes]
    """As shown by an observer's node."""


def build_form(seed: int, hkid: str) -> bytes:
    """Return an eight-field form as a file."""
    random = Random(f"lowu form {seed}")  # noqa: S311  (invented data)
    return encode_canonical(
        {
            "form": "ADDRESS-CHANGE",
            "version": 3,
            "name": f"Chan Tai Man {random.randrange(10**5):05}",
            "hkid": hkid,
            "birth_year": random.randrange(1950, 2005),
            "district": random.choice(("Sha Tin", "North", "Tai Po", "Kwun Tong")),
            "employed": True,
            "income_band": random.randrange(1, 9),
        }
    )


def build_document(seed: int, now_s: int) -> Document:
    """Return the form as a document of one file, about a person with a random number."""
    hkid = generate_hkid(Random(f"lowu victim {seed}"))  # noqa: S311
    file = Attachment(build_form(seed, hkid))
    return Document(SCHEMA, Subject("HKID", hkid), now_s, {"file": file})


async def publish(actors: Actors, seed: int) -> Form:
    """Issue one form under each profile, and read its anchors from an observer's node."""
    document = build_document(seed, actors.now_s())
    anchors: dict[Profile, bytes] = {}
    for profile in Profile:
        package = actors.issuers["bea-hk"].build_package(
            document,
            audience=actors.audience("bea-cn"),
            holder_key=actors.holders["owner"].key.public_key,
            issued_at_s=actors.now_s(),
            profile=profile,
        )
        issued = await actors.register("bea-hk", package, document, "owner")
        height = issued.package.anchors[0].registered_height
        seen = await actors.find_events("hkma", "AnchorRegistered", None, height)
        anchors[profile] = seen[-1].anchor
    return Form(document.subject.id_value, anchors)


def _shares() -> Iterator[tuple[str, int, int]]:
    """Yield letter pairs with ranges of the first three digits."""
    edges = [round(1_000 * part / SHARES) for part in range(SHARES + 1)]
    for letter in string.ascii_uppercase:
        for start, end in pairwise(edges):
            yield f"Q{letter}", start, end


def search_share(
    letters: str, start: int, end: int, seed: int, anchors: frozenset[bytes], deadline_s: float
) -> tuple[str, int]:
    """Try one share of all numbers; return the number found, or "", and the count of guesses."""
    before, after = build_form(seed, MARK).split(MARK.encode())
    # The check digit is linear in the digits: the sums of both halves are computed once.
    checks = {total: compute_check(letters, total).encode() for total in range(SUM_MAX + 1)}
    weights_low = (4, 3, 2)
    low = [
        (f"{n:03}".encode(), sum(w * int(d) for w, d in zip(weights_low, f"{n:03}", strict=True)))
        for n in range(1_000)
    ]
    guesses = 0
    for high in range(start, end):
        digits = f"{high:03}"
        high_sum = sum(w * int(d) for w, d in zip((7, 6, 5), digits, strict=True))
        opened = hashlib.sha256(before + letters.encode() + digits.encode())
        for text, low_sum in low:
            guess = opened.copy()
            guess.update(text + b"(" + checks[high_sum + low_sum] + b")" + after)
            if guess.digest() in anchors:
                check = checks[high_sum + low_sum].decode()
                return f"{letters}{digits}{text.decode()}({check})", guesses
        guesses += len(low)
        if time.monotonic() > deadline_s:
            break
    return "", guesses


def compute_check(letters: str, digit_sum: int) -> str:
    """Return the check character for letters and the weighted sum of the six digits."""
    first = compute_hkid_check(letters, "000000")
    base = 10 if first == "A" else int(first)
    check = (base - digit_sum) % 11
    return "A" if check == 10 else str(check)


def search(seed: int, anchors: Iterable[bytes], budget_s: float, processes: int) -> Found:
    """Try all numbers until one is found or the time is up."""
    started = time.monotonic()
    wanted, guesses, value = frozenset(anchors), 0, ""
    with open_worker_pool("fork", processes) as pool:
        shares = [
            pool.submit(search_share, *share, seed, wanted, started + budget_s)
            for share in _shares()
        ]
        for share in as_completed(shares):
            found, tried = share.result()
            guesses += tried
            if found:
                value = found
                break
    return Found(value, guesses, time.monotonic() - started)
