"""Settings set in a network file's text, and what a folder's network and another file differ in."""

import tomllib
from pathlib import Path

import pytest

from lowu.node.config import load_node_config
from lowu.node.errors import ConfigError
from lowu.node.settings import SETTINGS
from lowu.node.topology.changes import CHAIN_IDS, find_differences, set_values, with_chain_id
from lowu.node.topology.plan import build_plan
from lowu.node.topology.spec import Settings, parse_spec
from lowu.node.topology.tree import (
    change_settings,
    load_tree,
    node_folder,
    restore_node,
    write_tree,
)
from lowu.options import read_network

TEXT, ORIGIN = read_network("dev-4")


def network_of(text):
    return tomllib.loads(text)["network"]


def differences(text, other=TEXT):
    held, wanted = (parse_spec(item, Path("x")) for item in (other, text))
    return {item.what: item for item in find_differences(held, wanted, text)}


def test_every_setting_is_described():
    assert set(SETTINGS) == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("pair", "key", "value"),
    [
        ("block_tx_count_limit=500", "block_tx_count_limit", 500),
        (" seed = 9 ", "seed", 9),
        ("tap=true", "tap", True),
        ("name=other", "name", "other"),
        ('name="other"', "name", "other"),
        ("rpc_hosts=example.com", "rpc_hosts", ["example.com"]),
        ('rpc_hosts=["a", "b"]', "rpc_hosts", ["a", "b"]),
    ],
)
def test_a_setting_is_set_in_the_text(pair, key, value):
    changed = set_values(TEXT, [pair])
    assert network_of(changed) == {**network_of(TEXT), key: value}
    assert set_values(changed, [pair]) == changed
    before, after = tomllib.loads(TEXT), tomllib.loads(changed)
    assert {**before, "network": {}} == {**after, "network": {}}


def test_a_text_without_the_table_gets_one():
    assert network_of(set_values("", ["seed=1"])) == {"seed": 1}
    assert network_of(set_values("[network] # so\n[[node]]\n", ["seed=1"])) == {"seed": 1}


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        ("pol_limit=1", "did you mean pool_limit?"),
        ("pool_limit", "use key=value"),
        ("=1", "known: name, seed"),
        ("pool_limit=5\nseed=7", "use key=value"),
    ],
)
def test_what_is_no_setting(pair, text):
    with pytest.raises(ConfigError, match="--set") as refused:
        set_values(TEXT, [pair])
    assert text in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        '[network]\r\nname = "x"\r\nseed = 1\r\n',
        '[ network ]\nname = "x"\nseed = 1\n',
        '["network"]\nname = "x"\n"seed" = 1\n',
        'network = {name = "x", seed = 1}\n',
        'network.name = "x"\nnetwork.seed = 1\n',
        'about = """\n[network]\nseed = 4\n"""\n[network]\nname = "x"\nseed = 1',
        '[network]\nname = "x"\nseed = 1\nrpc_hosts = [\n"a",\n]\n[[node]]\ninstitution = "a"\n',
    ],
)
def test_every_form_of_toml_is_changed(text):
    """Valid files failed, or were changed inside a text, as TOML was edited by its lines."""
    pairs = ["seed=5", "rpc_hosts=b", "pool_limit=7"]
    changed = with_chain_id(set_values(text, pairs))
    before, after = tomllib.loads(text), tomllib.loads(changed)
    wanted = {**before["network"], "seed": 5, "rpc_hosts": ["b"], "pool_limit": 7}
    assert after["network"].pop("web3_chain_id") in CHAIN_IDS
    assert after == {**before, "network": wanted}


@pytest.mark.parametrize(
    "text", ["[network", "network = 5\n", "x = " + "[" * 3_000, f"x = {'9' * 5_000}"]
)
def test_what_cannot_be_changed_is_told(text):
    with pytest.raises(ConfigError, match="cannot be put into the network file"):
        set_values(text, ["seed=5"])
    with pytest.raises(ConfigError):
        parse_spec(text, Path("x"))


def test_the_window_of_a_chain_may_only_grow(tmp_path):
    """Two windows are how long a validator abstains that has lost its votes (R-WIPE-1)."""
    folder = tmp_path / "nodes"
    text = with_chain_id(set_values(TEXT, ["pipeline_size=9"]))
    write_tree(build_plan(parse_spec(text, ORIGIN)), text, folder)
    with pytest.raises(ConfigError, match="8 is less than 9, which this chain has had"):
        change_settings(folder, set_values(text, ["pipeline_size=8"]), ORIGIN)
    change_settings(folder, set_values(text, ["pipeline_size=10"]), ORIGIN)
    assert load_tree(folder).spec.settings.pipeline_size == 10


def test_what_is_written_anew_is_kept_each_time_whatever_it_was(tmp_path):
    """A second repair wrote over what the first had kept, or failed where that was a folder."""
    folder, text = tmp_path / "nodes", with_chain_id(TEXT)
    plan = build_plan(parse_spec(text, ORIGIN))
    write_tree(plan, text, folder)
    own = node_folder(folder, plan.nodes[0])
    key = own / "conf" / "node.pem"
    whole = key.read_text()
    key.unlink()
    key.mkdir()
    restore_node(plan, plan.nodes[0], folder, ["conf/node.pem"])
    key.write_text("no key")
    restore_node(plan, plan.nodes[0], folder, ["conf/node.pem"])
    assert key.read_text() == whole and key.stat().st_mode & 0o777 == 0o600
    assert (own / "conf" / "node.pem.damaged").is_dir()
    assert (own / "conf" / "node.pem.damaged-2").read_text() == "no key"


def test_a_failed_change_changes_nothing(tmp_path):
    folder = tmp_path / "nodes"
    plan = build_plan(parse_spec(with_chain_id(TEXT), ORIGIN))
    write_tree(plan, with_chain_id(TEXT), folder)
    last = node_folder(folder, plan.nodes[-1]) / "config.ini"
    last.write_text("garbage", "utf-8")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError):
        change_settings(folder, set_values(TEXT, ["pool_limit=7"]), ORIGIN)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_value_out_of_range_is_refused_when_the_file_is_read():
    with pytest.raises(ConfigError, match=r"pool_limit must be in 1\.\.10000000, not 0"):
        parse_spec(set_values(TEXT, ["pool_limit=0"]), Path("x"))
    with pytest.raises(ConfigError, match="pool_limit must be an integer, not 'much'"):
        parse_spec(set_values(TEXT, ["pool_limit=much"]), Path("x"))


def test_each_folder_gets_a_number_of_its_own():
    """A client of one network took the answers of another on the same ports for its own."""
    one, two = (network_of(with_chain_id(TEXT))["web3_chain_id"] for _ in range(2))
    assert one != two and one in CHAIN_IDS and two in CHAIN_IDS
    named = set_values(TEXT, ["web3_chain_id=5"])
    assert with_chain_id(named) == named
    assert with_chain_id("[network") == "[network"


def test_what_differs():
    assert differences(TEXT) == {}
    assert differences(TEXT, other=with_chain_id(TEXT)) == {}  # nobody asked for another number
    found = differences(
        set_values(TEXT, ["pool_limit=7", "seed=5", "web3_chain_id=9"]).replace(
            'name = "WeBank"', 'name = "Bank"'
        )
        + '[[route]]\nfrom = "HK"\nto = "MO"\n'
    )
    assert {what: item.is_fixed for what, item in found.items()} == {
        "seed": True,
        "web3_chain_id": True,
        "pool_limit": False,
        "name of institution webank": False,
        "routes": True,
    }
    assert str(found["pool_limit"]) == "pool_limit: 15000 here, 7 in what was asked for"
    assert found["routes"].wanted == "HK to MO"


def test_institutions_nodes_and_schemas_differ():
    extra = '[[institution]]\nid = "x"\nside = "HK"\nclient_of = "webank"\n'
    found = differences(TEXT + extra)
    assert str(found["institution x"]) == "institution x: not here, there in what was asked for"
    swapped = TEXT.replace('institution = "webank"', "@").replace(
        'institution = "qianhai-ix"', 'institution = "webank"'
    )
    found = differences(swapped.replace("@", 'institution = "qianhai-ix"'))
    assert set(found) == {"order of each node of"}


def test_settings_change_in_place(tmp_path):
    folder = tmp_path / "nodes"
    text = with_chain_id(TEXT)
    plan = build_plan(parse_spec(text, ORIGIN))
    write_tree(plan, text, folder)
    own = node_folder(folder, plan.nodes[1]) / "config.ini"
    own.write_text(own.read_text("utf-8").replace("level=info", "level=debug"), "utf-8")
    change_settings(folder, set_values(TEXT, ["pool_limit=7", "web3_port=9000"]), ORIGIN)
    changed = load_tree(folder)
    assert changed.genesis == plan.genesis
    assert changed.nodes[1].ports.web3 == 9001
    config = load_node_config(node_folder(folder, plan.nodes[1]), "node1")
    assert (config.pool_limit, config.web3_port, config.log_level) == (7, 9001, "debug")
    assert (
        differences(set_values(TEXT, ["pool_limit=7", "web3_port=9000"]), changed_text(folder))
        == {}
    )


def changed_text(folder):
    return (folder / ".lowu" / "network.toml").read_text("utf-8")
