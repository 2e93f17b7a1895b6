"""A second reader of packages, written from docs/PACKAGE.md alone: an oracle for the first.

It shares no code with it. It works on plain JSON values, and does not read proofs of registration,
trust files, or what is sealed. Digests are returned as bytes, and taken as bytes or hex.
"""
# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import datetime as dt
import hashlib
import hmac
import itertools
import json
import re
import unicodedata

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec, utils

INTEGER_MAX = 2**53 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
BUCKETS = (32, 64, 128, 192, 256, 384, 512)
FILE = re.compile("sha-256:([0-9a-f]{64}):([0-9]+):([a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+)")
OLD_FILE = re.compile("sha-256:([0-9a-f]{64}):([0-9]+)()")
PURPOSES = ["LOAN", "ACCOUNT", "CARD", "MORTGAGE", "KYC_REFRESH", "ADMISSION", "CARE", "RESIDENCE"]

# Fields, each with its form: see fits()
HEADER = """v=int suite=name profile=name doc_id=hex,16 schema=name
    issuer_org=org key_id=org report_time=int issued_at=int valid_from=int valid_until=int
    holder_key=hex,64 subject_commitment=hex,32 leaf_count=int root=hex,32 supersedes=hex,0,32
    jurisdiction=name sensitivity=int must_disclose=list,512,path"""
CONSENT = """receipt_id=name holder_key=hex,64 doc_id=hex,16 provider_org=org receiver=name
    receiver_org=org purpose=purpose fields=list,512,path basis=name is_cross_border=flag
    is_sensitive=flag retention_days=int
    onward_transfer=any issued_at=int expires_at=int ledger_key=hex,20 holder_signature=hex,64"""
PACKAGE = """format=name header=any disclosures=list,512,any leaves=list,512,hex,32
    anchors=list,64,any issuer_signature=hex,64 subject_salt=hex,32 seed=hex,113"""
PRESENTATION = """format=name header=any disclosures=list,512,any hashes=list,512,hex,32
    siblings=list,512,hex,32 anchor=any issuer_signature=hex,64 subject_salt=hex,32 consent=any
    request=hex,32 nonce=hex,16 holder_signature=hex,0,64"""
DISCLOSURE = "index=int path=path kinds=text type=int value=text salt=hex,32"
ANCHOR = "audience=name org=org blind=hex,32 anchor=hex,32 height=int batch=any proof=any"
OLD_ANCHOR = ANCHOR.replace("org=org ", "")
BATCH = "root=hex,32 index=org path=list,16,hex,32"  # an index has two bytes, like an organisation


class RefusedForm(Exception):
    """What cannot be read: the reason, and its code."""


def need(condition, why, code="PKG_MALFORMED"):
    """Raise `RefusedForm` unless a condition holds."""
    if not condition:
        raise RefusedForm(why, code)


def canonical(value, depth=0):
    """Return the canonical encoding of a JSON value."""
    if value is None or type(value) is bool:
        return json.dumps(value).encode()
    if type(value) is int:
        need(abs(value) <= INTEGER_MAX, "an integer is out of range")
        return b"%d" % value
    if type(value) is str:
        is_good = not re.search(r"[\ud800-\udfff]", value) and len(value) <= 65_536
        need(is_good and unicodedata.is_normalized("NFC", value), "a string is too long or not NFC")
        return json.dumps(value, ensure_ascii=False).encode()
    need(type(value) in (list, dict) and depth < 16, "it has a float, or is nested too deeply")
    if type(value) is list:
        return b"[" + b",".join([canonical(item, depth + 1) for item in value]) + b"]"
    need(all(type(key) is str and key.isascii() for key in value), "a key is not ASCII")
    pairs = [canonical(key) + b":" + canonical(value[key], depth + 1) for key in sorted(value)]
    return b"{" + b",".join(pairs) + b"}"


def parse(data, size_max=4 * 1024 * 1024):
    """Return the value that canonical bytes encode."""
    need(len(data) <= size_max, "it is too large")
    marks = re.sub(rb'"(?:[^"\\]|\\.)*+"?', b"", data, flags=re.DOTALL)
    need(sum(map(marks.count, (b"[", b"{", b","))) <= 100_000, "it has too many values")
    try:  # digits beyond the 18th change nothing: the number is out of range
        value = json.loads(bytes(data).decode("utf-8"), parse_int=lambda digits: int(digits[:18]))
    except (ValueError, RecursionError) as error:
        raise RefusedForm("it is not JSON", "PKG_MALFORMED") from error
    need(canonical(value) == data, "it is not in canonical form")  # or a key stands twice
    return value


def raw(value):
    """Return bytes, which may be given as hex."""
    return bytes.fromhex(value) if isinstance(value, str) else bytes(value)


def sha(*parts):
    """Return the SHA-256 of parts."""
    return hashlib.sha256(b"".join(parts)).digest()


def sized(data, width=2):
    """Return bytes after their length."""
    return len(data).to_bytes(width, "big") + data


def tag(name, version=2):
    """Return the tag of a name."""
    old = b"dvp1-" + name.replace("subject", "subj").encode()
    return old if version == 1 else sized(b"dvp2-" + name.encode(), 1)


def leaf_hash(schema_number, leaf, version=2):
    """Of a row [index, path, kinds, type, value, salt]; for version 1 kinds may be absent."""
    kind, value, salt = leaf[-3:]
    names = sized(leaf[1].encode()) + (sized(leaf[2].encode()) if version == 2 else b"")
    return sha(
        b"\x00",
        tag("leaf", version),
        schema_number.to_bytes(4, "big"),
        names,
        bytes([kind]),
        sized(value.encode(), 4),
        raw(salt),
    )


def root_of(leaves, siblings=(), count=None, node=b"\x01"):
    """The root that leaves (all, or {index: hash} and siblings) lead to; None if to none."""
    shown = leaves if isinstance(leaves, dict) else dict(enumerate(leaves))
    rest = [raw(sibling) for sibling in reversed(siblings)]

    def walk(first, size):
        if not any(first <= index < first + size for index in shown):
            return rest.pop()
        if size == 1:
            return raw(shown[first])
        half = 1 << ((size - 1).bit_length() - 1)
        left = walk(first, half)
        return sha(node, left, walk(first + half, size - half))

    with contextlib.suppress(IndexError):
        root = walk(0, len(shown) if count is None else count)
        return None if rest else root
    return None


def is_in_batch(anchor, batch, count):
    """An audit path goes upwards; a walk meets the left ones of it downwards, then the right."""
    root, index, path = batch
    left: list[str] = []
    right: list[str] = []
    first, size = 0, count
    for sibling in reversed(path):
        half = 1 << ((size - 1).bit_length() - 1) if size > 1 else 0
        is_left = index < first + half
        (right if is_left else left).append(sibling)
        first, size = (first, half) if is_left else (first + half, size - half)
    leaf, siblings = {index: sha(b"dvp1-b0", raw(anchor))}, left + right[::-1]
    return index < count and root_of(leaf, siblings, count, b"dvp1-b1") == raw(root)


def doc_digest(header):
    """Return the digest of a header."""
    return sha(tag("doc", header["v"]), canonical(header))


def anchor_of(header, org, blind, file_digest=None):
    """Return the anchor of a document for a receiver."""
    if header["profile"] == "file-plain":
        return raw(file_digest)
    if header["v"] == 1 and header["profile"] == "file-blind":
        return sha(tag("anchor", 1), raw(file_digest), raw(blind))
    names = sized(header["profile"].encode()) + org.to_bytes(2, "big") if header["v"] == 2 else b""
    file = raw(file_digest) if header["profile"] == "file-blind" else b""
    return sha(tag("anchor", header["v"]), names, doc_digest(header), file, raw(blind))


def request_digest(request):
    """Return the digest of a request."""
    kept = {key: request[key] for key in request if key != "format"}
    return sha(tag("request"), canonical(kept | {"signature": ""}))


def consent_digest(consent):
    """Return the digest of a consent receipt."""
    kept = consent.keys() - {"holder_signature"}
    return sha(tag("consent"), canonical({key: consent[key] for key in kept}))


def presentation_digest(presentation):
    """Return the digest that a holder signs."""
    return sha(tag("present"), canonical(presentation | {"holder_signature": ""}))


def presentation_id(anchor, request):
    """Return the id that is used up on the ledger."""
    return sha(tag("use"), raw(anchor), raw(request))


def subject_commitment(kind, value, salt, version=2):
    """Return the commitment to a document's subject."""
    return sha(tag("subject", version), *map(sized, (kind.encode(), value.encode(), raw(salt))))


def is_signed(public, digest, signature, version=2):
    """Whether a P-256 key signed a digest."""
    r, s = (int.from_bytes(half, "big") for half in (raw(signature)[:32], raw(signature)[32:]))
    with contextlib.suppress(ValueError, InvalidSignature):
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + raw(public))
        method = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
        key.verify(utils.encode_dss_signature(r, s), digest, method)
        return (
            len(raw(signature)) == 64
            and 0 < r < ORDER
            and 0 < s < (ORDER // 2 + 1 if version == 2 else ORDER)
        )
    return False


def fits(value, form):
    """Whether a value is of a form, such as "name", "hex,16" or "list,512,path"."""
    kind, *rest = form.split(",")
    if kind in ("int", "org"):
        return type(value) is int and 0 <= value <= (65_535 if kind == "org" else INTEGER_MAX)
    if kind == "list":
        return (
            type(value) is list
            and len(value) <= int(rest[0])
            and all(fits(each, ",".join(rest[1:])) for each in value)
        )
    if kind in ("any", "flag"):
        return kind == "any" or type(value) is bool
    if type(value) is not str or kind == "text":
        return type(value) is str
    if kind == "hex":
        return len(value) in [2 * int(n) for n in rest] and set(value) <= set("0123456789abcdef")
    if kind == "path":
        is_pointer = bool(re.fullmatch("(/([^~/]|~[01])*)*", value))
        return is_pointer and len(value.encode()) <= 1024 and value.count("/") <= 32
    return value in PURPOSES if kind == "purpose" else len(value) <= 64


def check(value, forms, what, is_row=False):
    """Refuse an object, or a row, whose fields are not of their forms."""
    forms = dict(form.split("=") for form in forms.split())
    if is_row:
        need(type(value) is list and len(value) == len(forms), f"the {what} has another width")
        value = dict(zip(forms, value, strict=False))
    need(type(value) is dict and value.keys() == forms.keys(), f"the {what} has other fields")
    for key, form in forms.items():
        need(fits(value[key], form), f"{key} of the {what} is malformed")
    return True


def is_under(path, other):
    """Whether a path is at or below another."""
    return f"{path}/".startswith(f"{other}/")


def is_decimal(text):
    """Whether a text is a number without leading zeros."""
    return bool(re.fullmatch("0|[1-9][0-9]{0,15}", text)) and int(text) <= INTEGER_MAX


def is_value(kind, value, version):
    """Whether a type byte and a value agree."""
    if kind in (0, 1, 2) or (kind in (7, 8) and version == 1):
        return value == ""
    if kind in (7, 8):
        return is_decimal(value) and int(value) < BUCKETS[-1]
    if kind == 3:
        return is_decimal(value.removeprefix("-")) and value != "-0"
    if kind in (4, 5, 6):
        is_date = False
        with contextlib.suppress(ValueError):
            is_date = str(dt.date.fromisoformat(value)) == value
        is_amount = re.fullmatch(r"-?(0|[1-9][0-9]*)\.[0-9]+", value)
        return kind == (4 if is_amount else 6 if is_date else 5)
    file = (FILE if version == 2 else OLD_FILE).fullmatch(value)
    return kind == 9 and file is not None and is_decimal(file[2]) and len(file[3]) <= 127


def check_rows(rows, header):
    """Refuse disclosures of a wrong form."""
    for row in rows:
        check(row, DISCLOSURE, "disclosure", is_row=True)
        index, path, kinds, kind, value, _ = row
        need(index < BUCKETS[-1], "an index is too large")
        need(is_value(kind, value, header["v"]), "type and value disagree")
        steps = path.split("/")[1:] if header["v"] == 2 else []
        need(set(kinds) <= {"o", "a"} and len(kinds) == len(steps), "kinds and path disagree")
        are_good = [
            letter == "o" or is_decimal(step) for step, letter in zip(steps, kinds, strict=False)
        ]
        need(all(are_good), "a position is malformed")


def is_ordered(rows, header):
    """Whether rows ascend by index, and by salt or, in version 1, by path."""
    places = [(row[0], row[5] if header["v"] == 2 else row[1].encode()) for row in rows]
    return all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(places))


def check_anchor(row, forms=ANCHOR):
    """Refuse an anchor's row of a wrong form."""
    check(row, forms, "anchor", is_row=True)
    need(row[-1] is None, "there is a proof")
    need(row[-2] is None or check(row[-2], BATCH, "batch", is_row=True), "")


def open_object(data, formats, forms, schemas):
    """Parse an object with a header: versions first, then forms."""
    value, code = parse(data), "PKG_UNSUPPORTED_VERSION"
    need(type(value) is dict and type(value.get("format")) is str, "it has no format")
    need(value["format"] in formats, "the format is unknown", code)
    header = value.get("header")
    need(type(header) is dict and fits(header.get("v"), "int"), "it has no header")
    need(header["v"] in formats[value["format"]], "the version is unknown", code)
    check(value, forms, "object")
    check(header, HEADER, "header")
    is_known = header["profile"] in ("fields", "file-blind", "file-plain")
    need(is_known, "the profile is unknown", code)
    is_known = header["suite"] == "sha256-p256" and header["schema"] in schemas
    need(is_known, "the suite or the schema is unknown", code)
    return value


def do_agree(header, rows):
    """Whether these rows can be of one document."""
    values = {row[1]: row[3:5] for row in rows}
    letters: dict[str, set[str]] = {"": {"o"}}
    children: dict[str, set[str]] = {}
    for _, path, kinds, *_ in rows:
        steps = path.split("/")
        for number, step in enumerate(steps[1:]):
            parent = "/".join(steps[: number + 1])
            letters.setdefault(parent, set()).add(kinds[number] if kinds else "o")
            children.setdefault(parent, set()).add(step)
    if len(values) != len(rows) or any(len(each) > 1 for each in letters.values()):
        return False
    for path in children.keys() & values.keys():
        (kind, value), below, is_array = values[path], children[path], "a" in letters[path]
        if header["v"] == 1:
            continue  # its containers say nothing
        if kind != (7 if is_array else 8):
            return False
        if (max(map(int, below)) + 1 if is_array else len(below)) > int(value):
            return False
    return values.get("", [8])[0] == 8


def is_complete(rows, path):
    """Of {path: row}, version 2: whether the leaf and everything below it is there."""
    if path not in rows or rows[path][3] not in (7, 8):
        return path in rows
    below = [other for other in rows if other and other[: other.rfind("/")] == path]
    return len(below) == int(rows[path][4]) and all(is_complete(rows, other) for other in below)


def is_shown(rows, path, version):
    """Whether a field is shown as asked: True, False, or None if the version promised nothing."""
    if path in rows:
        return version == 1 or is_complete(rows, path)
    if version == 1:
        return None if any(is_under(other, path) for other in rows) else False
    steps = path.split("/")
    for number in range(len(steps) - 1, 0, -1):
        above, step = "/".join(steps[:number]), steps[number]
        if above not in rows:
            continue
        kind, size = rows[above][3], rows[above][4]
        if kind == 7:
            return not is_decimal(step) or int(step) >= int(size)
        below = [other for other in rows if other and other[: other.rfind("/")] == above]
        return kind != 8 or (f"{above}/{step}" not in below and len(below) == int(size))
    return False


def file_digest_of(rows):
    """Return the digest in the leaf of a file profile; None if it is not shown."""
    is_shown_there = "/file" in rows and rows["/file"][3] == 9
    return rows["/file"][4].split(":")[1] if is_shown_there else None


def check_seed(package, rows, number, private_key):
    """The key, and with the seed every salt, every pad and the order of leaves."""
    header, leaves, version = package["header"], package["leaves"], package["header"]["v"]
    scalar = private_key if isinstance(private_key, int) else int.from_bytes(private_key, "big")
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    point = key.public_key().public_numbers()
    need(f"{point.x:064x}{point.y:064x}" == header["holder_key"], "it is for another holder's key")
    suite, seed = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM), b""
    for each in (2, 1)[: 3 - version]:  # for version 1 the page leaves the tag open
        info = tag("seed", each) + raw(header["doc_id"])
        with contextlib.suppress(ValueError, InvalidTag):
            seed = seed or suite.decrypt(raw(package["seed"]), key, info=info)
    need(len(seed) == 32, "the seed cannot be opened")
    free = sorted(set(range(len(leaves))) - {row[0] for row in rows})
    names = [b"saltpad %d" % (index if version == 1 else n) for n, index in enumerate(free)]
    padding = [hmac.digest(seed, name, "sha256") for name in names]
    salts = dict(zip(free, padding if version == 1 else sorted(padding), strict=False))
    for index, salt in salts.items():
        pad = leaf_hash(number, [index, "", "", 15, "", salt], version)
        need(pad.hex() == leaves[index], "a pad is not what the seed makes it")
    for row in rows:
        salts[row[0]] = hmac.digest(seed, b"salt" + row[1].encode(), "sha256")
        need(salts[row[0]].hex() == row[5], "a salt does not come from the seed")
    order = [salts[index] for index in range(len(leaves))]
    need(version == 1 or order == sorted(order), "leaves are not in order of their salts")


def read_package(data, schema_numbers, holder_private_key=None, issuer_public_key=None):
    """Return a package that its holder may keep; raise `RefusedForm` for any other."""
    package = open_object(data, {"dvp2": (2,), "dvp1": (1,)}, PACKAGE, schema_numbers)
    header, rows, leaves = package["header"], package["disclosures"], package["leaves"]
    number, version, key = schema_numbers[header["schema"]], header["v"], issuer_public_key
    if version == 1:
        need(all(type(row) is list and len(row) == 5 for row in rows), "a row has another width")
        rows = [[*row[:2], "", *row[2:]] for row in rows]
    check_rows(rows, header)
    need(header["leaf_count"] in BUCKETS, "no tree has that size")
    need(all(row[0] < header["leaf_count"] for row in rows), "an index is too large")
    need(is_ordered(rows, header), "the leaves are not in order")
    need(len(leaves) == header["leaf_count"], "the number of leaves differs from the header's")
    need(root_of(leaves).hex() == header["root"], "the leaves do not lead to the root")
    for row in rows:
        need(leaf_hash(number, row, version).hex() == leaves[row[0]], "a leaf does not match")
    need(rows and do_agree(header, rows), "the leaves contradict each other")
    by_path = {row[1]: row for row in rows}
    need(version == 1 or is_complete(by_path, ""), "a part of the document is missing")
    digest = file_digest_of(by_path)
    need(header["profile"] == "fields" or digest, "it has no file")
    is_free = header["profile"] == "fields" or version == 1 or len(rows) == 2
    need(is_free, "there is something beside the file")
    need(package["anchors"], "it has no anchor")
    for row in package["anchors"]:
        check_anchor(row, ANCHOR if version == 2 else OLD_ANCHOR)
        _, org, blind, anchor, _, batch, _ = row if version == 2 else [row[0], 0, *row[1:]]
        need(anchor_of(header, org, blind, digest).hex() == anchor, "an anchor does not match")
        # A batch's size is only on the ledger; these have all the forms that a path can have.
        sizes = [(batch[1] | (1 << level) - 1) + 1 for level in range(17)] if batch else []
        in_batch = not batch or any(is_in_batch(anchor, batch, size) for size in sizes)
        need(in_batch, "a batch's path does not lead to its root")
    need(
        key is None or is_signed(key, doc_digest(header), package["issuer_signature"], version),
        "the issuer did not sign it",
    )
    if holder_private_key is not None:
        check_seed(package, rows, number, holder_private_key)
    return package
