"""Lowu: a permissioned ledger node simulator for cross-boundary data validation.

This module is the public interface: what a test, a notebook or an experiment needs stands here,
and nothing needs to be imported from below. docs/API.md lists it with its documentation.

Names are imported when they are used: ``import lowu`` alone loads nothing, so that the command's
help is instant and ``python -m lowu`` can first take the current folder off the path.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowu.consensus.simulation.explore import PlanFinding, run_plan
    from lowu.consensus.simulation.result import RunResult
    from lowu.consensus.simulation.run_plan import RunPlan, draw_plan
    from lowu.consensus.simulation.shrink import shrink
    from lowu.contracts.named import UnknownName
    from lowu.contracts.registry import AnchorState, Jurisdiction, RevokeReason, Role
    from lowu.experiments.actors.actors import Actors
    from lowu.institutions.documents.document import Document, Subject
    from lowu.institutions.documents.samples import SAMPLES, build_sample
    from lowu.institutions.exchange.consent import Purpose
    from lowu.institutions.ledger.facts import RegistryRefused
    from lowu.institutions.ledger.registry import Registry
    from lowu.institutions.ledger.transactor import Signer
    from lowu.institutions.package.format import Package, Profile
    from lowu.institutions.package.forms import FormError
    from lowu.institutions.roles.holder import Holder
    from lowu.institutions.roles.issuer import Issued, Issuer
    from lowu.institutions.roles.member import Member
    from lowu.institutions.roles.verifier import Verifier
    from lowu.institutions.verification.verdicts import (
        Check,
        Finding,
        Report,
        Result,
        Verdict,
        VerdictCode,
    )
    from lowu.node.client import ClientError, RemoteError, RpcClient, TransactionTimeout
    from lowu.node.errors import ConfigError, NodeError
    from lowu.node.topology.plan import Plan
    from lowu.testing.network_faults import ProcessFaults, VirtualFaults
    from lowu.testing.networks import (
        ProcessNetwork,
        VirtualNetwork,
        load_plan,
        running_network,
    )

    __version__: str

PUBLIC = {
    "networks": {
        "lowu.testing.networks": (
            "running_network", "ProcessNetwork", "VirtualNetwork", "load_plan",
        ),
        "lowu.testing.network_faults": ("ProcessFaults", "VirtualFaults"),
        "lowu.node.topology.plan": ("Plan",),
        "lowu.node.client": (
            "RpcClient", "ClientError", "RemoteError", "TransactionTimeout",
        ),
        "lowu.node.errors": ("NodeError", "ConfigError"),
    },
    "institutions": {
        "lowu.experiments.actors.actors": ("Actors",),
        "lowu.contracts.named": ("UnknownName",),
        "lowu.institutions.roles.member": ("Member",),
        "lowu.institutions.roles.issuer": ("Issuer", "Issued"),
        "lowu.institutions.roles.holder": ("Holder",),
        "lowu.institutions.roles.verifier": ("Verifier",),
        "lowu.institutions.ledger.transactor": ("Signer",),
        "lowu.institutions.ledger.registry": ("Registry",),
        "lowu.institutions.ledger.facts": ("RegistryRefused",),
        "lowu.contracts.registry": ("Jurisdiction", "Role", "AnchorState", "RevokeReason"),
    },
    "documents and verdicts": {
        "lowu.institutions.documents.document": ("Document", "Subject"),
        "lowu.institutions.documents.samples": ("SAMPLES", "build_sample"),
        "lowu.institutions.package.format": ("Package", "Profile"),
        "lowu.institutions.package.forms": ("FormError",),
        "lowu.institutions.exchange.consent": ("Purpose",),
        "lowu.institutions.verification.verdicts": (
            "Report", "Verdict", "VerdictCode", "Check", "Result", "Finding",
        ),
    },
    "simulation of the consensus core": {
        "lowu.consensus.simulation.run_plan": ("RunPlan", "draw_plan"),
        "lowu.consensus.simulation.explore": ("run_plan", "PlanFinding"),
        "lowu.consensus.simulation.result": ("RunResult",),
        "lowu.consensus.simulation.shrink": ("shrink",),
    },
}  # fmt: skip
"""By subject: the modules, and what of them is public."""
_MODULE_OF = {
    name: module for places in PUBLIC.values() for module, names in places.items() for name in names
}

__all__ = [
    "SAMPLES",
    "Actors",
    "AnchorState",
    "Check",
    "ClientError",
    "ConfigError",
    "Document",
    "Finding",
    "FormError",
    "Holder",
    "Issued",
    "Issuer",
    "Jurisdiction",
    "Member",
    "NodeError",
    "Package",
    "Plan",
    "PlanFinding",
    "ProcessFaults",
    "ProcessNetwork",
    "Profile",
    "Purpose",
    "Registry",
    "RegistryRefused",
    "RemoteError",
    "Report",
    "Result",
    "RevokeReason",
    "Role",
    "RpcClient",
    "RunPlan",
    "RunResult",
    "Signer",
    "Subject",
    "TransactionTimeout",
    "UnknownName",
    "Verdict",
    "VerdictCode",
    "Verifier",
    "VirtualFaults",
    "VirtualNetwork",
    "__version__",
    "build_sample",
    "draw_plan",
    "load_plan",
    "run_plan",
    "running_network",
    "shrink",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        from lowu.node.version import VERSION

        return VERSION
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'lowu' has no attribute {name!r}")
    found = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
