"""What any node's edge must do with an honest message: decode it unchanged, and accept it."""

from __future__ import annotations

from lowu.consensus.certificates import MessageVerifier, VerifiedMessage
from lowu.consensus.codec import decode_message, encode_message
from lowu.consensus.errors import InvalidMessage, UnknownEpoch
from lowu.consensus.messages import Message
from lowu.consensus.simulation.checking.violation import Violation


def accept_honest(verifier: MessageVerifier, node_id: bytes, message: Message) -> VerifiedMessage:
    """Encode, decode and verify a message as if it came over an honest node's link.

    Raises:
        UnknownEpoch: the receiver does not know its validators yet, or no longer.
        Violation: an honest message is changed or refused.
    """
    kind = type(message).__name__
    try:
        if decode_message(encode_message(message)) != message:
            raise Violation(f"P12 an honest {kind} changes on the wire")
        verified = verifier.verify_message(message)
        verifier.verify_link(node_id, message)
    except UnknownEpoch:
        raise
    except InvalidMessage as error:
        raise Violation(f"P12 an honest {kind} is refused: {error}") from error
    return verified
