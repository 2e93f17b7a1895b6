"""What a refusal of the registry means to a person, and what to do next."""

from __future__ import annotations

_HINTS = {
    "ROLE_REQUIRED": (
        "The institution lacks the role for this; `lowu accounts` has the roles of all."
    ),
    "NOT_ACCREDITED": (
        "The institution is not accredited for this schema; `lowu org propose accredit` proposes "
        "it."
    ),
    "NOT_FOUND": (
        "There is no such thing: this institution has registered no such anchor, or the group has "
        "no such node or setting."
    ),
    "JURISDICTION_RULE": (
        "A document needs a route between the two sides (`lowu org propose route`), a regulator "
        "suspends institutions of its own side only, and no vote may leave a side that counts "
        "without voters."
    ),
    "ORG_NOT_ACTIVE": "The institution is suspended, or has left; only a vote changes the latter.",
    "CONSENT_NOT_LIVE": "The consent is not on the ledger, was withdrawn, or has expired.",
    "ALREADY_REVOKED": "The document is already revoked.",
    "TERMINAL_STATE": (
        "What is revoked, superseded, erased or withdrawn stays so, and a proposal is decided once."
    ),
    "NOT_ACTIVE": "The document is not in the state for this, such as in force or suspended.",
    "MALFORMED": (
        "A value cannot be so: a document replaces no other of the same one, heights are those of "
        "blocks that there are, and settings are numbers within bounds (docs/REGISTRY.md)."
    ),
    "NO_SUCH_PROPOSAL": "`lowu org proposals` lists all proposals.",
    "ALREADY_VOTED": "An organisation can vote only once.",
    "QUORUM_NOT_BOUNDARY_SAFE": "The validators of one side would be a quorum without the other.",
    "LAST_SEALER": "A chain without a validator would end.",
}
"""Explanation or next step for each refusal, by its name."""
_OTHERWISE = "docs/REGISTRY.md explains these names."


def find_hint(code: str) -> str:
    """Return what the refusal with a name, such as ``NOT_FOUND``, means."""
    return _HINTS.get(code, _OTHERWISE)
