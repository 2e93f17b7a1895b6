"""Identifiers of companies and persons, with their check digits.

Rules: the USCC follows GB 32100-2015, the organisation body in it GB 11714, the mainland id number
GB 11643, and the Hong Kong identity card number its published rule. Generated numbers use
unassigned areas, so that none belongs to a real person or company.
"""

from __future__ import annotations

import re
from random import Random

USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""31 characters: no I, O, S, V, Z."""
_USCC_WEIGHTS = tuple(pow(3, i, 31) for i in range(17))
_BODY_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_ID_WEIGHTS = tuple(pow(2, 17 - i, 11) for i in range(17))
_ID_CHECKS = "10X98765432"
_HKID = re.compile(r"([A-Z]{1,2})([0-9]{6})\(?([0-9A])\)?\Z")
UNASSIGNED_AREA = "440399"
"""An area code in Shenzhen's range that is assigned to no district."""


def compute_uscc_check(first17: str) -> str:
    """Return the 18th character of a unified social credit code."""
    values = (USCC_ALPHABET.index(character) for character in first17)
    total = sum(value * weight for value, weight in zip(values, _USCC_WEIGHTS, strict=True))
    return USCC_ALPHABET[(31 - total % 31) % 31]


def is_uscc(text: str) -> bool:
    """Whether a text is a USCC with a valid check character."""
    if len(text) != 18 or any(character not in USCC_ALPHABET for character in text):
        return False
    return compute_uscc_check(text[:17]) == text[17]


def compute_body_check(first8: str) -> str:
    """Return the check character of an organisation body (GB 11714)."""
    total = sum(int(c, 36) * w for c, w in zip(first8, _BODY_WEIGHTS, strict=True))
    value = 11 - total % 11
    return {10: "X", 11: "0"}.get(value, str(value))


def generate_uscc(random: Random) -> str:
    """Return a synthetic USCC of a company in an unassigned area."""
    body = "MA" + "".join(random.choice(USCC_ALPHABET) for _ in range(6))
    first17 = "91" + UNASSIGNED_AREA + body + compute_body_check(body)
    return first17 + compute_uscc_check(first17)


def compute_mainland_id_check(first17: str) -> str:
    """Return the 18th character of a mainland id number."""
    total = sum(int(c) * w for c, w in zip(first17, _ID_WEIGHTS, strict=True))
    return _ID_CHECKS[total % 11]


def is_mainland_id(text: str) -> bool:
    """Whether a text is a mainland id number with a valid check character."""
    if not re.fullmatch(r"[0-9]{17}[0-9X]", text):
        return False
    return compute_mainland_id_check(text[:17]) == text[17]


def generate_mainland_id(random: Random) -> str:
    """Return a synthetic mainland id number in an unassigned area."""
    born = f"{random.randint(1960, 2003)}{random.randint(1, 12):02}{random.randint(1, 28):02}"
    first17 = UNASSIGNED_AREA + born + f"{random.randint(1, 999):03}"
    return first17 + compute_mainland_id_check(first17)


def compute_hkid_check(letters: str, digits: str) -> str:
    """Return the check character of a Hong Kong identity card number."""
    padded = letters.rjust(2)
    values = [36 if c == " " else ord(c) - 55 for c in padded] + [int(c) for c in digits]
    total = sum(v * w for v, w in zip(values, range(9, 1, -1), strict=True))
    value = (11 - total % 11) % 11
    return "A" if value == 10 else str(value)


def is_hkid(text: str) -> bool:
    """Whether a text such as A123456(3) is an HKID with a valid check character."""
    found = _HKID.match(text)
    return found is not None and compute_hkid_check(found[1], found[2]) == found[3]


def generate_hkid(random: Random) -> str:
    """Return a synthetic HKID with a letter pair that is not issued."""
    digits = f"{random.randint(0, 999_999):06}"
    return f"QX{digits}({compute_hkid_check('QX', digits)})"


def generate_ubi(random: Random) -> str:
    """Return a synthetic Hong Kong business identifier in the form for bodies without one."""
    return f"C{random.randint(0, 9_999_999):07}"
