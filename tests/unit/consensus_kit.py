"""Messages of a four-validator chain, signed by a keyed hash."""

from dataclasses import replace

from consensus.certificates import Verifier
from consensus.codec import compute_digest, signing_digest
from consensus.epochs import Epoch, Epochs
from consensus.messages import (
    Checkpoint,
    Commit,
    CommitCertificate,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
)
from consensus.replica import Replica
from consensus.state import ReplicaConfig
from consensus.types import ZERO_HASH, Domain, hash_bytes
from consensus.validators import Validator, ValidatorSet

DOMAIN = Domain("kit", "group0")
VALIDATORS = ValidatorSet(tuple(Validator(i.to_bytes(64, "big")) for i in range(4)))
EPOCH = Epoch(1, VALIDATORS)
GENESIS = CommitCertificate(0, ZERO_HASH, hash_bytes(b"genesis"), ())


def sign(index, digest):
    return hash_bytes(bytes([index]) + digest)[:8]


def is_signed(node_id, digest, signature):
    return signature == sign(node_id[-1], digest)


VERIFIER = Verifier(DOMAIN, Epochs(VALIDATORS), GENESIS, is_signed)


def signed(message, domain=DOMAIN):
    return replace(message, signature=sign(message.sender, signing_digest(domain, 1, message)))


def proposal(height=1, previous=ZERO_HASH, text=b"a", proposer=1, time_ms=5):
    return Proposal(height, previous, hash_bytes(text), time_ms, proposer)


def prepared(item, view=0, signers=(0, 1, 2)):
    digest = compute_digest(DOMAIN, item)
    votes = [signed(Prepare(view, item.height, digest, i)) for i in signers]
    return PreparedCertificate(view, item, tuple((v.sender, v.signature) for v in votes))


def committed(item, block_hash=None, signers=(0, 1, 2)):
    digest = compute_digest(DOMAIN, item)
    block_hash = block_hash or hash_bytes(digest)
    votes = [signed(Checkpoint(item.height, digest, block_hash, i)) for i in signers]
    pairs = tuple((v.sender, v.signature) for v in votes)
    return CommitCertificate(item.height, digest, block_hash, pairs)


def view_change(sender, view=1, stable=GENESIS, certificates=()):
    return signed(ViewChange(view, stable, tuple(certificates), sender))


def new_view(view=1, changes=None, sender=None):
    changes = changes if changes is not None else tuple(view_change(i, view) for i in (0, 1, 2))
    top = max((change.stable.height for change in changes), default=0)
    sender = VALIDATORS.leader(top + 1, view) if sender is None else sender
    return signed(NewView(view, tuple(changes), sender))


def samples():
    """One signed message of each kind, rich in content."""
    item = proposal()
    digest = compute_digest(DOMAIN, item)
    above = proposal(2, digest, b"b", 2, 6)
    stable = committed(item)
    changes = tuple(view_change(i, 5, stable, [prepared(above, 3)]) for i in (0, 1, 2))
    return [
        signed(PrePrepare(0, item, (hash_bytes(b"tx"),), 1)),
        signed(Prepare(2, 1, digest, 0)),
        signed(Commit(2, 1, digest, 3)),
        signed(Checkpoint(1, digest, hash_bytes(b"block"), 2)),
        changes[0],
        new_view(5, changes),
        signed(Status(4, 17, 3)),
    ]


def verified(message):
    return VERIFIER.verify_message(message)


def replica(index=3, window=8, **options):
    """A fresh replica of the four."""
    config = ReplicaConfig(DOMAIN, node_id(index), GENESIS, window=window, **options)
    return Replica(config, lambda digest: sign(index, digest), EPOCH)


def recovered(index, records, stable=GENESIS, window=8):
    """A replica that comes back with records, and its first effects."""
    config = ReplicaConfig(DOMAIN, node_id(index), GENESIS, window=window)
    return Replica.recover(config, lambda digest: sign(index, digest), EPOCH, records, stable, 0)


def node_id(index):
    return index.to_bytes(64, "big")
