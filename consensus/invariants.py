"""What must hold of any chain, stated independently of the code that makes it.

The same predicates watch the simulation, guard the product before it writes, and compare real
nodes in end-to-end tests. They compute quorums from first principles rather than from
`quorum.py`, so that they do not repeat a mistake made there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lowu.consensus.errors import require_invariant
from lowu.consensus.messages import CommitCertificate
from lowu.consensus.types import Hash32, Height, NodeIndex
from lowu.consensus.validators import ValidatorSet


@dataclass(frozen=True, slots=True)
class BlockFact:
    """The public facts of a committed block."""

    height: Height
    block_hash: Hash32
    parent_hash: Hash32
    state_root: Hash32
    receipt_root: Hash32


def is_strong_quorum(validators: ValidatorSet, signers: Iterable[NodeIndex]) -> bool:
    """Whether any two sets of this weight share more than f weight (P04)."""
    weights = [validator.weight for validator in validators.validators]
    total, own = sum(weights), sum(weights[index] for index in set(signers))
    return 2 * own > total + (total - 1) // 3


def check_certificate(validators: ValidatorSet, certificate: CommitCertificate) -> None:
    """Raise `InvariantViolation` unless distinct signers hold a strong quorum (P04)."""
    signers = [index for index, _ in certificate.signatures]
    is_distinct = len(set(signers)) == len(signers)
    is_known = all(0 <= index < len(validators) for index in signers)
    require_invariant(
        is_distinct and is_known and is_strong_quorum(validators, signers),
        f"P04: the certificate of height {certificate.height} is no quorum: signers {signers}",
    )


def check_chain(name: str, blocks: Sequence[BlockFact]) -> None:
    """Raise `InvariantViolation` unless each block stands on the one below (P02)."""
    for below, block in itertools.pairwise(blocks):
        require_invariant(
            block.height == below.height + 1 and block.parent_hash == below.block_hash,
            f"P02: block {block.height} of {name} does not stand on {below.height}",
        )


def check_agreement(chains: Mapping[str, Sequence[BlockFact]]) -> None:
    """Raise `InvariantViolation` unless all chains agree wherever they overlap (P01, P02)."""
    seen: dict[Height, tuple[str, BlockFact]] = {}
    for name, blocks in chains.items():
        check_chain(name, blocks)
        for block in blocks:
            other, known = seen.setdefault(block.height, (name, block))
            require_invariant(
                known == block,
                f"P01: {name} and {other} have different blocks at height {block.height}",
            )
