"""Experiments in virtual time, and the costs that they rest on."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lowu.commands.experiment.calibrating import calibrate
from lowu.commands.experiment.command import experiment
from lowu.commands.experiment.simulating import simulate_once
from lowu.consensus.codec import decode_message, encode_message, signing_digest
from lowu.consensus.messages import Checkpoint
from lowu.consensus.types import Domain
from lowu.experiments.load.observed import PHASES
from lowu.experiments.load.planned.experiment_file import parse_experiments
from lowu.measuring import calibration
from lowu.measuring.calibration import FIRST_COSTS, fit_costs
from lowu.node.client import RemoteError
from lowu.node.crypto import is_signed_by
from lowu.node.gateway.framing import FrameKind
from lowu.node.gateway.gateway import Gateway
from lowu.node.identity import NodeKey
from lowu.node.metrics import BlockPhase
from lowu.node.simulation.byzantine import ByzantineGateway
from lowu.node.simulation.costs import CostModel, WorkCost
from lowu.node.simulation.simulated_machine import Machine
from lowu.node.traffic_tap import Tap
from lowu.options import read_network
from lowu.testing.networks import VirtualNetwork

FILE = """
[experiment]
name = "virtual"
network = "load-4"
provider = "sim"

[load]
workload = "register"
arrival = {{ kind = "constant", rate = {rate} }}
warm_up_s = 0
duration_s = {duration_s}
deadline_s = 5
"""


def play(more="", rate=10, duration_s=1, factor=1.0, workload='"register"', load="", deadline_s=5):
    text = FILE.format(rate=rate, duration_s=duration_s) + more
    text = text.replace('"register"', f"{workload}\n{load}", 1)
    text = text.replace("deadline_s = 5", f"deadline_s = {deadline_s}")
    (item,) = parse_experiments(text, Path("virtual.toml"))
    costs = {
        work: WorkCost(cost.base_s * factor, cost.item_s * factor)
        for work, cost in FIRST_COSTS.items()
    }
    machine = Machine(CostModel(2, costs, 0.001))
    return simulate_once(item, *read_network(item.network), machine)


def test_all_that_is_due_is_committed():
    found = play()
    figures = found.summary.figures
    assert (figures["scheduled"], figures["committed"]) == (10, 10)
    assert figures["generator_lag_ms_max"] == pytest.approx(0, abs=1e-6)
    assert found.is_valid
    assert found.is_healed
    assert set(found.observed.cpu_s) == {"node0", "node1", "node2", "node3", "generator"}
    assert all(found.observed.cpu_s.values())


JOURNEYS = "{ register = 1, verify = 1, revoke = 1, consent = 1, flow = 1 }"


def test_journeys_end_once_their_last_step_does():
    found = play(workload=JOURNEYS, rate=30)
    figures = {name: item.figures for name, item in found.by_workload.items()}
    assert found.summary.figures["scheduled"] == 30
    for name, item in figures.items():
        ending = "answered" if name in ("verify", "flow") else "committed"
        assert 0 < item["scheduled"] == item[ending], name
    p50_ms = {name: item["p50_ms"] for name, item in figures.items()}
    assert p50_ms["verify"] < p50_ms["register"] < p50_ms["revoke"] < p50_ms["flow"]
    assert 1.3 * p50_ms["register"] < p50_ms["consent"]


def test_a_read_whose_answer_stays_wrong_has_failed(monkeypatch):
    monkeypatch.setattr("lowu.experiments.load.run.stock_anchor", lambda place: bytes(31) + b"\1")
    figures = play(workload='"verify"', rate=2).summary.figures
    assert (figures["scheduled"], figures["failed"]) == (2, 2)


def test_several_generators_offer_in_turns():
    found = play(load="generators = 2")
    figures = found.summary.figures
    assert (figures["scheduled"], figures["committed"]) == (10, 10)
    assert all(found.observed.cpu_s[name] for name in ("generator", "generator-2"))


def test_blocks_pass_their_phases_in_order_at_every_node():
    assert tuple(BlockPhase) == PHASES
    found = play(rate=20)
    assert {item.node for item in found.observed.phases} == {"node0", "node1", "node2", "node3"}
    whole = [item for item in found.observed.phases if None not in item.passed_s]
    assert len(whole) >= 40 and all(sorted(item.passed_s) == list(item.passed_s) for item in whole)
    assert set(found.phase_times) == set(PHASES[1:])
    assert {item.process for item in found.observed.samples} == set(found.observed.cpu_s)


ALL_FAULTS = """
[network]
allow_lies = true

[[link]]
between = ["node0", ["node2", "node3"]]
delay_ms = 3

[random_faults]
every_s = 0.2
for_s = 0.3
kinds = ["pause", "throttle", "cut", "slow", "disk", "clock", "kill"]
"""


def test_random_faults_are_met_and_healed():
    found = play(ALL_FAULTS, rate=10, duration_s=12, deadline_s=60)
    assert len({fault.kind for fault in found.faults}) >= 5
    assert found.is_healed
    assert found.summary.figures["uncommitted"] == 0


def test_a_slow_disk_delays_votes():
    disk = "[network]\nallow_lies = true\n[[fault]]\nat_s = 0\nfor_s = 9\ndelay_ms = {}\ndisk = {}"
    quick, one, two = (
        play(disk.format(delay, nodes)).summary.figures["p50_ms"]
        for delay, nodes in ((1, '"node1"'), (40, '"node1"'), (40, '["node1", "node2"]'))
    )
    assert one < quick + 80 < two  # a quorum does without one


OVERLAPS = """
[network]
allow_lies = true
[[fault]]
at_s = 0
for_s = 9
{kind} = ["node1", "node2"]
delay_ms = {long}
[[fault]]
at_s = 0.1
for_s = {ends_s}
{kind} = ["node1", "node2"]
delay_ms = {short}
"""


@pytest.mark.parametrize("kind", ["disk", "slow"])
def test_of_faults_that_overlap_the_worst_counts_until_it_ends(kind):
    """The end of one ended the other as well, or brought back what had ended."""
    alone, both = (
        play(OVERLAPS.format(kind=kind, long=60, short=5, ends_s=ends_s)).summary.figures["p50_ms"]
        for ends_s in (9, 0.2)
    )
    assert 0.6 * alone < both < 1.6 * alone
    brief = OVERLAPS.format(kind=kind, long=5, short=60, ends_s=0.1)
    assert play(brief).summary.figures["p50_ms"] < 0.6 * alone


def test_links_of_one_direction_add_up():
    link = '[[link]]\nbetween = ["SZ", "HK"]\n{}\n'
    one = play(link.format("delay_ms = 30\nbandwidth_mbit = 50"))
    two = play(link.format("delay_ms = 30") + link.format("bandwidth_mbit = 50"))
    assert two.summary.figures["p50_ms"] == pytest.approx(one.summary.figures["p50_ms"], rel=0.1)


def test_a_fault_whose_height_never_comes_does_not_hold_the_run_up():
    found = play('[[fault]]\nat_height = 10000\nkill = "node1"\nrestart_after_s = 1\n')
    assert found.faults == [] and found.is_valid


def test_who_leads_is_known_while_the_first_node_is_down():
    down = '[[fault]]\nat_s = 0\nkill = "node0"\n'
    found = play(down + '[[fault]]\nat_s = 0.5\npause = "leader"\nfor_s = 0.2\n')
    (pause,) = [fault for fault in found.faults if fault.kind == "pause"]
    assert pause.begins_s < 0.6 and pause.nodes != ("node0",)


def test_a_leader_that_returns_and_lags_is_not_waited_for():
    """It has blocks to fetch when its turn comes; the others waited for their time-out."""
    crash = '[[fault]]\nat_s = 0.5\nkill = "leader"\nrestart_after_s = 3\n'
    found = play(crash, rate=40, duration_s=6, factor=2.5, deadline_s=20)
    assert found.is_healed and found.summary.figures["uncommitted"] == 0
    assert found.summary.figures["max_ms"] < 600  # it was 1,007


def test_dear_work_takes_longer():
    cheap, dear = (play(factor=factor).summary.figures["p50_ms"] for factor in (0.1, 3.0))
    assert dear > 2 * cheap


def test_more_than_the_cores_can_do_is_not_committed():
    figures = play(rate=100, factor=50.0).summary.figures
    assert figures["timed_out"] > 30


def test_a_delay_of_the_boundary_shows_in_the_latency():
    link = '[[link]]\nbetween = ["SZ", "HK"]\ndelay_ms = {}\n'
    near, far = (play(link.format(delay)).summary.figures["p50_ms"] for delay in (1, 40))
    assert far - near > 3 * 39


def test_faults_happen_when_they_are_due():
    """Of four nodes, one may be down; six seconds of a pause show as such."""
    found = play(
        '[[fault]]\nat_s = 1\nkill = "leader"\nrestart_after_s = 2\n'
        '[[fault]]\nat_s = 5\npause = ["node0", "node1", "node2", "node3"]\nfor_s = 2\n',
        rate=3,
        duration_s=8,
    )
    assert [(item.kind, len(item.nodes)) for item in found.faults] == [("kill", 1), ("pause", 4)]
    assert [round(item.begins_s, 3) for item in found.faults] == [1.0, 5.0]
    assert found.is_healed
    assert found.summary.figures["uncommitted"] == 0
    assert 2_000 <= found.summary.figures["max_ms"] < 4_900


def test_the_same_run_gives_the_same_files(tmp_path):
    path = tmp_path / "virtual.toml"
    path.write_text(FILE.format(rate=10, duration_s=0.5), encoding="utf-8")
    runner = CliRunner()
    for out in ("one", "two"):
        found = runner.invoke(
            experiment, ["run", str(path), "--out", str(tmp_path / out), "--json"]
        )
        assert json.loads(found.output)["figures"]["committed"] == 5
    again = runner.invoke(
        experiment, ["rerun", str(tmp_path / "one"), "--out", str(tmp_path / "three"), "--json"]
    )
    assert json.loads(again.output)["ok"] is True
    one, two, three = (list_files(tmp_path / name) for name in ("one", "two", "three"))
    assert len(one) == 9
    page = one["report.html"].decode()
    assert "Phases of a block" in page
    assert "Memory by process" not in page  # nothing is measured of it in virtual time
    assert one == two == three


def list_files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_costs_are_for_virtual_time_only(tmp_path):
    path, costs = tmp_path / "local.toml", tmp_path / "costs.json"
    path.write_text(FILE.format(rate=1, duration_s=1).replace('"sim"', '"local"'), encoding="utf-8")
    costs.write_text("{}", encoding="utf-8")
    found = CliRunner().invoke(experiment, ["run", str(path), "--costs", str(costs)])
    assert found.exit_code == 2
    assert "add --provider sim" in found.output
    found = CliRunner().invoke(
        experiment, ["run", str(path), "--costs", str(costs), "--provider", "sim"]
    )
    assert "costs.json: not a cost model" in found.output


def test_costs_are_read_from_plain_files_only(tmp_path):
    """A pipe that nobody writes to held the command for ever."""
    os.mkfifo(tmp_path / "costs.json")
    path = tmp_path / "x.toml"
    text = FILE.format(rate=1, duration_s=1)
    path.write_text(text.replace('"sim"', '"sim"\ncosts = "costs.json"'), encoding="utf-8")
    found = CliRunner().invoke(experiment, ["run", str(path)])
    assert found.exit_code == 2
    assert f"{tmp_path / 'costs.json'}: not a plain file" in found.output


def test_somebody_elses_results_send_no_load_anywhere(tmp_path):
    (tmp_path / "runs").mkdir()
    text = FILE.format(rate=1, duration_s=1)
    (tmp_path / "experiment.toml").write_text(text, encoding="utf-8")
    told = {"provider": {"name": "target", "urls": ["http://victim.example"]}}
    (tmp_path / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    found = CliRunner().invoke(experiment, ["rerun", str(tmp_path)])
    assert found.exit_code == 2
    assert "with --target" in found.output


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_costs_are_found_from_what_was_spent(noise):
    wanted = [2e-4, 3e-5, 0.0]
    counts = [(100, 400, 50), (200, 3_000, 10), (50, 9_000, 70), (400, 100, 5)]
    spent = [
        sum(cost * count for cost, count in zip(wanted, row, strict=True)) * (1 + sign * noise)
        for row, sign in zip(counts, (1, -1, 1, -1), strict=True)
    ]
    found = fit_costs(counts, spent)
    assert found[:2] == pytest.approx(wanted[:2], rel=0.001 + 5 * noise)
    assert found[2] <= 1e-5 * (1 + 100 * noise)
    assert all(cost >= 0 for cost in found)


LIE = """
[network]
allow_lies = true

[[fault]]
at_s = 0
lie = "node1"
how = "{}"
for_s = 4
"""


@pytest.mark.parametrize(
    ("how", "figure", "least"),
    [
        ("equivocate", "max_ms", 2_900),
        ("withhold", "max_ms", 2_900),  # until the others' time-out
        ("delay", "max_ms", 1_000),
        ("censor", "max_ms", 100),  # until an honest leader's turn; all honest, it is 39
        ("wrong-result", "committed", 32),  # three others suffice; what it sends is tested below
    ],
)
def test_one_liar_of_four_is_tolerated(how, figure, least):
    found = play(LIE.format(how), rate=8, duration_s=4)
    figures = found.summary.figures
    assert figures["committed"] == 32
    assert figures[figure] >= least
    assert found.is_healed


def test_a_wrong_result_leaves_with_a_valid_signature(monkeypatch):
    """What leaves is checked with the primitives, not with the node that made it."""
    sent = []
    monkeypatch.setattr(Gateway, "broadcast", lambda self, ids, kind, value: sent.append(value))
    key, domain = NodeKey.from_private(b"\1" * 32), Domain("chain", "group")
    gateway = ByzantineGateway(
        key, domain, node_id=key.node_id, members=frozenset, genesis_hash=bytes(32), contexts=None,
        tap=Tap(None), entrants_max=1,
    )  # fmt: skip
    honest = Checkpoint(5, b"d" * 32, b"h" * 32, 0)
    told = replace(honest, signature=key.sign(signing_digest(domain, 1, honest)))
    for lies in ([], ["wrong-result"], []):
        gateway.set_lies(lies)
        gateway.broadcast([b"x"], FrameKind.CONSENSUS, encode_message(told))
    first, wrong, last = map(decode_message, sent)
    assert first == last == told
    assert (wrong.height, wrong.digest, wrong.block_hash) == (5, b"d" * 32, b"\x97" * 32)
    assert is_signed_by(key.node_id, signing_digest(domain, 1, wrong), wrong.signature)


def test_lies_have_to_be_allowed():
    with pytest.raises(ValueError, match="allow_lies = true"):
        play(LIE.format("delay").replace("allow_lies = true", ""))


def test_a_cut_of_one_way_holds_up_what_a_quorum_needs():
    """What was sent meanwhile arrives afterwards, and nothing is lost."""
    cut = '[[fault]]\nat_s = 1\ncut = ["SZ", "HK"]\none_way = true\nfor_s = 1.5\n'
    figures = play(cut, duration_s=3).summary.figures
    assert figures["committed"] == 30
    assert figures["max_ms"] >= 1_000


def test_losses_and_a_narrow_link_show_in_the_latency():
    link = '[[link]]\nbetween = ["SZ", "HK"]\n{}\n'
    good, lossy, narrow = (
        play(link.format(text), rate=20, duration_s=2).summary.figures
        for text in ("delay_ms = 1", "delay_ms = 1\nloss = 0.1", "bandwidth_mbit = 0.2")
    )
    assert lossy["p90_ms"] > good["p90_ms"] + 100
    assert narrow["p50_ms"] > good["p50_ms"] + 20
    assert lossy["committed"] == narrow["committed"] == 40


def test_a_throttled_node_is_slow():
    throttle = '[[fault]]\nat_s = 0\nthrottle = ["node0", "node1"]\nshare = 0.1\nfor_s = 2\n'
    free, slow = (play(more, duration_s=2).summary.figures for more in ("", throttle))
    assert slow["p50_ms"] > free["p50_ms"] + 50
    assert slow["committed"] == 20


def test_a_fault_begins_at_a_height():
    found = play('[[fault]]\nat_height = 8\npause = "leader"\nfor_s = 0.2\n', duration_s=2)
    (fault,) = found.faults
    (block,) = [item for item in found.blocks if item.height == 8]
    assert fault.begins_s == pytest.approx(block.at_s, abs=0.1)


def test_a_node_lies_only_where_that_is_allowed():
    async def play(actors, faults):
        with pytest.raises(RemoteError, match="allow_lies"):
            await actors.clients["nova"].call("setLies", ["delay"])

    VirtualNetwork("dev-4").play(play)


def test_costs_of_another_machine_are_refused_before_anything_is_measured(monkeypatch, tmp_path):
    """Averaging told so after ten minutes of measuring, and wrote nothing."""

    def measure(progress):
        raise AssertionError("measured")

    monkeypatch.setattr(calibration, "measure_costs", measure)
    told = CostModel(calibration.count_cores() + 1, FIRST_COSTS).to_json()
    (tmp_path / "earlier.json").write_text(json.dumps(told))
    options = ["--average-with", str(tmp_path / "earlier.json"), "--out", str(tmp_path / "new")]
    done = CliRunner().invoke(calibrate, options)
    assert done.exit_code == 2 and "calibrate both times on one machine" in done.output
    assert not (tmp_path / "new").exists()
