"""A node's key: its identity in consensus.

The node id is the secp256k1 public key without prefix, 128 hex digits, as in FISCO BCOS. The
private key lives in ``conf/node.pem``; the TLS key is another one (``conf/ssl.key``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lowu.node.crypto import compute_public_key, sign
from lowu.node.errors import ConfigError


@dataclass(frozen=True, slots=True)
class NodeKey:
    """A consensus key pair."""

    private_key: bytes = field(repr=False)
    node_id: bytes

    @classmethod
    def from_private(cls, private_key: bytes) -> NodeKey:
        """Build from 32 bytes of private key."""
        return cls(private_key, compute_public_key(private_key))

    def sign(self, digest: bytes) -> bytes:
        """Return the 65-byte signature of a 32-byte digest."""
        return sign(self.private_key, digest)

    def to_pem(self) -> bytes:
        """Return the PEM text of ``conf/node.pem``."""
        number = int.from_bytes(self.private_key, "big")
        key = ec.derive_private_key(number, ec.SECP256K1())
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def load_node_key(path: Path) -> NodeKey:
    """Read ``node.pem``; `ConfigError` says what is wrong with it."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: not a readable PEM private key ({error})") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256k1":
        raise ConfigError(f"{path}: the node key must be a secp256k1 key")
    number = key.private_numbers().private_value
    return NodeKey.from_private(number.to_bytes(32, "big"))
