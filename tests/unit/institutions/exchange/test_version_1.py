"""Version 1 of the exchange fell to its own parties; what each test does, version 2 refuses.

Beside each attack stands what refuses it today.
"""

import pytest

from tests.unit.institutions.exchange import version_1 as old

REPORT = {
    "header": {"report_no": "R-1", "uscc": "91440300MA5DEM012D"},
    "loans": [{"amount": "10.00"} for _ in range(8)],
    "summary": {"overdue_accounts": 3},
}
REQUEST = {
    "receiver": "nova",
    "nonce": b"n" * 16,
    "expires_at": old.NOW_S + 600,
    "sealing_key": b"nova's",
    "schema": "cn.ecr/1",
    "fields": [""],
}
BLIND = b"b" * 32


def everything(path):
    return True


@pytest.fixture
def document():
    return old.issue(REPORT)


def show(document, shown=everything, blind=BLIND, **changes):
    return old.present(document, REQUEST | changes, "nova", blind, shown)


def accepted(told, registered=None, block_time_s=old.NOW_S, **options):
    states = {told["anchor"]: "ACTIVE"} | (registered or {})
    return old.judge(told, REQUEST, states, block_time_s, **options) == []


def test_an_honest_holder_is_accepted_and_a_changed_field_is_not(document):
    told = show(document)
    assert accepted(told)
    told["rows"][0][3] = "R-2"
    assert not accepted(told)


def test_n_h1_the_key_of_a_stranger_changes_nothing_in_the_answer(document):
    """Today: `lowu attack relay`, test_requests.py."""
    relayed = show(document, sealing_key=b"a stranger's")
    assert accepted(relayed)
    assert old.digest_of(relayed) == old.digest_of(show(document))


def test_n_h2_another_receivers_anchor_is_labelled_ours(document):
    """Today: `lowu attack retarget`."""
    ours, theirs = old.anchor_of(document[0], BLIND), old.anchor_of(document[0], b"c" * 32)
    told = show(document, blind=b"c" * 32)
    assert told["anchor"] == theirs
    assert accepted(told, {ours: "REVOKED", theirs: "ACTIVE"})


def test_n_h3_the_answer_is_not_held_against_the_question(document):
    """Today: `lowu attack omit`, test_containers.py."""
    assert accepted(show(document, lambda path: path in old.MUST))
    assert accepted(show(document, lambda path: not path.startswith(("/loans/6", "/loans/7"))))
    other = old.issue({"header": {"file_no": "K-1"}}, schema="grp.kyc/1")
    assert accepted(show(other))


def test_n_h5_a_long_path_is_no_error_that_a_desk_knew():
    """Today: `lowu attack end-desk`, BAD_LEAVES in test_verification.py, test_services.py."""
    with pytest.raises(OverflowError):
        old.leaf_hash("/" + "a" * 65_536, 5, "x", b"s" * 32)


def test_n_m5_a_genuine_proof_is_called_forged_once_validators_have_changed():
    """Today: test_validators_that_are_not_known_prove_nothing in test_offline.py."""
    before, after = ((b"a", 1), (b"b", 1)), ((b"a", 1), (b"c", 1))
    assert old.check_validators(before, trusted=before) == ""
    assert old.check_validators(after, trusted=before) == "PROOF_INVALID"


def test_n_m1_time_stands_still_on_an_idle_ledger(document):
    """Today: `lowu attack freeze`, test_freshness.py."""
    expired = old.issue(REPORT, valid_until=old.NOW_S + 60)
    assert accepted(show(expired), block_time_s=old.NOW_S)  # whatever the receiver's clock says
    told = show(document)
    assert not accepted(told, {told["anchor"]: "REVOKED"})
    assert accepted(told, {told["anchor"]: "ACTIVE"})  # later, by a node that stands still


def test_n_m8_a_revoked_header_with_a_newer_anchor():
    """Today: `lowu attack swap-file`."""
    scan = b"%PDF a scan"
    value = f"sha-256:{old.sha(scan).hex()}:{len(scan)}"
    revoked, newer = (old.issue({"file": value}, profile="file-blind") for _ in range(2))
    revoked[0]["report_time"] -= 86_400
    revoked = (*revoked[:3], old.ISSUER.sign(old.doc_digest(revoked[0])))
    told = old.present(newer, REQUEST, "nova", BLIND, everything, scan)
    mixed = told | {"header": revoked[0], "signature": revoked[3]}
    mixed["holder"] = old.HOLDER.sign(old.digest_of(mixed))
    assert accepted(mixed, files={"/file": scan})


def test_n_m9_a_file_that_is_not_shown_is_ignored(document):
    """Today: test_files in test_verification.py."""
    assert accepted(show(document), files={"/Annex": b"forged"})
    header, *_ = document
    row = [0, "/Annex", 9, f"sha-256:{'00' * 32}:7", b"t" * 32]
    hashes = [old.leaf_hash(*row[1:])] * 32
    attached = header | {"root": old.root_of(hashes).hex(), "schema": "x"}
    assert accepted(show((attached, [row], hashes, old.ISSUER.sign(old.doc_digest(attached)))))


def test_n_m10_places_tell_how_many_there_are():
    """Today: test_places_tell_nothing_about_what_is_hidden."""
    gaps = []
    for count in (0, 1, 3, 8):
        rows, _ = old.build(REPORT | {"loans": [{"amount": "1", "due": "2"}] * count})
        places = {row[1]: row[0] for row in rows}
        gaps.append(places["/summary/overdue_accounts"] - places["/header/uscc"])
    assert gaps == [2, 3, 7, 17]  # two for each loan, one for an empty list


def test_n_m12_types_and_values_need_not_agree(document):
    """Today: BAD_LEAVES in test_verification.py."""
    header, rows, _, _ = document
    salt = b"t" * 32
    row = [0, "/approved", 2, "false", salt]  # TRUE
    hashes = [old.leaf_hash(*row[1:])] * 32
    forged = header | {"root": old.root_of(hashes).hex(), "schema": "x"}
    told = show((forged, [row], hashes, old.ISSUER.sign(old.doc_digest(forged))))
    assert accepted(told) and rows


def test_n_d4_two_documents_have_one_root():
    """Today: test_different_documents_have_different_leaves."""
    one, two = {"x": ["v"]}, {"x": {"0": "v"}}
    assert old.build(one) == old.build(two)
