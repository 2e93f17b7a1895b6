"""What is allowed in a network file, and yet most likely not meant."""

from __future__ import annotations

from lowu.contracts.registry import Role
from lowu.node.topology.spec import Institution, NetworkSpec


def list_warnings(spec: NetworkSpec) -> list[str]:
    """Return what a person should know of a network before starting it."""
    return [*_find_unreceived(spec), *_find_unissued(spec)]


def _find_unreceived(spec: NetworkSpec) -> list[str]:
    """Return the issuers whose documents nobody can receive by any route."""
    return [
        f"{item.id} issues {', '.join(item.schemas)}, and no other institution can receive that: "
        f"give one in {item.side.name} the role VERIFIER, or open a route from {item.side.name} "
        "with a [[route]] table"
        for item in spec.institutions
        if item.schemas and not any(_may_receive(spec, item, other) for other in spec.institutions)
    ]


def _may_receive(spec: NetworkSpec, issuer: Institution, other: Institution) -> bool:
    is_open = other.side is issuer.side or (issuer.side, other.side) in spec.routes
    return other is not issuer and Role.VERIFIER in other.roles and is_open


def _find_unissued(spec: NetworkSpec) -> list[str]:
    """Return the file's own schemas that nobody issues."""
    used = {name for item in spec.institutions for name in item.schemas}
    return [
        f"nobody issues {schema.id}: name it in the schemas of an institution with role ISSUER"
        for schema in spec.schemas
        if schema.id not in used
    ]
