"""A network file with document types and routes of its own: what is told, and what works."""

from pathlib import Path

import pytest

from lowu.contracts.registry import Jurisdiction
from lowu.institutions.documents.samples import build_sample
from lowu.institutions.verification.verdicts import Verdict
from lowu.node.config import dump_genesis, load_genesis
from lowu.node.errors import ConfigError
from lowu.node.topology.advice import list_warnings
from lowu.node.topology.plan import build_plan
from lowu.node.topology.spec import ROUTES, load_schemas, parse_spec
from lowu.testing.networks import VirtualNetwork
from tests.command import run_command

MACAO = """\
[network]
name = "macao-hk"
seed = 5

[[route]]
from = "MO"
to = "HK"

[[schema]]
id = "mo.loan/1"
number = 1001
jurisdiction = "MO"
valid_days = 30
must_disclose = ["/header/编号"]
mandatory = ["/loans/*/amount"]
subjects = { MO_ID = "/header/id" }

[schema.fields]
"/header/编号" = "text"
"/header/id" = "mo_id"
"/loans/*/amount" = "money"

[[institution]]
id = "mo-bank"
side = "MO"
roles = ["ADMIN", "ISSUER"]
schemas = ["mo.loan/1", "mo.asset/1"]

[[institution]]
id = "hk-bank"
side = "HK"
roles = ["ADMIN", "VERIFIER"]

[[institution]]
id = "op-mo"
side = "MO"
roles = ["ADMIN", "OPERATOR", "GOVERNOR"]

[[institution]]
id = "op-hk"
side = "HK"
roles = ["ADMIN", "OPERATOR", "GOVERNOR"]

[[node]]
institution = "mo-bank"
[[node]]
institution = "hk-bank"
[[node]]
institution = "op-mo"
[[node]]
institution = "op-hk"
"""


def read(text):
    return parse_spec(text, Path("net.toml"))


def problems(text):
    with pytest.raises(ConfigError) as refused:
        read(text)
    return str(refused.value).splitlines()


def test_a_file_has_schemas_and_routes_of_its_own():
    spec = read(MACAO)
    assert spec.routes == ((Jurisdiction.MO, Jurisdiction.HK),)
    assert [schema.id for schema in spec.schemas] == ["mo.loan/1"]
    assert list_warnings(spec) == []
    plain = MACAO.replace('[[route]]\nfrom = "MO"\nto = "HK"\n', "")
    assert read(plain).routes == ROUTES


def test_genesis_registers_what_is_issued_and_what_the_file_adds(tmp_path):
    genesis = build_plan(read(MACAO)).genesis
    assert [item.id for item in genesis.schemas] == ["mo.asset/1", "mo.loan/1"]
    assert genesis.routes == ((3, 2),)
    (tmp_path / "config.genesis").write_text(dump_genesis(genesis), encoding="utf-8")
    assert load_genesis(tmp_path / "config.genesis") == genesis


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ('to = "HK"', 'to = "XX"', 5, "from and to are SZ, HK, MO or SG, not 'XX'"),
        ('to = "HK"', "", 5, "name both from and to: SZ, HK, MO or SG"),
        ('to = "HK"', 'to = "MO"', 5, "within MO, documents may always be used"),
        ('to = "HK"', 'too = "HK"', 7, "unknown key 'too'; did you mean 'to'?"),
        ('to = "HK"', 'to = ["HK"]', 5, "from and to are SZ, HK, MO or SG"),
        ('[[node]]\ninstitution = "op-hk"', '[[node]]\ninstitution = ["op-hk"]', 51, "is unknown"),
        ("number = 1001", "number = 0x" + "9" * 5_000, 11, "not such a large number"),
        ('"/header/id" = "mo_id"', '"/header/\\u001b[2J" = "texx"', 18, "type 'texx' is unknown"),
        ("number = 1001", "number = 9", 11, "number must be an integer in 1000..4294967295"),
        ('id = "mo.loan/1"', 'id = "mo.asset/1"', 10, "id 'mo.asset/1' is taken"),
        ('"/loans/*/amount" = "money"', '"/loans/*/amount" = "cash"', 21, "type 'cash' is unknown"),
        ('schemas = ["mo.loan/1"', 'schemas = ["mo.laon/1"', 27, "schema 'mo.laon/1' is unknown"),
        ('id = "mo-bank"\nside = "MO"', 'id = "mo-bank"\nside = "HK"', 27, "is issued in MO only"),
    ],
)
def test_flaws_are_told_with_their_line(old, new, line, problem):
    assert old in MACAO
    found = problems(MACAO.replace(old, new, 1))
    assert any(text.startswith(f"net.toml:{line}: ") and problem in text for text in found), found


def test_two_schemas_of_one_number():
    start, end = MACAO.index("[[schema]]"), MACAO.index("[[institution]]")
    again = MACAO[start:end].replace("mo.loan/1", "mo.loan/2")
    (found,) = problems(MACAO[:end] + again + MACAO[end:])
    assert found == "net.toml:25: number 1001 is that of mo.loan/1; change it"


def test_warnings():
    closed = MACAO.replace('from = "MO"\nto = "HK"', 'from = "HK"\nto = "MO"')
    (warning,) = list_warnings(read(closed))
    assert warning.startswith("mo-bank issues mo.loan/1, mo.asset/1, and no other institution can")
    unused = MACAO.replace('["mo.loan/1", "mo.asset/1"]', '["mo.asset/1"]')
    assert list_warnings(read(unused))[0].startswith("nobody issues mo.loan/1")


def test_files_of_schemas_alone(tmp_path):
    start, end = MACAO.index("[[schema]]"), MACAO.index("[[institution]]")
    path = tmp_path / "schema.toml"
    path.write_text(MACAO[start:end], encoding="utf-8")
    assert load_schemas(path) == read(MACAO).schemas
    path.write_text("[network]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown key 'network'; known: schema"):
        load_schemas(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_schemas(path)


def test_the_beginning_of_a_schema_has_an_id_that_is_free(tmp_path):
    path = tmp_path / "schema.toml"
    taken = run_command(["schema", "new", "cn.ecr/1", "-o", path])
    assert taken.returncode == 2
    assert "cn.ecr/1 is taken, by a schema of every network; raise its version" in taken.stderr
    assert not path.exists()
    assert run_command(["schema", "new", "cn.ecr/999", "-o", path]).returncode == 0
    assert [schema.id for schema in load_schemas(path)] == ["cn.ecr/999"]


def test_a_document_of_an_own_type_crosses_a_route_of_its_own(tmp_path):
    path = tmp_path / "macao.toml"
    path.write_text(MACAO, encoding="utf-8")
    network = VirtualNetwork(str(path))

    async def play(actors, faults):
        document = build_sample(actors.plan.schemas["mo.loan/1"], 1, actors.now_s())
        issued = await actors.issue("mo-bank", document, "acme-hk", "hk-bank")
        report = await actors.hand_over(
            "acme-hk", issued, document, "hk-bank", fields=("/loans/0", "/loans/1")
        )
        with pytest.raises(ValueError, match="op-hk cannot receive documents"):
            await actors.issue("mo-bank", document, "acme-hk", "op-hk")
        document.content["loans"][0]["amount"] = "12"
        with pytest.raises(ValueError, match="/loans/0/amount: '12' must be a currency and"):
            await actors.issue("mo-bank", document, "acme-hk", "hk-bank")
        return report, actors.registrations

    report, registrations = network.play(play)
    assert report.verdict is Verdict.ACCEPT
    assert [item["amount"][:3] for item in report.shown.content["loans"][:2]] == ["MOP", "HKD"]
    assert registrations == 1


def test_nothing_leaves_macao_without_a_route(tmp_path):
    path = tmp_path / "macao.toml"
    path.write_text(MACAO.replace('from = "MO"\nto = "HK"', 'from = "HK"\nto = "MO"'), "utf-8")

    async def play(actors, faults):
        document = build_sample(actors.plan.schemas["mo.asset/1"], 1, actors.now_s())
        with pytest.raises(ValueError, match="no route leads from MO to HK, where hk-bank is"):
            await actors.issue("mo-bank", document, "acme-hk", "hk-bank")

    VirtualNetwork(str(path)).play(play)
