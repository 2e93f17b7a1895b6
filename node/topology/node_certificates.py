"""Three levels of certificates: consortium CA → agency CA → node and SDK certificates.

TLS keys are new random P-256 keys (TLS 1.3 has no secp256k1). The node certificate names the
node id, which binds the link to the consensus key. No CA is allowed below an agency's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lowu.node.errors import ConfigError
from lowu.node.gateway.tls import NODE_URN

VALID_DAYS = 3_650


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as PEM."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def read_certificate(certificate: Path, key: Path) -> IssuedCertificate:
    """Read a certificate and its key; ConfigError if they are not there or not readable."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{certificate} or {key}: is no certificate or key ({error})") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{key}: is not a key on an elliptic curve")
    return IssuedCertificate(found, private)


def _name(common_name: str, unit: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lowu simulation"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _issue(
    subject: x509.Name,
    issuer: IssuedCertificate | None,
    *,
    ca_depth: int | None,
    extensions: list[tuple[x509.ExtensionType, bool]],
    valid: tuple[datetime, datetime] | None = None,
) -> IssuedCertificate:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer.key if issuer is not None else key
    now = datetime.now(UTC)
    begin, end = valid or (now - timedelta(days=1), now + timedelta(days=VALID_DAYS))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(
            x509.BasicConstraints(ca=ca_depth is not None, path_length=ca_depth), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return IssuedCertificate(builder.sign(signer, hashes.SHA256()), key)


def _ca_usage() -> tuple[x509.ExtensionType, bool]:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return usage, True


def issue_consortium_ca(name: str) -> IssuedCertificate:
    """Return the root of a consortium."""
    return _issue(_name(name, "chain"), None, ca_depth=1, extensions=[_ca_usage()])


def issue_agency_ca(root: IssuedCertificate, agency: str) -> IssuedCertificate:
    """Return an institution's CA."""
    return _issue(_name(agency, "agency"), root, ca_depth=0, extensions=[_ca_usage()])


def issue_node_certificate(
    agency: IssuedCertificate,
    node_id: bytes,
    name: str,
    valid: tuple[datetime, datetime] | None = None,
) -> IssuedCertificate:
    """Return a node's certificate, which names its node id."""
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(NODE_URN + node_id.hex())])
    usage = x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    return _issue(
        _name(name, "node"),
        agency,
        ca_depth=None,
        extensions=[(names, False), (usage, False)],
        valid=valid,
    )


def issue_sdk_certificate(agency: IssuedCertificate, name: str) -> IssuedCertificate:
    """Return a client's certificate, which the gateway does not accept as a node's."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return _issue(_name(name, "sdk"), agency, ca_depth=None, extensions=[(usage, False)])
