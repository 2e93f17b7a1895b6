"""The exchange as version 1 had it: what an issuer made, and what a receiver checked.

Written from the first revision of docs/PACKAGE.md, on plain dicts, so that tests can show which
attacks it fell to. Proofs, consents and batches are left out: these attacks do not need them.
"""

import hashlib
import hmac
import json

from lowu.institutions.package.signatures import DocumentKey, is_signed_by

NOW_S = 1_800_000_000
ISSUER, HOLDER = DocumentKey(b"\x05" * 32), DocumentKey(b"\x06" * 32)
MUST = ("/header/report_no", "/header/uscc", "/summary/overdue_accounts")


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def canonical(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def sized(data, width=2):
    return len(data).to_bytes(width, "big") + data


def flatten(value, path=""):
    """Yield path, type and value of scalars and empty containers; others are no leaves."""
    if isinstance(value, dict) and value:
        for key in value:
            yield from flatten(value[key], f"{path}/{key}")
    elif isinstance(value, list) and value:
        for position, item in enumerate(value):
            yield from flatten(item, f"{path}/{position}")
    else:
        kinds = {type(None): 0, bool: 2, int: 3, str: 5, list: 7, dict: 8}
        text = value if isinstance(value, str) else "" if not isinstance(value, int) else str(value)
        yield path, kinds[type(value)], text


def leaf_hash(path, kind, value, salt):
    return sha(
        b"\x00dvp1-leaf\x00\x00\x00\x01",
        sized(path.encode()),
        bytes([kind]),
        sized(value.encode(), 4),
        salt,
    )


def root_of(hashes):
    if len(hashes) == 1:
        return hashes[0]
    middle = 1 << ((len(hashes) - 1).bit_length() - 1)
    return sha(b"\x01", root_of(hashes[:middle]), root_of(hashes[middle:]))


def build(content, seed=b"s" * 32):
    """Return the rows [index, path, type, value, salt] of a document, by path, and all hashes."""
    rows = sorted(flatten(content), key=lambda row: row[0].encode())
    salts = [hmac.digest(seed, b"salt" + path.encode(), "sha256") for path, *_ in rows]
    named = [[n, *row, salt] for n, (row, salt) in enumerate(zip(rows, salts, strict=True))]
    hashes = [leaf_hash(*row[1:]) for row in named]
    size = next(bucket for bucket in (32, 64, 128, 256) if bucket >= len(hashes))
    pads = [hmac.digest(seed, b"saltpad %d" % n, "sha256") for n in range(len(hashes), size)]
    return named, hashes + [leaf_hash("", 15, "", salt) for salt in pads]


def doc_digest(header):
    return sha(b"dvp1-doc", canonical(header))


def anchor_of(header, blind, file=b""):
    covered = doc_digest(header) if header["profile"] == "fields" else sha(file)
    return sha(b"dvp1-anchor", covered, blind)


def issue(content, schema="cn.ecr/1", profile="fields", valid_until=NOW_S + 30 * 86_400):
    """Return a document's header, rows, hashes and its issuer's signature."""
    rows, hashes = build(content)
    header = {
        "schema": schema,
        "profile": profile,
        "root": root_of(hashes).hex(),
        "holder_key": HOLDER.public_key.hex(),
        "valid_until": valid_until,
        "report_time": NOW_S,
    }
    return header, rows, hashes, ISSUER.sign(doc_digest(header))


def present(document, request, label, blind, shown, file=b""):
    """Return what a holder sent: signed by it over everything, the request's key not included."""
    header, rows, hashes, signature = document
    told = {
        "header": header,
        "rows": [row for row in rows if shown(row[1])],
        "others": dict(enumerate(hashes)),
        "label": label,
        "blind": blind,
        "anchor": anchor_of(header, blind, file),
        "signature": signature,
        "audience": request["receiver"],
        "nonce": request["nonce"],
        "expires_at": request["expires_at"],
    }
    return told | {"holder": HOLDER.sign(digest_of(told))}


def digest_of(told):
    parts = [doc_digest(told["header"]), told["anchor"], told["audience"].encode(), told["nonce"]]
    return sha(b"dvp1-present", *parts, b"%d" % told["expires_at"], repr(told["rows"]).encode())


def judge(told, request, registered, block_time_s, files=None):
    """Return what a receiver found wrong; empty if it accepted.

    `registered` has the state of each anchor on the ledger, by anchor.
    """
    header, wrong = told["header"], []
    places = [(row[0], row[1].encode()) for row in told["rows"]]
    if places != sorted(set(places)):
        wrong.append("PROOF_INVALID")
    hashes = [told["others"][n] for n in range(len(told["others"]))]
    if root_of(hashes).hex() != header["root"]:
        wrong.append("PROOF_INVALID")
    if any(leaf_hash(*row[1:]) != hashes[row[0]] for row in told["rows"]):
        wrong.append("TAMPERED_FIELD")
    given = files or {}  # files without a leaf of type 9 were not looked at
    compared = [row for row in told["rows"] if row[2] == 9 and row[1] in given]
    wrong += ["TAMPERED_FIELD" for row in compared if sha(given[row[1]]).hex() not in row[3]]
    file = next((files[path] for path in files or {}), b"")
    if anchor_of(header, told["blind"], file) != told["anchor"]:
        wrong.append("TAMPERED_HEADER")
    if header["profile"] == "fields" and header["schema"] == "cn.ecr/1":
        paths = {row[1] for row in told["rows"]}
        wrong += ["MANDATORY_FIELD_HIDDEN" for path in MUST if path not in paths]
    if not is_signed_by(ISSUER.public_key, doc_digest(header), told["signature"]):
        wrong.append("SIG_INVALID")
    if registered.get(told["anchor"]) != "ACTIVE":
        wrong.append(registered.get(told["anchor"], "NOT_REGISTERED"))
    if block_time_s > header["valid_until"]:
        wrong.append("EXPIRED")
    if not is_signed_by(bytes.fromhex(header["holder_key"]), digest_of(told), told["holder"]):
        wrong.append("HOLDER_MISMATCH")
    if told["nonce"] != request["nonce"]:
        wrong.append("HOLDER_MISMATCH")
    if {told["label"], told["audience"]} != {request["receiver"]}:
        wrong.append("WRONG_AUDIENCE")
    if block_time_s > request["expires_at"] or told["expires_at"] != request["expires_at"]:
        wrong.append("PRESENTATION_EXPIRED")
    return wrong


def check_validators(proven, trusted):
    """Return what a receiver found wrong with the signers of a proof; there was no third way."""
    return "" if proven == trusted else "PROOF_INVALID"
