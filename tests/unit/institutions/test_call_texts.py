"""What a voter reads of a proposal's calls."""

from dataclasses import replace

import pytest

from lowu.contracts.registry import GOVERNANCE_ADDRESS, Jurisdiction, OrgStatus, Role
from lowu.contracts.schemas.bundled import SCHEMAS
from lowu.institutions.ledger.call_texts import KnownOrg, describe_call, tell_call
from lowu.institutions.ledger.governance import (
    accreditation_calls,
    admission_calls,
    route_calls,
    schema_calls,
    status_calls,
)

ORGS = {9: KnownOrg("bank", "0x" + "01" * 20, b"\2" * 33)}
KNOWN = {schema.number: schema for schema in SCHEMAS.values()}
ECR = SCHEMAS["cn.ecr/1"]


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        (status_calls(9, OrgStatus.SUSPENDED), "setOrgStatus: org 9 (bank), status 2 (SUSPENDED)"),
        (status_calls(8, OrgStatus.EXITED), "org 8 (unknown here), status 3 (EXITED)"),
        (status_calls(9, 200), "status 200 (unknown)"),
        (accreditation_calls(9, ECR), "org 9 (bank), schema 1 (cn.ecr/1), untilHeight 0"),
        (route_calls(Jurisdiction.SZ, Jurisdiction.HK), "from 1 (SZ), to 2 (HK), isOpen True"),
        (schema_calls(ECR), f"schemaHash 0x{ECR.digest.hex()} (as here), jurisdiction 0 (any), "),
        (schema_calls(replace(ECR, valid_days=1)), " (NOT here), "),
    ],
)
def test_numbers_are_told_with_what_they_stand_for(calls, text):
    (call,) = calls
    told = tell_call(call, ORGS, KNOWN)
    assert text in told and told.startswith("OrgRegistry.")


def test_roles_are_told_one_by_one():
    roles = Role.ISSUER | Role.GOVERNOR
    keys = {"account": b"\1" * 20, "document_key": b"\2" * 33}
    calls = admission_calls(9, "bank", Jurisdiction.HK, roles, **keys)
    admit, account, key = (tell_call(call, ORGS, KNOWN) for call in calls)
    assert admit.endswith("jurisdiction 2 (HK), roles 66 (ISSUER|GOVERNOR)")
    assert f"account 0x{'01' * 20} (as here), roles 66" in account
    assert "keyId 1, suite 1 (SHA256_P256), publicKey 0x0202" in key and key.endswith("(as here)")


def test_another_s_name_account_and_key_under_a_known_number_are_told():
    keys = {"account": b"\6" * 20, "document_key": b"\7" * 33}
    for call in admission_calls(9, "evilcorp", Jurisdiction.HK, Role.ISSUER, **keys):
        assert "org 9 (bank)" in tell_call(call, ORGS, KNOWN)
        assert "(NOT here)" in tell_call(call, ORGS, KNOWN)
        assert "NOT here" not in tell_call(call, {}, KNOWN)


def test_what_would_not_be_told_is_unknown():
    """Bytes after the values do nothing today; a voter is shown all or nothing."""
    address, data = status_calls(9, OrgStatus.ACTIVE)[0]
    for call in (
        (address, data + b"\0"),
        (address, data[:-1]),
        (address, b"\1\2\3\4" + data[4:]),
        (GOVERNANCE_ADDRESS, data),
        (b"\7" * 20, data),
    ):
        raw = f"0x{call[0].hex()} 0x{call[1].hex()}"
        assert tell_call(call, ORGS, KNOWN) == f"unknown: {raw}"
        assert describe_call(call) == raw
    assert describe_call((address, data)) == "OrgRegistry.setOrgStatus(9, 1)"
