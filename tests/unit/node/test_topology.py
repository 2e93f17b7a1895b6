"""Network files, plans, trees and configuration."""

import os
import tempfile
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from lowu.experiments.scenarios.presenting import issue_report
from lowu.institutions.verification.verdicts import Verdict
from lowu.node.config import Engine, dump_genesis, dump_node_config, load_genesis, load_node_config
from lowu.node.errors import PORT_TAKEN_EXIT, ConfigError
from lowu.node.execution.genesis import build_genesis
from lowu.node.topology import control, network
from lowu.node.topology.plan import PortBlock, build_plan
from lowu.node.topology.ports import KeptPorts, find_free_block, ports_of
from lowu.node.topology.spec import load_spec, parse_spec
from lowu.node.topology.toml_reader import FILE_BYTES_MAX
from lowu.node.topology.tree import is_tree, load_tree, node_folder, write_engine, write_tree
from lowu.testing.networks import VirtualNetwork

ROOT = Path(__file__).resolve().parents[3]
NETWORKS = ROOT / "configs" / "networks"
GOOD = (NETWORKS / "dev-4.toml").read_text()


def problems(text):
    with pytest.raises(ConfigError) as error:
        parse_spec(text, Path("net.toml"))
    return str(error.value)


def line_of(text, part):
    return next(n for n, line in enumerate(text.splitlines(), 1) if part in line)


def test_bundled_networks():
    seed = build_plan(load_spec(NETWORKS / "seed-7.toml"))
    assert len(seed.nodes) == 9 and len(seed.genesis.sealers) == 7
    assert [node.spec.institution for node in seed.nodes if not node.spec.is_validator] == [
        "hkma",
        "pbc-sz",
    ]
    sides = [node.side.name for node in seed.nodes if node.spec.is_validator]
    assert (sides.count("SZ"), sides.count("HK")) == (4, 3)


@pytest.mark.parametrize(
    ("name", "sides", "fault_threshold", "quorum"),
    [
        ("pilot-2", (1, 1, 0), 0, 2),
        ("dev-4", (2, 2, 0), 1, 3),
        ("seed-7", (4, 3, 0), 2, 5),
        ("pilot-10", (5, 5, 0), 3, 7),
        ("gba-13", (5, 5, 3), 4, 9),
        ("load-4", (2, 2, 0), 1, 3),
        ("load-7", (4, 3, 0), 2, 5),
        ("load-10", (5, 5, 0), 3, 7),
        ("load-13", (7, 6, 0), 4, 9),
        ("load-16", (8, 8, 0), 5, 11),
    ],
)
def test_every_bundled_network_begins(name, sides, fault_threshold, quorum):
    plan = build_plan(load_spec(NETWORKS / f"{name}.toml"))
    assert plan.spec.settings.name == name
    found = [node.side.name for node in plan.nodes if node.spec.is_validator]
    assert tuple(found.count(side) for side in ("SZ", "HK", "MO")) == sides
    validators = plan.genesis.validators
    assert (validators.fault_threshold, validators.quorum) == (fault_threshold, quorum)
    assert max(sides[:2]) + sides[2] < quorum  # a quorum needs Shenzhen and Hong Kong
    assert build_genesis(plan.genesis).header.number == 0


def test_no_bundled_network_is_forgotten():
    known = test_every_bundled_network_begins.pytestmark[0].args[1]
    assert {item[0] for item in known} == {path.stem for path in NETWORKS.glob("*.toml")}


def test_the_same_seed_gives_the_same_ids_and_genesis():
    one, two = (build_plan(parse_spec(GOOD, Path("x"))) for _ in range(2))
    moved = build_plan(parse_spec(GOOD, Path("x")), PortBlock(1000, 2000, 3000))
    other = build_plan(parse_spec(GOOD.replace("seed = 4", "seed = 5"), Path("x")))
    assert one.genesis == two.genesis == moved.genesis
    assert [n.key.node_id for n in one.nodes] != [n.key.node_id for n in other.nodes]
    found = build_genesis(one.genesis).header.hash
    assert found == build_genesis(two.genesis).header.hash
    assert found != build_genesis(other.genesis).header.hash


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('side = "SZ"', 'side = "SH"', "side must be one of SZ, HK, MO, SG, not 'SH'"),
        ('institution = "webank"', 'institution = "webnak"', "did you mean 'webank'?"),
        ("seed = 4", "sead = 4", "did you mean 'seed'?"),
        ("seed = 4", 'seed = "4"', "seed must be an integer"),
        ("seed = 4", "seed = -4", "seed must be in 0.."),
        ('"ISSUER"', '"ISSUR"', "role 'ISSUR' is unknown"),
        ('schemas = ["cn.ecr/1"]', 'schemas = ["cn.ecr/9"]', "schema 'cn.ecr/9' is unknown"),
        ('client_of = "webank"', 'client_of = "nobody"', "client_of must name one of"),
    ],
)
def test_errors_name_the_line_and_the_mend(old, new, expected):
    text = GOOD.replace(old, new, 1)
    found = problems(text)
    assert expected in found
    assert f"net.toml:{line_of(text, new)}: " in found


def test_all_problems_are_told_at_once():
    text = GOOD.replace("seed = 4", "seed = true").replace('side = "SZ"', 'side = "XX"', 1)
    text = text.replace('client_of = "webank"', 'client_of = "nobody"')
    assert problems(text).count("net.toml:") == 3
    misspelt = GOOD.replace('institution = "webank"', 'institution = "webnak"')
    assert problems(misspelt).count("net.toml:") == 1, "its clients are not told of as well"


def test_a_port_that_a_slow_node_finds_taken_moves_the_network(tmp_path, monkeypatch):
    """Their ports were waited for no longer than 30 s, and two of four nodes were missing."""
    orders = []

    class SlowNodes(control.Control):
        polls = 0

        def is_running(self):
            return False

        def start_supervisor(self):
            pass

        def order(self, what, nodes=None):
            orders.append(what)
            self.polls += what == "status"
            ended = {"name": "node0", "pid": None, "exit_code": PORT_TAKEN_EXIT, "is_ready": False}
            starting = ended | {"pid": 1, "exit_code": None}
            ready = starting | {"is_ready": True}
            return [starting if self.polls < 3 else ended if self.polls == 3 else ready]

    clock = SimpleNamespace(monotonic=count(0, 16).__next__, sleep=lambda seconds: None)
    monkeypatch.setattr(control, "time", clock)  # each poll takes 16 s
    monkeypatch.setattr(network, "Control", SlowNodes)
    network._start(tmp_path / "nodes", GOOD, tmp_path / "net.toml", lambda text: None, None)
    assert [order for order in orders if order != "status"] == ["start", "stop", "start"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("rpc_port = 20900\nweb3_port = 20900", "web3_port 20900 is within 4 of rpc_port"),
        ("rpc_port = 20900\nweb3_port = 20903", "web3_port 20903 is within 4 of rpc_port"),
    ],
)
def test_ports_that_settings_take_twice(settings, told):
    assert told in problems(GOOD.replace("seed = 4", f"seed = 4\n{settings}"))
    apart = "rpc_port = 20900\nweb3_port = 20904"
    parse_spec(GOOD.replace("seed = 4", f"seed = 4\n{apart}"), Path("net.toml"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a" + ".a" * 100_000 + " = 1", "a key of more than 32 parts"),
        ("x" * (FILE_BYTES_MAX + 1), "larger than"),
        (
            GOOD.replace("seed = 4", "seed = " + "{a = " * 600 + "1" + "}" * 600),
            "seed must be an integer, not",
        ),
        (GOOD.replace("seed = 4", "seed.a" + ".a" * 30 + " = 1"), "seed must be an integer"),
        (GOOD.replace("seed = 4", f"seed = [0x{'f' * 9_000}]"), "not such a list"),
        (GOOD + "\n".join(f"k{n} = 1" for n in range(100_000)), "unknown key 'k0'"),
        ("[[institution]]\nid = 'x'\n" * 20_000, "and 352 more"),
    ],
)
def test_files_that_would_keep_the_reader_busy(tmp_path, text, told):
    path = tmp_path / "net.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_spec(path)
    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 60


def test_one_side_alone_may_not_reach_a_quorum():
    text = GOOD.replace('institution = "hkstp"', 'institution = "szcredit"')
    text = text.replace('client_of = "hkstp"', 'client_of = "bea-hk"')
    text = text.replace(
        'id = "hkstp"\nside = "HK"', 'id = "hkstp"\nside = "HK"\nclient_of = "bea-hk"'
    )
    assert "the SZ side has weight 3 and could reach the quorum of 3 alone" in problems(text)
    allowed = text.replace("seed = 4", "seed = 4\nallow_one_side_quorum = true")
    assert len(parse_spec(allowed, Path("x")).nodes) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "[network]"),
        ("x = [", "not valid TOML"),
        ("[network]\nname='a'\nseed=1\n", "[[institution]]"),
        ("[network]\nname='a b'\nseed=1\n", "letters, digits"),
        ("institution = 7", "[[institution]]"),
    ],
)
def test_hopeless_files(text, expected):
    assert expected in problems(text)


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_spec(tmp_path / "none.toml")


@pytest.fixture
def tree(tmp_path):
    plan = build_plan(parse_spec(GOOD, Path("x")))
    write_tree(plan, GOOD, tmp_path / "nodes")
    return plan, tmp_path / "nodes"


def test_a_tree_is_read_back(tree):
    plan, directory = tree
    assert is_tree(directory) and not is_tree(directory / "ca")
    assert load_tree(directory).genesis == plan.genesis
    folder = node_folder(directory, plan.nodes[2])
    assert load_genesis(folder / "config.genesis") == plan.genesis
    assert load_node_config(folder, "node2") == plan.node_config(plan.nodes[2], folder)
    assert (folder / "conf" / "node.pem").stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match="not empty"):
        write_tree(plan, GOOD, directory)
    with pytest.raises(ConfigError, match="no network here"):
        load_tree(directory / "ca")


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("config.genesis", "consensus_type=pbft", "consensus_type=raft", "use pbft"),
        ("config.genesis", "gas_limit=", "gas_limit=x", "is not an integer"),
        ("config.genesis", "node.1=", "node.1=zz", "cannot be read"),
        ("config.ini", "evm=compiled", "evm=fast", "not one of compiled, interpreted, both"),
        ("config.genesis", "[tx]", "[xt]", "section [tx] is missing"),
        ("config.genesis", "org.0={", "org.0=", "cannot be read"),
        ("config.ini", "listen_port=30300", "listen_port=99999", "outside 1..65535"),
        ("config.ini", "level=info", "level=loud", "not a log level"),
        ("config.ini", "tap=false", "tap=maybe", "neither true nor false"),
        ("config.ini", "allowed_hosts=", "allowed_hosts=a,*", "not a host's name"),
        ("config.ini", "allowed_origins=", "allowed_origins=null", "is not an origin"),
        ("config.ini", "[p2p]", "p2p", "not an INI file"),
        ("nodes.json", '"nodes"', '"n0des"', "expected"),
    ],
)
def test_bad_configuration_names_file_section_and_key(tree, name, old, new, expected):
    plan, directory = tree
    folder = node_folder(directory, plan.nodes[0])
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        (load_genesis(folder / "config.genesis"), load_node_config(folder, "node0"))
    assert expected in str(error.value) and name in str(error.value)


def test_configuration_round_trips(tree):
    plan, directory = tree
    assert dump_genesis(plan.genesis).count("node.") == 4
    config = plan.node_config(plan.nodes[0], directory)
    assert "listen_port=30300" in dump_node_config(config)
    folder = node_folder(directory, plan.nodes[0])
    listed = replace(
        plan.node_config(plan.nodes[0], folder),
        rpc_hosts=("a.example", "[::2]"),
        rpc_origins=("http://localhost:3000", "moz-extension://1f0a"),
    )
    (folder / "config.ini").write_text(dump_node_config(listed))
    assert load_node_config(folder, "node0") == listed


@pytest.mark.parametrize("engine", list(Engine))
def test_the_evm_of_all_nodes_is_chosen(tree, engine):
    plan, directory = tree
    write_engine(plan, directory, engine)
    configs = [load_node_config(node_folder(directory, node), node.name) for node in plan.nodes]
    assert [config.evm for config in configs] == [engine] * 4
    assert configs[0].peers == plan.node_config(plan.nodes[0], directory).peers


def test_free_ports_are_found(tmp_path):
    block, taken = find_free_block(PortBlock(43_000, 44_000, 45_000), 4, tmp_path)
    assert taken == [] or block != PortBlock(43_000, 44_000, 45_000)


def test_ports_of_a_network_whose_nodes_are_down_are_left_alone(tmp_path, monkeypatch):
    """Another network took the port of a node that was killed, which then could not come back."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    wanted = PortBlock(21_000, 22_000, 23_000)
    kept = KeptPorts(tmp_path / "one")
    kept.keep(ports_of(wanted, 4))
    block, taken = find_free_block(PortBlock(21_003, 22_003, 23_003), 4, tmp_path / "other")
    assert {21_003, 22_003, 23_003} <= set(taken) and block.p2p > 21_003
    own, taken = find_free_block(wanted, 4, tmp_path / "one")
    assert not set(taken) & set(ports_of(wanted, 4)) or own != wanted, "its own are its own"
    kept.keep(ports_of(PortBlock(24_000, 25_000, 26_000), 4))  # it has moved
    _, taken = find_free_block(PortBlock(21_003, 22_003, 23_003), 4, tmp_path / "other")
    assert not {21_003, 22_003, 23_003} & set(taken)
    (path,) = (tmp_path / f"lowu-ports-{os.getuid()}.d").glob("*.json")
    path.unlink()  # somebody took it for one that was left
    kept.keep(ports_of(wanted, 4))
    _, taken = find_free_block(wanted, 4, tmp_path / "other")
    assert set(ports_of(wanted, 4)) <= set(taken)
    kept.give_up()
    _, taken = find_free_block(wanted, 4, tmp_path / "other")
    assert taken == []
    path.write_text("[21000]")  # left by a supervisor that was killed
    assert find_free_block(wanted, 4, tmp_path / "other")[1] == [] and not path.exists()


@pytest.mark.parametrize("network", ["pilot-2", "gba-13"])
def test_reports_cross_the_boundary_of_every_size(network):
    async def play(cast, faults):
        document, issued = await issue_report(cast, 1)
        return await cast.hand_over("acme-sz", issued, document, "nova")

    assert VirtualNetwork(network).play(play).verdict is Verdict.ACCEPT
