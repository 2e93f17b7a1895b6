"""Messages of a four-validator chain, signed by a keyed hash."""

from dataclasses import replace

from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.codec import compute_digest, signing_digest
from lowu.consensus.effects import Broadcast, Send, StartTimer
from lowu.consensus.epochs import Epoch, Epochs
from lowu.consensus.inputs import (
    BlockCommitted,
    MessageReceived,
    PendingChanged,
    ProposalExecuted,
    ProposalVerdict,
    ProposalVerified,
    TimerFired,
)
from lowu.consensus.messages import (
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
from lowu.consensus.replica import Replica
from lowu.consensus.state import ReplicaConfig
from lowu.consensus.types import ZERO_HASH, Domain, hash_bytes
from lowu.consensus.validators import Validator, ValidatorSet

DOMAIN = Domain("kit", "group0")
VALIDATORS = ValidatorSet(tuple(Validator(i.to_bytes(64, "big")) for i in range(4)))
EPOCH = Epoch(1, VALIDATORS)
GENESIS = CommitCertificate(0, ZERO_HASH, hash_bytes(b"genesis"), ())


def sign(index, digest):
    return hash_bytes(bytes([index]) + digest)[:8]


def is_signed(node_id, digest, signature):
    return signature == sign(node_id[-1], digest)


VERIFIER = MessageVerifier(DOMAIN, Epochs(VALIDATORS), GENESIS, is_signed)


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


def view_change(sender, view=1, stable=GENESIS, certificates=(), passed_over=()):
    change = ViewChange(view, stable, tuple(certificates), sender, passed_over=tuple(passed_over))
    return signed(change)


def new_view(view=1, changes=None, sender=None):
    changes = changes if changes is not None else tuple(view_change(i, view) for i in (0, 1, 2))
    top = max((change.stable.height for change in changes), default=0)
    sender = VALIDATORS.leader(top + 1, view) if sender is None else sender
    return signed(NewView(view, tuple(changes), sender))


def samples():
    """One signed message of each kind, with its optional content."""
    item = proposal()
    digest = compute_digest(DOMAIN, item)
    above = proposal(2, digest, b"b", 2, 6)
    stable = committed(item)
    passed_over = ((0, 5), (3, 17))
    changes = tuple(view_change(i, 5, stable, [prepared(above, 3)], passed_over) for i in (0, 1, 2))
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
    """A new replica, one of the four validators."""
    config = ReplicaConfig(DOMAIN, node_id(index), GENESIS, window=window, **options)
    return Replica(config, lambda digest: sign(index, digest), EPOCH)


def recovered(index, records, stable=GENESIS, window=8):
    """A replica recovered from records, and its first effects."""
    config = ReplicaConfig(DOMAIN, node_id(index), GENESIS, window=window)
    return Replica.recover(config, lambda digest: sign(index, digest), EPOCH, records, stable, 0)


def node_id(index):
    return index.to_bytes(64, "big")


def deliver(target, message):
    """Verify a message as a node does, and deliver it to a replica."""
    return target.step(MessageReceived(VERIFIER.verify_message(message)))


def only(kind, effects):
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def sent(kind, effects):
    """The messages of one kind that are broadcast or sent to one replica."""
    messages = [effect.message for effect in effects if isinstance(effect, Broadcast | Send)]
    return [message for message in messages if isinstance(message, kind)]


def digest_of(item):
    return compute_digest(DOMAIN, item)


def offer(item, view=0, hashes=(b"h" * 32,), sender=None):
    """A PRE-PREPARE, by default from the leader."""
    sender = VALIDATORS.leader(item.height, view) if sender is None else sender
    return signed(PrePrepare(view, item, hashes, sender))


def make_valid(target, item):
    """Answer the check of a proposal's bodies with VALID."""
    return target.step(ProposalVerified(item.height, digest_of(item), ProposalVerdict.VALID))


def vote(kind, item, sender, view=0):
    return signed(kind(view, item.height, digest_of(item), sender))


def checkpoint(item, sender, block_hash=None):
    digest = digest_of(item)
    return signed(Checkpoint(item.height, digest, block_hash or hash_bytes(digest), sender))


def order(target, item, view=0, senders=(0, 1, 2)):
    """Make a replica order a proposal in `view`; return all effects."""
    effects = list(deliver(target, offer(item, view)))
    effects += make_valid(target, item)
    for kind in (Prepare, Commit):
        for sender in senders:
            if sender != target.index:
                effects += deliver(target, vote(kind, item, sender, view))
    return effects


def commit(target, item, view=0, senders=(0, 1, 2), validators=None):
    """Make a proposal stable at a replica; return all effects."""
    effects = order(target, item, view, senders)
    block_hash = hash_bytes(digest_of(item))
    effects += target.step(ProposalExecuted(item.height, digest_of(item), block_hash))
    for sender in senders:
        if sender != target.index:
            effects += deliver(target, checkpoint(item, sender))
    effects += target.step(BlockCommitted(item.height, block_hash, validators))
    return effects


def chain(length, proposer=None):
    """A chain of proposals from height 1, each by its leader in view 0."""
    items, previous = [], ZERO_HASH
    for height in range(1, length + 1):
        leader = VALIDATORS.leader(height, 0) if proposer is None else proposer
        item = proposal(height, previous, b"%d" % height, leader, 4 + height)
        items.append(item)
        previous = digest_of(item)
    return items


def timer(effects, kind):
    """The last start of a timer among effects."""
    return [e for e in effects if isinstance(e, StartTimer) and e.timer is kind][-1]


def fire(target, start):
    """Let a started timer fire."""
    return target.step(TimerFired(start.timer, start.number))


def pending(target):
    """Tell a replica that transactions are waiting; return the effects."""
    return target.step(PendingChanged(True))


class CountingSignatures:
    """Checks signatures and counts the checks."""

    def __init__(self):
        self.checks = 0

    def __call__(self, node_id, digest, signature):
        self.checks += 1
        return is_signed(node_id, digest, signature)


def certificates(count, first=1):
    """Prepared certificates of `count` heights, each with signatures of its own."""
    return [prepared(proposal(first + i, bytes(32), b"%d" % i)) for i in range(count)]


def replica_in_view(view, **options):
    """A replica that has entered a view."""
    entered = replica(3, **options)
    deliver(entered, new_view(view))
    return entered
