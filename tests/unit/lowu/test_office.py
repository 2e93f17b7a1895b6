"""What commands open: members that were drafted, and orders that wait."""

import json
from concurrent.futures import ThreadPoolExecutor

import click
import pytest
import trio
import trio.testing

from lowu import office
from lowu.contracts.registry import Jurisdiction, Role
from lowu.institutions.ledger.governance import GENESIS_ORGS, derive_org_id
from lowu.institutions.service.orders import Answer
from lowu.institutions.service.runner import Service
from lowu.node.topology.tree import write_tree
from lowu.options import read_network
from lowu.testing.networks import load_plan
from tests.command import run_command
from tests.store_kit import open_store


@pytest.fixture
def network(tmp_path):
    write_tree(load_plan("dev-4"), read_network("dev-4")[0], tmp_path / "nodes")
    return office.Office(tmp_path / "nodes")


def draft(network, name, side=Jurisdiction.HK):
    drafted = network.draft_newcomer(name, side, Role.ADMIN, [], "webank")
    network.keep_newcomer(drafted)
    return drafted


def test_operators_who_draft_at_the_same_time_lose_nothing_and_share_no_id(network):
    names = [f"bank-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        drafted = list(pool.map(lambda name: draft(network, name), names))
    assert set(names) <= set(network.org_ids)
    assert len({item.org_id for item in drafted}) == 8
    assert min(item.org_id for item in drafted) >= GENESIS_ORGS


def test_an_id_follows_from_the_name_alone(network):
    assert draft(network, "bank").org_id == derive_org_id("bank") == draft(network, "bank").org_id
    with pytest.raises(click.UsageError, match="in the network file already"):
        draft(network, "webank")


def test_what_was_not_proposed_is_not_kept_and_the_last_proposal_counts(network):
    network.draft_newcomer("bank", Jurisdiction.HK, Role.ADMIN, [], "webank")
    assert "bank" not in network.org_ids
    draft(network, "bank", Jurisdiction.HK)
    draft(network, "bank", Jurisdiction.SZ)
    assert [item.spec.side for item in network.list_institutions() if item.spec.id == "bank"] == [
        Jurisdiction.SZ
    ]


def make_service(act):
    return Service(open_store(None), {"act": act})


async def test_an_order_that_nobody_commits_is_given_up_and_stays_open(autojump_clock, monkeypatch):
    async def act(attempt):
        if len(seen) == 0:
            seen.append(attempt)
            await trio.sleep_forever()
        seen.append(attempt)
        return Answer(True, {"height": 7})

    seen, service = [], make_service(act)
    order = service.name_order("act", {"x": 1})
    with pytest.raises(click.ClickException, match="Run the same command again"):
        await office.carry_out(service, order)
    assert trio.current_time() <= office.WAIT_S + 1
    again = service.name_order("act", {"x": 1})
    assert again == order
    assert (await office.carry_out(service, again)).details == {"height": 7}
    assert seen[-1].is_again
    service.note_delivered(again)
    assert service.name_order("act", {"x": 1}) != order


async def test_a_refusal_is_told_and_the_next_order_is_a_new_one():
    async def act(attempt):
        raise ValueError("no such thing")

    service = make_service(act)
    order = service.name_order("act", {})
    with pytest.raises(click.ClickException, match="no such thing"):
        await office.carry_out(service, order)
    assert service.name_order("act", {}) != order


@pytest.mark.parametrize(
    ("file", "text", "command", "problem"),
    [
        ("newcomers.json", '[["x", "SZ", 1, ["a"], "nosuch"]]', ["accounts"], "is damaged"),
        ("newcomers.json", '[[5, "SZ", 1, ["a"], "webank"]]', ["accounts"], "is damaged"),
        ("newcomers.json", '[["x", "SZ", 1, [5], "webank"]]', ["accounts"], "is damaged"),
        ("contracts.json", '{"x": 5}', ["contract", "list"], "is damaged"),
        ("contracts.json", '{"x": {}}', ["contract", "list"], "is damaged"),
        ("contracts.json", '{"x": {"address": 5, "abi": []}}', ["contract", "list"], "is damaged"),
        ("contracts.json", "[]", ["contract", "list"], "is damaged"),
    ],
)
def test_a_damaged_file_is_named(network, file, text, command, problem):
    path = network.directory / "desks" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    done = run_command([*command, "--dir", network.directory])
    assert done.returncode == 1
    assert f"{path} {problem}" in done.stderr and "Traceback" not in done.stderr


def test_no_contract_takes_the_name_of_one_of_the_registry(network):
    path = network.directory / "desks" / "contracts.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"Governance": {"address": "0x00", "abi": []}}')
    done = run_command(["contract", "list", "--json", "--dir", network.directory])
    assert json.loads(done.stdout)["contracts"]["Governance"].endswith("a005")
    for name in ("Governance", "0x12", "\x1b]0;", "a b"):
        wrong = ["contract", "deploy", "Token", "--name", name, "--by", "webank"]
        done = run_command([*wrong, "--dir", network.directory])
        assert done.returncode == 2 and "--name" in done.stderr and "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("owner", "problem"),
    [
        (("--by", "nosuch"), "no institution 'nosuch' in this network. There are: "),
        (("--holder", "../../outside"), "'../../outside' is not a valid name"),
        (("--holder", "a\nb"), r"'a\nb' is not a valid name"),
    ],
)
def test_nothing_is_made_for_whom_nobody_knows(network, owner, problem):
    before = sorted(network.directory.parent.rglob("*"))
    done = run_command(["serve", *owner, "--once", "--dir", network.directory])
    assert done.returncode == 2
    assert problem in done.stderr
    assert sorted(network.directory.parent.rglob("*")) == before
