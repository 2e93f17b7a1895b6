"""What an account does in a load: it sends transactions and asks a node, one step after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lowu.institutions.ledger.facts import Call


@dataclass(frozen=True, slots=True)
class Sender:
    """An account that a generator has the key of, with its institution if it is one's."""

    key: bytes
    schema: int = 0
    """The number of the schema of its documents; 0 if it issues none."""
    org: int = 0
    side: int = 0
    url: str = ""
    """Of its institution's node; empty if any will do."""
    is_issuer: bool = True
    """Whether what is due is begun by it, in turns with others."""
    is_receiver: bool = False
    nonce: int = 0
    """How many transactions it has sent before."""


@dataclass(frozen=True, slots=True)
class WorkloadCall:
    """One transaction without its sender and nonce."""

    to: bytes
    data: bytes
    gas: int


@dataclass(frozen=True, slots=True)
class SendStep:
    """A transaction; the step is done once it is committed."""

    sender: int
    """The place of the account among a generator's."""
    call: WorkloadCall


@dataclass(frozen=True, slots=True)
class ReadStep:
    """Contract calls in one request to a node; done once the answers are right."""

    sender: int
    """Whose node is asked first."""
    calls: Sequence[Call]
    is_right: Callable[[Sequence[bytes]], bool]
    """Whether the outputs, one for each call, are what they have to be."""


Step: TypeAlias = SendStep | ReadStep
