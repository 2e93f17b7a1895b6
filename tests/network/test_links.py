"""Which peers may link to a node: certificates, node ids, frames (F34, B39)."""

import json
import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from lowu.node.gateway.framing import HEADER, FrameKind, encode_frame
from lowu.node.gateway.gateway import PROTOCOL_VERSION
from lowu.node.topology.node_certificates import (
    IssuedCertificate,
    issue_agency_ca,
    issue_consortium_ca,
    issue_node_certificate,
    issue_sdk_certificate,
)
from lowu.node.topology.plan import derive_key
from lowu.node.topology.tree import load_tree
from tests.network.kit import height_of, rpc, wait_until


def agency_of(network, name="hkstp"):
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    folder = network.directory / "ca" / name
    certificate = x509.load_pem_x509_certificate((folder / "agency.crt").read_bytes())
    return IssuedCertificate(
        certificate, load_pem_private_key((folder / "agency.key").read_bytes(), None)
    )


def connect(network, issued, chain, tmp_path):
    """Return a TLS connection to node0, made with that certificate."""
    (tmp_path / "peer.crt").write_bytes(issued.certificate_pem + chain.certificate_pem)
    (tmp_path / "peer.key").write_bytes(issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(network.directory / "ca" / "ca.crt")
    context.load_cert_chain(tmp_path / "peer.crt", tmp_path / "peer.key")
    port = network.nodes[0]["p2p_port"]
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    return context.wrap_socket(plain)


def received(link):
    try:
        return link.recv(4096)
    except (ssl.SSLError, OSError):
        return b""


def node_key(network, name):
    plan = load_tree(network.directory)
    return plan.find_node(name).key.node_id


CASES = {
    "another consortium": "certificate verify failed: unable to get",
    "expired": "certificate has expired",
    "sdk certificate": "not a node certificate",
    "not a member": "not a member",
    "its own id": "same node id",
}


@pytest.mark.parametrize("case", CASES)
def test_impostors_are_refused(shared, tmp_path, case):
    agency = agency_of(shared)
    stranger = derive_key(999, "stranger") * 2
    now = datetime.now(UTC)
    if case == "another consortium":
        agency = issue_agency_ca(issue_consortium_ca("other"), "hkstp")
        issued = issue_node_certificate(agency, node_key(shared, "hkstp"), "x")
    elif case == "expired":
        valid = (now - timedelta(days=9), now - timedelta(days=1))
        issued = issue_node_certificate(agency, node_key(shared, "hkstp"), "x", valid)
    elif case == "sdk certificate":
        issued = issue_sdk_certificate(agency, "sdk")
    elif case == "not a member":
        issued = issue_node_certificate(agency, stranger, "x")
    else:
        issued = issue_node_certificate(agency, node_key(shared, "node0"), "x")
    with connect(shared, issued, agency, tmp_path) as link:
        assert received(link) == b"", "the node sends nothing"
    wait_until(lambda: CASES[case].lower() in shared.log("node0").lower(), "it is logged")


def test_plain_bytes_and_bad_frames_cost_the_link_only(shared, tmp_path):
    port = shared.nodes[0]["p2p_port"]
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(600), b""):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.sendall(data)
    agency = agency_of(shared)
    issued = issue_node_certificate(agency, node_key(shared, "hkstp"), "x")
    for data in (
        HEADER.pack(2**32 - 1, FrameKind.CONSENSUS),
        HEADER.pack(0, FrameKind.PING),
        HEADER.pack(5, 200) + bytes(4),
        encode_frame(FrameKind.CONSENSUS, b"before any HELLO"),
        encode_frame(FrameKind.HELLO, [PROTOCOL_VERSION, bytes(32)]),
        encode_frame(FrameKind.HELLO, [PROTOCOL_VERSION + 1, bytes(32)]),
    ):
        with connect(shared, issued, agency, tmp_path) as link:
            link.sendall(data)
            while received(link):
                pass
    shared.wait_until_level()  # the real link is back
    before = height_of(shared.url)
    shared.__class__(shared.directory)  # commits a probe, and waits until all nodes have it
    assert height_of(shared.url) > before


def test_a_member_that_sends_nonsense_costs_its_link_only(shared, tmp_path):
    """Any member may be hostile, including observers."""
    status = json.loads(rpc(shared.url, "getSyncStatus", "group0", "")["result"])
    hello = encode_frame(FrameKind.HELLO, [PROTOCOL_VERSION, bytes.fromhex(status["genesisHash"])])
    # Of two links, the one dialled by the smaller id stays: have the smaller id, and replace it.
    member = min(load_tree(shared.directory).nodes, key=lambda node: node.key.node_id)
    assert member.name != "node0"
    agency = agency_of(shared, member.spec.institution)
    issued = issue_node_certificate(agency, member.key.node_id, "x")
    for kind, value in (
        (FrameKind.REQUEST, [1, ["txs", [[]]]]),
        (FrameKind.REQUEST, [1, ["txs", 5]]),
        (FrameKind.REQUEST, [1, ["blocks", -1, 10**9]]),
        (FrameKind.REQUEST, [1, ["proposal", 2**63, b""]]),
        (FrameKind.REQUEST, [1, ["proposal", 1, "x"]]),
        (FrameKind.REQUEST, [1, ["what"]]),
        (FrameKind.REQUEST, 7),
        (FrameKind.RESPONSE, [1, []]),
        (FrameKind.RESPONSE, [[], []]),
        (FrameKind.SYNC_STATUS, [2**62, bytes(32), False]),
        (FrameKind.SYNC_STATUS, [2**40, bytes(32), True]),
        (FrameKind.SYNC_STATUS, ["x"]),
        (FrameKind.TRANSACTIONS, [b"", b"\xc0", 7]),
        (FrameKind.TRANSACTIONS, {}),
        (FrameKind.CONSENSUS, b"\x91\x07"),
        (FrameKind.CONSENSUS, [1]),
        (FrameKind.TRANSACTIONS, [[[]] * 5000] * 40),
    ):
        with connect(shared, issued, agency, tmp_path) as link:
            link.settimeout(3)
            with suppress(OSError):
                link.sendall(hello + encode_frame(kind, value))
            received(link)
    states = {node["name"]: node["exit_code"] for node in shared.status()}
    assert set(states.values()) == {None}
    shared.__class__(shared.directory)  # a probe is committed
