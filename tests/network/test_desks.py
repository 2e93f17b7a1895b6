"""A document's way from issuer to receiver, by commands and files, on real processes."""

import json
import shutil
import signal
import subprocess
import sys

import pytest

from lowu.contracts.registry import HASH_REGISTRY_ADDRESS
from lowu.institutions.package.format import decode_package, encode_package
from lowu.institutions.service.store import Store
from lowu.node.topology.control import Control
from lowu.node.topology.tree import load_tree
from tests.network import kit


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desks")
    kit.lowu_json("up", cwd=folder)
    kit.lowu("sample", "cn.ecr/1", "-o", "some.json", cwd=folder)
    kit.lowu("request", "--by", "nova", "--schema", "cn.ecr/1", "-o", "wish.json", cwd=folder)
    yield folder
    kit.lowu("down", cwd=folder)


ACROSS = ("--cross-border",)
"""What a holder agrees to whose document is used in another jurisdiction."""


def wait_until_level(place):
    kit.wait_until_level([node.url for node in load_tree(place / "nodes").nodes])


def run_for_all(place, *arguments):
    """Run a command, and wait until every node has the resulting blocks."""
    found = kit.lowu_json(*arguments, cwd=place)
    wait_until_level(place)
    return found


def test_from_issuer_to_receiver(place):
    def run(*arguments):
        return run_for_all(place, *arguments)

    subject = run("sample", "cn.ecr/1")["subject"]
    issued = run("issue", "document.json", "--by", "szcredit", "--for", "nova", "--holder", "acme")
    assert run("carry", "package.json", "--holder", "acme")["doc_id"] == issued["doc_id"]
    run("request", "--by", "nova", "--schema", "cn.ecr/1", "--field", "/summary")
    run("consent", "request.json", "--holder", "acme", "--via", "nova", *ACROSS)
    run("present", "request.json", "--holder", "acme", "--password", "three words")
    verify = ("verify", "sealed.bin", "--by", "nova", "--subject", subject)
    refused = kit.lowu(*verify, "--json", cwd=place, check=False)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["codes"][0].startswith("PKG_MALFORMED")
    report = run(
        *verify, "--password", "three words", "--confirm", "szcredit", "--html", "report.html"
    )
    assert report["verdict"] == "ACCEPT"
    assert report["checks"][3]["evidence"]["nodes_asked"] == 2
    assert "Authentic" in (place / "report.html").read_text()
    run("trust", "--by", "nova")
    away = (*verify, "--password", "three words", "--trust", "trust.json", "--offline", "--json")
    report = json.loads(kit.lowu(*away, cwd=place, check=False).stdout)
    assert report["verdict"] == "REJECT" and report["codes"][-2:] == [
        "REPLAYED",
        "FRESHNESS_UNKNOWN",
    ]
    assert [line["result"] for line in report["checks"][1:4]] == ["PASS"] * 3
    assert report["checks"][3]["evidence"]["signed_by"].endswith("of 7 validators")
    again = kit.lowu(*verify, "--password", "three words", cwd=place, check=False)
    assert again.returncode == 1 and "REPLAYED" in again.stdout
    run("revoke", issued["anchor"], "--by", "szcredit", "--reason", "DISPUTED")
    run("request", "--by", "nova", "--schema", "cn.ecr/1")
    run("consent", "request.json", "--holder", "acme", "--via", "nova", *ACROSS)
    run("consent", "request.json", "--holder", "acme", "--via", "nova", "--withdraw")
    run("present", "request.json", "--holder", "acme")
    late = kit.lowu(*verify, "--json", cwd=place, check=False)
    codes = [code.split("(")[0] for code in json.loads(late.stdout)["codes"]]
    assert codes == ["REVOKED", "CONSENT_WITHDRAWN"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("issue", "some.json", "--by", "nobody", "--for", "nova", "--holder", "b"), "There are"),
        (("issue", "some.json", "--by", "fusion", "--for", "nova", "--holder", "b"), "the role"),
        (("issue", "nowhere.json", "--by", "fusion", "--for", "nova", "--holder", "b"), "nowhere"),
        (("sample", "xx/1"), "cn.ecr/1"),
        (
            ("verify", "some.json", "--by", "nova", "--subject", "a:b", "--attach", "scan.png"),
            "a path and a file",
        ),
        (("request", "--by", "nova", "--schema", "xx/1"), "cn.ecr/1"),
        (
            ("request", "--by", "webank", "--schema", "cn.ecr/1"),
            "lacks the role VERIFIER. These have",
        ),
        (("request", "--by", "nova", "--schema", "cn.ecr/1", "--purpose", "X"), "LOAN"),
        (("revoke", "00", "--by", "szcredit"), "not an anchor"),
        (("revoke", "00" * 32, "--by", "szcredit", "--reason", "X"), "CORRECTED"),
        (("revoke", "ab" * 32, "--by", "szcredit"), "no such anchor"),
        (("witness", "szcredit", "ab" * 32, "--by", "nova"), "the role"),
        (("carry", "some.json", "--holder", "acme"), "some.json"),
        (("carry", "some.json", "--holder", "../acme"), "some.json"),
        (("present", "wish.json", "--holder", "zoe"), "lowu carry"),
        (("verify", "some.json", "--by", "nova", "--subject", "x"), "a type and"),
        (("verify", "some.json", "--by", "nova", "--subject", "a:b", "--offline"), "--trust"),
        (
            ("verify", "some.json", "--by", "nova", "--subject", "a:b", "--trust", "wish.json"),
            "it is a request (dvp2-request), not a trust file",
        ),
    ],
)
def test_mistakes_are_told(place, arguments, text):
    done = kit.lowu(*arguments, cwd=place, check=False)
    assert done.returncode in (1, 2), done.stdout
    assert text in done.stderr and "Traceback" not in done.stderr


def test_a_bank_is_voted_in_and_works(place):
    def run(*arguments):
        return run_for_all(place, *arguments)

    admitting = ("new-bank", "--side", "HK", "--role", "VERIFIER", "--via", "hkstp")
    made = run("org", "propose", "admit", *admitting, "--by", "qianhai-ix")
    number = made["proposal"]
    early = kit.lowu("request", "--by", "new-bank", "--schema", "cn.ecr/1", cwd=place, check=False)
    assert early.returncode == 0  # asking needs no membership
    standing = {item["institution"]: item for item in run("accounts")["institutions"]}
    assert standing["new-bank"]["standing"] == "proposed, not voted in"
    for voter in ("qianhai-ix", "webank"):
        assert run("org", "vote", number, "--by", voter)["status"] == "OPEN"
    assert run("org", "vote", number, "--by", "hkstp")["status"] == "PASSED"
    standing = {item["institution"]: item for item in run("accounts")["institutions"]}
    assert standing["new-bank"]["standing"].startswith("block ")
    assert "GOVERNOR" in standing["webank"]["roles"]
    (listed,) = run("org", "proposals", "--by", "nova")["proposals"]
    assert listed["votes"] == {"SZ": [2, 0], "HK": [1, 0]} and "admitOrg" in listed["calls"][0]
    subject = run("sample", "cn.ecr/1")["subject"]
    run("issue", "document.json", "--by", "szcredit", "--for", "new-bank", "--holder", "zoe")
    run("carry", "package.json", "--holder", "zoe")
    run("request", "--by", "new-bank", "--schema", "cn.ecr/1")
    run("consent", "request.json", "--holder", "zoe", "--via", "new-bank", *ACROSS)
    run("present", "request.json", "--holder", "zoe")
    verify = ("verify", "sealed.bin", "--by", "new-bank", "--subject", subject)
    assert run(*verify)["verdict"] == "ACCEPT"
    again = kit.lowu("org", "vote", number, "--by", "bea-hk", cwd=place, check=False)
    assert again.returncode == 1 and "decided" in again.stderr
    for arguments, text in (
        (("org", "vote", 99, "--by", "hkstp"), "lowu org proposals"),
        (("org", "vote", number, "--by", "nova"), "the role"),
        (("org", "propose", "route", "MO", "MO", "--by", "hkstp"), "always"),
        (("org", "propose", "status", "nobody", "EXITED", "--by", "hkstp"), "There are"),
        (("org", "propose", "accredit", "nova", "xx/1", "--by", "hkstp"), "cn.ecr/1"),
        (("org", "propose", "admit", *admitting, "--by", "hkstp"), "is a member since block"),
        (("org", "propose", "route", "SZ", "HK", "--by", "hkstp"), "is open already"),
        (("org", "propose", "schema", "cn.ecr/1", "--by", "hkstp"), "on the ledger since block 0"),
        (("org", "propose", "accredit", "szcredit", "cn.ecr/1", "--by", "hkstp"), "may issue"),
        (("org", "propose", "accredit", "nova", "mo.asset/1", "--by", "hkstp"), "comes first"),
        (("org", "propose", "status", "nova", "ACTIVE", "--by", "hkstp"), "is ACTIVE since block"),
        (("org", "propose", "admit", "webank", *admitting[1:], "--by", "hkstp"), "already"),
        (("org", "propose", "admit", "ghost", *admitting[1:], "--by", "nova"), "the role"),
        (("org", "propose", "admit", "X y", *admitting[1:], "--by", "hkstp"), "lower-case"),
    ):
        done = kit.lowu(*arguments, cwd=place, check=False)
        assert done.returncode in (1, 2) and text in done.stderr, (arguments, done.stderr)
    assert "ghost" not in {item["institution"] for item in run("accounts")["institutions"]}
    for arguments in (
        ("route", "MO", "HK"),
        ("accredit", "nova", "cn.ecr/1"),
        ("accredit", "nova", "hk.ecr/1", "--withdraw"),
        ("status", "nova", "SUSPENDED"),
        ("schema", "mo.asset/1", "--witnesses", "1", "--across"),
    ):
        assert run("org", "propose", *arguments, "--by", "hkstp")["calls"] == 1
    listed = run("org", "proposals", "--by", "hkstp")["proposals"]
    assert ["OrgRegistry.setRoute(3, 2, True)"] in [item["calls"] for item in listed]
    assert "setRoute" in kit.lowu("org", "proposals", "--by", "hkstp", cwd=place).stdout


def test_keys_change_and_documents_are_erased(place, monkeypatch):
    def run(*arguments):
        return run_for_all(place, *arguments)

    monkeypatch.setenv("LOWU_PASSWORD", "right")
    made = run("org", "account", "--by", "baihang", "--retire-old")
    assert made["roles"].startswith("ADMIN|ISSUER")
    monkeypatch.setenv("LOWU_PASSWORD", "wrong")
    run("sample", "cn.pcr/1", "-o", "person.json")
    issuing = ("issue", "person.json", "--by", "baihang", "--for", "fusion", "--holder", "lin")
    refused = kit.lowu(*issuing, cwd=place, check=False)
    assert refused.returncode == 1 and "the password is another" in refused.stderr
    monkeypatch.setenv("LOWU_PASSWORD", "right")
    rotate = ("org", "rotate-key", "--by", "baihang", "--key", "1")
    assert run(*rotate)["key"] == 2
    again = kit.lowu(*rotate, cwd=place, check=False)
    assert again.returncode == 2 and "key 1 was replaced already; in use: 2" in again.stderr
    stolen = run(*rotate, "--compromised-since", "1")
    assert (stolen["key"], stolen["ended"]) == (2, [1])
    (place / "scan.png").write_bytes(b"a scan of a thousand words")
    issued = run(*issuing, "--attach", "/annex/scan=scan.png")
    run("carry", "package.json", "--holder", "lin")
    for change in ("suspend", "reinstate"):
        assert run(change, issued["anchor"], "--by", "baihang")["height"] > issued["height"]
    run("request", "--by", "fusion", "--schema", "cn.pcr/1")
    run("consent", "request.json", "--holder", "lin", "--via", "fusion", *ACROSS, "--sensitive")
    run("present", "request.json", "--holder", "lin")
    subject = ":".join(json.loads((place / "person.json").read_text())["subject"])
    verify = ("verify", "sealed.bin", "--by", "fusion", "--subject", subject, "--attach")
    wrong = kit.lowu(*verify, "/annex/scan=some.json", cwd=place, check=False)
    assert wrong.returncode == 1 and "TAMPERED_FIELD(/annex/scan)" in wrong.stdout
    assert run(*verify, "/annex/scan=scan.png")["verdict"] == "ACCEPT"
    adding = ("add-receiver", issued["anchor"], "--by", "baihang", "--for", "nova")
    added = run(*adding, "-o", "more.json")
    assert added["doc_id"] == issued["doc_id"] and added["anchor"] != issued["anchor"]
    changed = run("suspend", added["anchor"], "--by", "baihang")["changed"]
    assert {item["for"] for item in changed} == {"fusion", "nova"}
    assert len(run("reinstate", issued["anchor"], "--by", "baihang")["changed"]) == 2
    erased = run("erase", issued["anchor"], "--by", "baihang")
    assert erased["anchors"] == [issued["anchor"], added["anchor"]]
    forgetting = ("forget", "erasure.json", "--holder", "lin", "--via", "fusion")
    receipt = (place / "erasure.json").read_text()
    (place / "erasure.json").write_text(receipt.replace("SUBJECT_REQUEST", "DISPUTED"))
    forged = kit.lowu(*forgetting, cwd=place, check=False)
    assert forged.returncode == 2 and "not signed by the issuer" in forged.stderr
    (place / "erasure.json").write_text(receipt)
    assert run(*forgetting)["doc_id"] == issued["doc_id"]
    gone = kit.lowu(*forgetting, cwd=place, check=False)
    assert gone.returncode == 2 and "nothing was destroyed" in gone.stderr
    seen = run("regulator", "--by", "hkma")
    assert {"issuer": "baihang", "side": "SZ", "schema": "cn.pcr/1", "count": 2} in seen[
        "registered"
    ]
    assert seen["erased"] == {"baihang": 2}


def test_a_regulator_suspends_for_a_time(place):
    def run(*arguments):
        return run_for_all(place, *arguments)

    refused = kit.lowu("org", "suspend", "szcredit", "--by", "hkma", cwd=place, check=False)
    assert refused.returncode == 1 and "of its own side only" in refused.stderr
    run("org", "suspend", "bea-hk", "--by", "hkma", "--days", 3)
    run("sample", "grp.kyc/1", "-o", "hk.json")
    issuing = ("issue", "hk.json", "--by", "bea-hk", "--for", "bea-cn", "--holder", "acme")
    stopped = kit.lowu(*issuing, cwd=place, check=False)
    assert stopped.returncode == 1 and "ORG_NOT_ACTIVE" in stopped.stderr
    run("org", "suspend", "bea-hk", "--by", "hkma", "--lift")
    run("sample", "grp.kyc/1", "--seed", 2, "-o", "hk.json")
    assert run(*issuing)["height"]


def issued_by(place, name):
    """Return the packages in an institution's store, by anchor."""
    with Store(place / "nodes" / "desks" / f"{name}.sqlite3") as store:
        return dict(store.open("issued", encode_package, decode_package))


def test_commands_turn_to_the_next_node_when_their_own_is_down(place):
    run_for_all(place, "sample", "cn.ecr/1", "--seed", 41, "-o", "while-down.json")
    kit.lowu("kill", "szcredit", cwd=place)
    issuing = ("issue", "while-down.json", "--by", "szcredit", "--for", "nova", "--holder", "acme")
    issued = kit.lowu_json(*issuing, cwd=place)
    revoked = kit.lowu_json("revoke", issued["anchor"], "--by", "szcredit", cwd=place)
    assert revoked["height"] > issued["height"]
    kit.lowu("start", "szcredit", cwd=place)
    wait_until_level(place)
    again = run_for_all(place, *issuing)
    assert again["anchor"] != issued["anchor"]  # a delivered order is not an interrupted one


def test_a_command_killed_in_the_middle_continues_when_run_again(place):
    """The package is stored and its registration sent, but the command dies before it commits."""
    run_for_all(place, "sample", "cn.ecr/1", "--seed", 42, "-o", "cut.json")
    before = issued_by(place, "szcredit")
    control, stopped = Control(place / "nodes"), ["node0", "node3", "node4"]
    assert load_tree(place / "nodes").find_node("szcredit").name not in stopped
    control.order("stop", stopped)  # four of seven are no quorum
    issuing = ("issue", "cut.json", "--by", "szcredit", "--for", "nova", "--holder", "acme")
    command = [sys.executable, "-m", "lowu", *issuing, "-o", "cut-package.json"]
    with subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE) as issuer:
        kit.wait_until(lambda: len(issued_by(place, "szcredit")) > len(before), "it is stored")
        issuer.kill()
    ((anchor, package),) = issued_by(place, "szcredit").items() - before.items()
    assert package.anchors[0].registered_height == 0
    assert not (place / "cut-package.json").exists()
    control.start(stopped)
    issued = run_for_all(place, *issuing, "-o", "cut-package.json")
    assert issued["anchor"] == anchor.hex()
    now = issued_by(place, "szcredit")
    assert len(now) == len(before) + 1
    carried = decode_package((place / "cut-package.json").read_bytes())
    assert carried == now[anchor] and carried.header == package.header
    assert carried.anchors[0].registered_height == issued["height"] > 0
    # The chain itself, at the other side's node: registered once, however often it was sent.
    nova = load_tree(place / "nodes").find_node("nova").url
    wanted = {
        "fromBlock": "0x0",
        "address": "0x" + HASH_REGISTRY_ADDRESS.hex(),
        "topics": [None, None, "0x" + anchor.hex()],
    }
    (event,) = kit.rpc(nova, "eth_getLogs", wanted)["result"]
    assert int(event["blockNumber"], 16) == issued["height"]


def test_one_presentation_is_accepted_once_by_commands_that_run_at_once(place):
    def run(*arguments):
        return run_for_all(place, *arguments)

    subject = run("sample", "cn.ecr/1", "--seed", 51)["subject"]
    run("issue", "document.json", "--by", "szcredit", "--for", "nova", "--holder", "acme")
    run("carry", "package.json", "--holder", "acme")
    run("request", "--by", "nova", "--schema", "cn.ecr/1", "-o", "once.json")
    refused = kit.lowu(
        "consent",
        "once.json",
        "--holder",
        "acme",
        "--via",
        "pbc-sz",
        *ACROSS,
        cwd=place,
        check=False,
    )
    assert refused.returncode == 1 and "ROLE_REQUIRED" in refused.stderr
    run("consent", "once.json", "--holder", "acme", "--via", "nova", *ACROSS)
    run("present", "once.json", "--holder", "acme", "-o", "once.bin")
    verify = ("verify", "once.bin", "--by", "nova", "--subject", subject)
    lost = kit.lowu(*verify, "--html", "nowhere/page.html", cwd=place, check=False)
    assert lost.returncode == 1 and "ACCEPT" not in lost.stdout  # nobody was told
    command = [sys.executable, "-m", "lowu", *verify, "--html", "page.html"]
    again = [
        subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=100) for process in again]
    told = [output.decode().split(":")[0] for output, _ in outputs]
    assert sorted(told) == ["ACCEPT", "REJECT", "REJECT"], (lost, outputs)
    run("consent", "once.json", "--holder", "acme", "--via", "nova", "--withdraw")
    run("present", "once.json", "--holder", "acme", "-o", "late.bin")
    late = kit.lowu_json(*("verify", "late.bin", *verify[2:]), cwd=place, check=False)
    assert any(code.startswith("CONSENT_WITHDRAWN") for code in late["codes"])


def test_a_desk_does_orders_from_files_whichever_node_is_up(place):
    def order(desk, name, **fields):
        inbox = place / "nodes" / desk / "inbox"
        inbox.mkdir(parents=True, exist_ok=True)
        for file in fields.get("files", {}).values():
            shutil.copy(place / "document.json", inbox / file)
        (inbox / f"{name}.order.json").write_text(json.dumps(fields))

    def answer(desk, name):
        return json.loads((place / "nodes" / desk / "outbox" / name / "answer.json").read_text())

    subject = kit.lowu_json("sample", "cn.ecr/1", cwd=place)["subject"]
    order("wallets/ming", "who", do="key")
    assert kit.lowu_json("serve", "--holder", "ming", "--once", cwd=place)["figures"]["done"] == 1
    files = {"document.json": "loan-7.document.json"}
    issuing = {"do": "issue", "for": "nova", "files": files}
    issuing["holder_key"] = answer("wallets/ming", "who")["holder_key"]
    kit.lowu("kill", "szcredit", cwd=place)
    order("desks/szcredit", "loan-7", **issuing)
    kit.lowu("serve", "--by", "szcredit", "--once", cwd=place)  # another node of its side answers
    first = answer("desks/szcredit", "loan-7")
    assert first["ok"] and first["files"] == ["package.json"]
    kit.lowu("start", "szcredit", cwd=place)
    wait_until_level(place)
    order("desks/szcredit", "loan-7", **issuing)
    order("desks/szcredit", "stop", do="revoke", anchor=first["anchor"], reason="DISPUTED")
    order("desks/szcredit", "loan-8", do="issue")
    command = [sys.executable, "-m", "lowu", "serve", "--by", "szcredit"]
    with subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE, text=True) as desk:
        told = set()
        for line in desk.stderr:
            told.add(line.strip().split(":")[0])
            if {"loan-7", "stop", "loan-8"} <= told:
                break
        desk.send_signal(signal.SIGINT)
        desk.stderr.read()
    assert desk.returncode == 130
    assert answer("desks/szcredit", "loan-7") == first
    assert answer("desks/szcredit", "stop")["ok"]
    assert "document.json" in answer("desks/szcredit", "loan-8")["error"]
    assert subject.startswith("USCC:")
    for arguments in ((), ("--by", "nova", "--holder", "ming")):
        done = kit.lowu("serve", *arguments, cwd=place, check=False)
        assert done.returncode == 2 and "either --by" in done.stderr


def test_contracts_of_one_s_own(place):
    def run(*arguments):
        return run_for_all(place, "contract", *arguments)

    made = run("deploy", "Token", "1000", "--by", "webank", "--name", "gold")
    assert run("call", "gold", "balanceOf", "webank", "--by", "nova")["result"] == {"0": 1000}
    sent = run("send", "gold", "transfer", "qianhai-ix", "0x64", "--by", "webank")
    assert sent["events"][0]["values"]["value"] == 100 and sent["height"] > made["height"]
    by_address = ("call", made["address"], "balanceOf", "qianhai-ix", "--by", "nova")
    assert run(*by_address)["result"] == {"0": 100}
    record = run("call", "HashRegistry", "getRecord", "1", "0x" + "00" * 32, "--by", "nova")
    assert record["result"]["0"]["state"] == 0
    anchor = "0x" + "01" * 32
    (place / "no.json").write_text("{}")
    for arguments, text in (
        (("send", "gold", "transfer", "nova", "1000", "--by", "qianhai-ix"), "refuses: balance"),
        (("send", "HashRegistry", "revoke", anchor, "1", "0", "--by", "nova"), "NOT_FOUND"),
        (("call", "gld", "name", "--by", "nova"), "did you mean gold?"),
        (("call", "gold", "nam", "--by", "nova"), "did you mean name?"),
        (
            ("send", "gold", "transfer", "nova", "-1", "--by", "webank"),
            "outside the range of uint",
        ),
        (("deploy", "no.json", "--by", "webank"), "not an artifact"),
    ):
        done = kit.lowu("contract", *arguments, cwd=place, check=False)
        assert done.returncode in (1, 2) and text in done.stderr, (arguments, done.stderr)
    assert (
        "transfer(address to, uint256 value)"
        in kit.lowu("contract", "show", "gold", cwd=place).stdout
    )
