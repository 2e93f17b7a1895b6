"""Mutual TLS 1.3, and the binding of a certificate to a node id.

A node certificate names its node id in a subject alternative name (``urn:lowu:node:…``). A
peer is refused before any consensus byte unless its chain leads to the consortium's CA, its
certificate is in date and of a node, and the node id is a member of the group.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from cryptography import x509

from lowu.node.errors import BadInput, ConfigError

NODE_URN = "urn:lowu:node:"


def build_contexts(conf: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return server and client contexts from ca.crt, ssl.crt and ssl.key in `conf`."""
    contexts = []
    for purpose in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(purpose)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # peers are known by node id, not by name
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(conf / "ca.crt")
            context.load_cert_chain(conf / "ssl.crt", conf / "ssl.key")
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{conf}: ca.crt, ssl.crt or ssl.key cannot be used ({error}). They must stand "
                "there, be readable, and belong together."
            ) from error
        contexts.append(context)
    # No session is ever resumed. Tickets that a peer has not read when it closes would make the
    # kernel answer with a reset: its end would look like a failure (OpenSSL 3.5).
    contexts[0].num_tickets = 0
    return contexts[0], contexts[1]


def read_node_id(certificate: bytes | None) -> bytes:
    """Return the node id that a peer's DER certificate names, or `BadInput`."""
    if certificate is None:
        raise BadInput("peer sent no certificate")
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise BadInput("peer certificate is not a node certificate") from error
    found = [uri.removeprefix(NODE_URN) for uri in uris if uri.startswith(NODE_URN)]
    if len(found) != 1 or len(found[0]) != 128:
        raise BadInput("peer certificate does not name one node id")
    try:
        return bytes.fromhex(found[0])
    except ValueError as error:
        raise BadInput("peer certificate names a malformed node id") from error
