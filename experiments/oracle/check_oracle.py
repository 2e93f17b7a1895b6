"""The nine checks once more, written from docs/PACKAGE.md alone: an oracle for the first.

Nothing is shared with `lowu.institutions`. The world is a plain dict, which `judge` describes.
"""
# mypy: allow-untyped-defs, allow-untyped-calls

from types import SimpleNamespace
from typing import Any

from lowu.experiments.oracle.package_oracle import (
    BUCKETS,
    CONSENT,
    PRESENTATION,
    RefusedForm,
    anchor_of,
    check,
    check_anchor,
    check_rows,
    consent_digest,
    do_agree,
    doc_digest,
    file_digest_of,
    is_in_batch,
    is_ordered,
    is_shown,
    is_signed,
    is_under,
    leaf_hash,
    need,
    open_object,
    presentation_digest,
    presentation_id,
    raw,
    request_digest,
    root_of,
    sha,
    subject_commitment,
)

CLOCK_SLACK_S, REGISTER_WITHIN_S, HEAD_AGE_MAX_S = 120, 86_400, 600
UNKNOWN = {"ATTACHMENT_MISSING", "NOT_PROMISED", "FRESHNESS_UNKNOWN"}


def is_one_file(by_path):
    """Whether a document of a file profile has its file, and nothing beside it."""
    return by_path.keys() == {"", "/file"} and by_path[""][4] == "1"


def check_integrity(c):
    """V2."""
    header, version, is_fields = c.header, c.header["v"], c.header["profile"] == "fields"
    pairs, digest = list(zip(c.rows, c.shown["hashes"], strict=False)), file_digest_of(c.by_path)
    leaves = {row[0]: leaf for row, leaf in pairs if row[0] < header["leaf_count"]}
    root = root_of(leaves, c.shown["siblings"], header["leaf_count"]) if header["leaf_count"] else 0
    told = {row[1]: row[4].split(":")[1:3] for row in c.rows if row[3] == 9}
    given = {path: [sha(file).hex(), str(len(file))] for path, file in c.files.items()}
    must = list(c.schema["must_disclose"]) if is_fields else ["/file"]
    if is_fields and version == 1:
        must = list(c.schema.get("first_must_disclose", must))
    is_whole = header["leaf_count"] in BUCKETS and len(c.rows) == len(c.shown["hashes"])
    return {
        "TAMPERED_FIELD": any(
            leaf_hash(c.schema["number"], row, version).hex() != leaf for row, leaf in pairs
        )
        or any(told.get(path, each) != each for path, each in given.items()),
        "PROOF_INVALID": root != raw(header["root"])
        or not (is_whole and is_ordered(c.rows, header) and do_agree(header, c.rows)),
        "TAMPERED_HEADER": header["sensitivity"] != c.schema["sensitivity"]
        or header["must_disclose"] != must
        or not (is_fields or digest)
        or not (is_fields or version == 1 or is_one_file(c.by_path))
        or anchor_of(header, c.anchor[1], c.anchor[2], digest).hex() != c.anchor[3],
        "MANDATORY_FIELD_HIDDEN": any(
            not (path in c.by_path and is_shown(c.by_path, path, version)) for path in must
        ),
        "ATTACHMENT_UNEXPECTED": given.keys() - told.keys(),
        "ATTACHMENT_MISSING": told.keys() - given.keys(),
        "NOT_PROMISED": version == 1 or header["profile"] == "file-plain",
    }


def check_issuer(c):
    """V3."""
    issuer, org = c.orgs.get(c.header["issuer_org"]), c.header["issuer_org"]
    if issuer is None:
        return {"ISSUER_UNKNOWN": True}
    key, signature = c.keys.get((org, c.header["key_id"])), c.shown["issuer_signature"]
    windows = c.accreditations.get((org, c.schema["number"]), [])
    route = (issuer["jurisdiction"], c.receiver["jurisdiction"])
    return {
        "ISSUER_NOT_ACCREDITED": not any(
            since <= c.height and (not until or c.height < until) for since, until in windows
        ),
        "ISSUER_SUSPENDED": issuer["status"] != "ACTIVE" or c.now < issuer["suspended_until_s"],
        "JURISDICTION_RULE": c.header["jurisdiction"] != route[0] or route not in c.routes,
        "KEY_RETIRED_BEFORE": key and 0 < key["retired"] <= c.height,
        "KEY_COMPROMISED": key and 0 < key["compromised"] <= c.height,
        "SIG_INVALID": not key
        or not is_signed(key["public"], doc_digest(c.header), signature, c.header["v"]),
    }


def check_record(c):
    """V4."""
    record = c.record
    if not c.is_registered:
        return {"NOT_REGISTERED": True}
    says = [record[name] for name in ("key_id", "schema", "suite", "valid_until_day")]
    days = c.header["valid_until"] // 86_400
    return {
        "PENDING_WITNESS": record["state"] == "PENDING_WITNESS",
        "NOT_FINAL": record["height"] > c.block["height"],
        "TAMPERED_HEADER": says != [c.header["key_id"], c.schema["number"], 1, days],
    }


def check_status(c):
    """V5."""
    if not c.is_registered:
        return {}
    state, is_old = c.record and c.record["state"], c.now_s - c.block["time_s"] > HEAD_AGE_MAX_S
    if state in ("REVOKED", "SUSPENDED", "SUPERSEDED", "ERASED"):
        return {state: True}
    return {"FRESHNESS_UNKNOWN": is_old or c.block["height"] < c.seen_height}


def check_time(c):
    """V6."""
    reported, issued = c.header["report_time"], c.header["issued_at"]
    registered = c.record and c.record["time_s"]
    limits = [limit for limit in (c.schema["max_age_s"], c.max_age_s) if limit is not None]
    return {
        "NOT_YET_VALID": c.header["valid_from"] > c.now
        or reported > c.now + CLOCK_SLACK_S
        or (c.record and max(reported, issued) > registered + CLOCK_SLACK_S),
        "EXPIRED": c.now > c.header["valid_until"],
        "STALE": any(c.now - reported > limit for limit in limits),
        "REGISTERED_LATE": c.record and registered > issued + REGISTER_WITHIN_S,
    }


def check_holder(c):
    """V7."""
    header, version, signature = c.header, c.header["v"], c.shown["holder_signature"]
    request = c.request or {"schema": header["schema"], "fields": []}
    states = [is_shown(c.by_path, path, version) for path in request["fields"]]
    digest = presentation_digest(c.shown)
    kind, value = c.subject
    commitment = subject_commitment(kind, value, c.shown["subject_salt"], version).hex()
    return {
        "HOLDER_PROOF_MISSING": not signature,
        "HOLDER_MISMATCH": not is_signed(header["holder_key"], digest, signature)
        or c.request is None
        or request_digest(c.request).hex() != c.shown["request"],
        "SUBJECT_MISMATCH": commitment != header["subject_commitment"],
        "SCHEMA_MISMATCH": request["schema"] != header["schema"],
        "FIELDS_NOT_SHOWN": False in states,
        "NOT_PROMISED": None in states,
    }


def check_consent(c):
    """V8."""
    header, consent = c.header, c.shown["consent"]
    if consent is None:
        return {"CONSENT_MISSING": True}
    digest, fields = consent_digest(consent), consent["fields"]
    nothing = {"granted": 0, "withdrawn": 0, "expires_at": 0}
    logged = c.consents.get((consent["ledger_key"], digest.hex()), nothing)
    about = [consent["holder_key"], consent["doc_id"], consent["provider_org"]]
    is_across = header["jurisdiction"] != c.receiver["jurisdiction"]
    return {
        "CONSENT_MISSING": about != [header["holder_key"], header["doc_id"], header["issuer_org"]]
        or not is_signed(header["holder_key"], digest, consent["holder_signature"])
        or (is_across and not consent["is_cross_border"])
        or (header["sensitivity"] >= 2 and not consent["is_sensitive"])
        or not logged["granted"]
        or logged["expires_at"] != consent["expires_at"],
        "CONSENT_WITHDRAWN": logged["withdrawn"],
        "CONSENT_EXPIRED": c.now >= consent["expires_at"],
        "PURPOSE_MISMATCH": c.request and consent["purpose"] != c.request["purpose"],
        # A shown leaf is at or below an agreed field, or is of a container that the field is in.
        "FIELDS_NOT_CONSENTED": not all(
            any(
                is_under(row[1], field) or (row[3] in (7, 8) and is_under(field, row[1]))
                for field in fields
            )
            for row in c.rows
        ),
        "WRONG_AUDIENCE": [consent["receiver"], consent["receiver_org"]] != c.us,
    }


def check_replay(c):
    """V9."""
    is_bound = c.header["v"] == 2 and c.header["profile"] != "file-plain"
    return {
        "WRONG_AUDIENCE": c.anchor[:2] != c.us if is_bound else c.anchor[0] != c.us[0],
        "PRESENTATION_EXPIRED": c.request and c.now > c.request["expires_at"],
        "REPLAYED": c.is_used or presentation_id(c.anchor[3], c.shown["request"]).hex() in c.used,
    }


def judge(data, world):
    """Return the results of the nine checks of a presentation, with codes, and the verdict.

    `world` has all that the receiver and its node know: now_s, block (height, time_s), seen_height,
    receiver (name, org, jurisdiction), subject, request, is_used, max_age_s, schemas, orgs, keys,
    accreditations, routes, records, consents, used, files.
    """
    report: dict[str, Any] = {"V1": ("PASS", [])}
    report |= {f"V{number}": ("SKIPPED", []) for number in range(2, 10)}
    try:
        shown = open_object(data, {"dvp2-presentation": (1, 2)}, PRESENTATION, world["schemas"])
        check_rows(shown["disclosures"], shown["header"])
        check_anchor(shown["anchor"])
        need(shown["consent"] is None or check(shown["consent"], CONSENT, "consent"), "")
    except RefusedForm as error:
        return report | {"V1": ("FAIL", [error.args[1]]), "verdict": "REJECT"}
    c = SimpleNamespace(**world, shown=shown, header=shown["header"], anchor=shown["anchor"])
    c.schema, c.rows = c.schemas[c.header["schema"]], shown["disclosures"]
    c.by_path, c.now = {row[1]: row for row in c.rows}, max(c.now_s, c.block["time_s"])
    c.us = [c.receiver["name"], c.receiver["org"]]
    registered = c.anchor[5][0] if c.anchor[5] else c.anchor[3]
    c.record = c.records.get((c.header["issuer_org"], registered))
    c.is_registered = c.record is not None and (
        is_in_batch(c.anchor[3], c.anchor[5], c.record["count"])
        if c.anchor[5]
        else not c.record["count"]
    )
    c.height = c.record["height"] if c.record else c.block["height"]
    checks = (
        check_integrity,
        check_issuer,
        check_record,
        check_status,
        check_time,
        check_holder,
        check_consent,
        check_replay,
    )
    for number, each in enumerate(checks, 2):
        codes = [code for code, is_found in each(c).items() if is_found]
        passed = "SKIPPED" if each is check_status and not c.is_registered else "PASS"
        result = "UNKNOWN" if set(codes) <= UNKNOWN else "FAIL"
        report[f"V{number}"] = (result if codes else passed, codes)
    results = {result for result, _ in report.values()}
    verdict = "ACCEPT" if results == {"PASS"} else "INDETERMINATE"
    return report | {"verdict": "REJECT" if "FAIL" in results else verdict}
