"""Accounts sign like eth-account."""

import subprocess
import sys

from eth_account import Account as Reference
from hypothesis import given, settings
from hypothesis import strategies as st

from lowu.contracts.account import Account

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
keys = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


@settings(deadline=None)  # eth-account is pure Python where coincurve is missing
@given(
    key=keys,
    to=st.one_of(st.just(b""), st.binary(min_size=20, max_size=20)),
    data=st.binary(max_size=300),
    gas=st.integers(0, 2**40),
    nonce=st.integers(0, 2**40),
    chain_id=st.integers(1, 2**53),
    value=st.integers(0, 2**100),
)
def test_transactions(key, to, data, gas, nonce, chain_id, value):
    raw, tx_hash = Account(key).sign_transaction(
        to=to, data=data, gas=gas, nonce=nonce, chain_id=chain_id, value=value
    )
    fields = {"to": to, "data": data, "gas": gas, "nonce": nonce, "value": value, "gasPrice": 0}
    expected = Reference.from_key(key).sign_transaction({**fields, "chainId": chain_id})
    assert (raw, tx_hash) == (bytes(expected.raw_transaction), bytes(expected.hash))


@settings(deadline=None)
@given(key=keys, digest=st.binary(min_size=32, max_size=32))
def test_digests_and_addresses(key, digest):
    account, reference = Account(key), Reference.from_key(key)
    assert account.address == reference.address
    expected = Reference.unsafe_sign_hash(digest, key)
    v, r, s = account.sign_digest(digest)
    assert (27 + v, r, s) == (expected.v, expected.r, expected.s)


def test_commands_that_sign_do_not_load_what_is_slow():
    modules = (
        "lowu.institutions.ledger.transactor, lowu.institutions.exchange.consent, "
        "lowu.institutions.service.recording, lowu.node.topology.network"
    )
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & {"eth_account", "eth_keyfile", "py_ecc", "eth"}
