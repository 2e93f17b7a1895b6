"""Experiment files: what they mean, and every mistake with its line."""

from pathlib import Path

import pytest

from lowu.experiments.load.planned.experiment_file import Bound, parse_experiments
from lowu.experiments.load.planned.random_faults import KINDS_DRAWN, RandomFaults
from lowu.node.errors import ConfigError
from lowu.node.topology.faults.link_shape import LinkShape

GOOD = """\
[experiment]
name = "leader crash"
network = "load-4"
repetitions = 5
seed = 1

[network]
block_tx_count_limit = 500

[load]
workload = "register"
arrival = { kind = "poisson", rate = 300 }
warm_up_s = 5
duration_s = 60
deadline_s = 20

[[link]]
between = ["SZ", "HK"]
delay_ms = 40
jitter_ms = 2

[[fault]]
at_s = 20
kill = "leader"
restart_after_s = 10

[[fault]]
at_s = 40
cut = ["SZ", "HK"]
for_s = 5

[expect]
p99_ms = "<= 500"
failed = 0
"""


def read(text):
    return parse_experiments(text, Path("x.toml"))


def problems(text):
    with pytest.raises(ConfigError) as refused:
        read(text)
    return str(refused.value)


def test_what_a_file_says():
    (found,) = read(GOOD)
    assert (found.name, found.network, found.repetitions) == ("leader crash", "load-4", 5)
    assert found.changes == {"block_tx_count_limit": 500}
    assert (found.load.arrivals.kind, found.load.arrivals.rate) == ("poisson", 300.0)
    assert found.load.offered_s == 65
    kill, cut = found.faults
    assert (kill.at_s, kill.kind, kill.targets, kill.for_s) == (20, "kill", ("leader",), 10)
    assert (cut.targets, cut.for_s) == (("SZ", "HK"), 5)
    assert found.links[0].shape == LinkShape(0.04, 0.002)
    assert found.expectations == (
        Bound("p99_ms", "<=", 500), Bound("failed", "==", 0),
    )  # fmt: skip
    assert [item.holds(0) for item in found.expectations] == [True, True]
    assert [item.holds(501) for item in found.expectations] == [False, False]


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ('name = "leader crash"', 'name = "../x"', 2, "name must be"),
        ("seed = 1", "seed = -1", 5, "seed must be in 0.."),
        ("repetitions = 5", "repetitions = 1.5", 4, "repetitions must be a whole number"),
        ("seed = 1", "sead = 1", 5, "unknown key 'sead'; did you mean 'seed'?"),
        ('"register"', '"registr"', 11, "no workload 'registr'; did you mean 'register'?"),
        ('"poisson"', '"poison"', 12, "did you mean 'poisson'?"),
        ("rate = 300", "rate = 0", 12, "rate must be in"),
        ("rate = 300", "rate = true", 12, "rate must be a number"),
        ("rate = 300", "rate = nan", 12, "rate must be in"),
        (', rate = 300', "", 12, "needs rate"),
        ("warm_up_s = 5", "warmup_s = 5", 13, "did you mean 'warm_up_s'?"),
        ('kill = "leader"', 'kil = "leader"', 24, "did you mean 'kill'?"),
        ("at_s = 20\n", "", 22, "give one of them"),
        ("at_s = 20\n", "at_s = 20\nat_height = 9\n", 22, "give one of them"),
        ("jitter_ms = 2", "loss = 0.9", 20, "loss must be in 0..0.5"),
        ("jitter_ms = 2", "one_way = 1", 20, "one_way must be true or false"),
        ('between = ["SZ", "HK"]', 'between = ["SZ", "SZ"]\none_way = true', 19, "no direction"),
        ('kill = "leader"', 'kill = "leader"\nshare = 0.5', 25, "a kill has no share"),
        ('cut = ["SZ", "HK"]', 'throttle = "node1"', 27, "share is missing: how much of a core"),
        ('cut = ["SZ", "HK"]', 'lie = "node1"\nhow = "sing"', 30, "equivocate"),
        ('cut = ["SZ", "HK"]', 'pause = "node1"\none_way = true', 30, "a pause has no direction"),
        ("restart_after_s = 10", "for_s = 10", 25, "use restart_after_s, not for_s, with kill"),
        ("for_s = 5\n", "", 27, "for_s is missing"),
        ("at_s = 40", "at_s = 65", 28, "after the end of the load, at 65 s"),
        ('name = "leader crash"\n', "", 1, "name is missing"),
        ('cut = ["SZ", "HK"]', 'cut = ["SZ"]', 29, "two ends"),
        ('between = ["SZ", "HK"]', 'between = ["SZ", "HKG"]', 18, "did you mean 'HK'?"),
        ('cut = ["SZ", "HK"]', 'cut = [["SZ"], "SZ"]', 29, "SZ is not cut off from itself"),
        ('cut = ["SZ", "HK"]', 'cut = [[], "SZ"]', 29, "two ends"),
        ('cut = ["SZ", "HK"]', 'disk = "node1"', 27, "delay_ms is missing"),
        ('cut = ["SZ", "HK"]', 'clock = "node1"', 27, "ahead_ms is missing"),
        ("jitter_ms = 2", 'trace = "none.csv"', 20, "No such file"),
        ("jitter_ms = 2", 'trace = "../x.csv"', 20, "put the file beside this one"),
        ("[expect]", '[random_faults]\nkinds = ["kil"]\n[expect]', 33, "did you mean 'kill'"),
        ('p99_ms = "<= 500"', 'p99 = "<= 500"', 33, "no figure 'p99'; did you mean 'p99"),
        ('p99_ms = "<= 500"', 'p99_ms = "about 500"', 33, "a number, or a bound"),
        ("[load]\n", "[lod]\n", 10, "unknown key 'lod'; did you mean 'load'?"),
    ],
)  # fmt: skip
def test_mistakes_are_told_at_their_line(old, new, line, told):
    text = problems(GOOD.replace(old, new, 1))
    assert told in text, text
    assert any(item.startswith(f"x.toml:{line}: ") and told in item for item in text.splitlines())


def test_all_mistakes_are_told_at_once():
    text = GOOD.replace("seed = 1", "seed = -1").replace("deadline_s = 20", "deadline_s = 0")
    assert len(problems(text).splitlines()) == 2


def test_a_profile_stands_for_an_arrival():
    text = GOOD.replace(
        'arrival = { kind = "poisson", rate = 300 }', 'profile = "demand"\nspeed = 60'
    )
    (found,) = read(text)
    assert found.load.arrivals.kind == "diurnal" and found.load.arrivals.period_s == 1_440
    assert "not both" in problems(GOOD.replace("arrival =", 'profile = "demand"\narrival ='))
    assert "arrival is missing" in problems(text.replace('profile = "demand"\n', ""))


def test_a_mix_of_workloads_has_shares():
    assert read(GOOD)[0].load.workload == {"register": 1.0}
    mix = "workload = { register = 0.8, transfer = 0.2, nothing = 0 }"
    (found,) = read(GOOD.replace('workload = "register"', mix))
    assert found.load.workload == {"register": 0.8, "transfer": 0.2}
    for shares, told in (
        ("{ transfers = 1 }", "did you mean 'transfer'?"),
        ("{ transfer = -1 }", "transfer must be in 0.."),
        ("{ transfer = 0 }", "at least one share above 0"),
        ("{}", "at least one share above 0"),
        ("[1]", "workload must be a text"),
    ):
        text = problems(GOOD.replace('workload = "register"', f"workload = {shares}"))
        assert told in text and "x.toml:11: " in text


def test_a_link_may_have_a_preset():
    text = GOOD.replace("delay_ms = 40\njitter_ms = 2", 'preset = "boundary"')
    assert read(text)[0].links[0].shape == LinkShape(0.008, 0.006)
    assert "not both" in problems(text.replace('"boundary"', '"boundary"\ndelay_ms = 1'))
    assert "did you mean 'boundary'?" in problems(text.replace('"boundary"', '"bundary"'))


def test_a_trace_stands_beside_the_file(tmp_path):
    (tmp_path / "day.txt").write_text("5\n5.5\n7\n")
    kind = 'arrival = { kind = "replay", file = "day.txt" }'
    text = GOOD.replace('arrival = { kind = "poisson", rate = 300 }', kind)
    (found,) = parse_experiments(text, tmp_path / "x.toml")
    assert found.load.arrivals.draw(60, 0) == [0, 0.5, 2]
    assert "day.txt: cannot be read" in problems(text)
    for name in ("/dev/zero", "/dev"):  # the first is endless
        told = problems(text.replace("day.txt", name))
        assert f"{name}: " in told and "plain file" in told


def test_a_sweep_is_every_combination():
    sweep = """
[sweep]
"link.0.delay_ms" = [1, 80]
"experiment.network" = ["load-4", "load-7", "load-10"]
"""
    found = read(GOOD + sweep)
    assert [(item.links[0].shape.delay_s * 1_000, item.network) for item in found] == [
        (1, "load-4"), (1, "load-7"), (1, "load-10"),
        (80, "load-4"), (80, "load-7"), (80, "load-10"),
    ]  # fmt: skip
    assert found[0].point == {"link.0.delay_ms": 1, "experiment.network": "load-4"}
    assert read(GOOD + "\n[sweep]\nload.arrival.rate = [1, 2]\n")[1].load.arrivals.rate == 2
    for text, told in (
        ("load.arrival.rat = [1]", "the file has nothing there"),
        ('"link.1.delay_ms" = [1]', "the file has nothing there"),
        ("experiment.seed = 5", "needs a list of values"),
        ("experiment.seed = [1, -5]", "seed must be in"),
        (f"experiment.seed = {list(range(1_001))}", "more than 1000 combinations"),
    ):
        assert told in problems(f"{GOOD}\n[sweep]\n{text}\n")


def test_ends_are_sides_nodes_or_lists_of_them():
    text = GOOD.replace('cut = ["SZ", "HK"]', 'cut = ["bank-sz-1", ["node2", "node3"]]')
    cut = read(text)[0].faults[1]
    assert cut.ends == (("bank-sz-1",), ("node2", "node3"))
    assert cut.targets == ("bank-sz-1", "node2+node3")


TRACED = GOOD.replace("delay_ms = 40\njitter_ms = 2", 'trace = "delays.csv"')


@pytest.mark.parametrize(
    ("lines", "trace"),
    [
        ("0,1\n1,2\n", ((0.0, 0.001), (1.0, 0.002))),
        ("# rtt / 2\n0,1.5\n\n2.5,0\n", ((0.0, 0.0015), (2.5, 0.0))),
    ],
)
def test_a_trace_of_a_link(tmp_path, lines, trace):
    (tmp_path / "delays.csv").write_text(lines)
    (found,) = parse_experiments(TRACED, tmp_path / "x.toml")
    assert found.links[0].shape.trace == trace
    assert found.files == ("delays.csv",)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("1,1\n2,2\n", "line 1: times begin with 0"),
        ("0,1\n0,2\n", "line 2: times begin with 0"),
        ("0,-1\n1,2\n", "line 1: times begin with 0"),
        ("0,1\nnan,2\n", "line 2: times begin with 0"),
        ("0,1\ninf,2\n", "line 2: times begin with 0"),
        ("0;1\n", "seconds,milliseconds"),
        ("0,1\n", "at least two lines"),
        ("", "at least two lines"),
    ],
)
def test_traces_that_are_none(tmp_path, lines, told):
    (tmp_path / "delays.csv").write_text(lines)
    with pytest.raises(ConfigError) as refused:
        parse_experiments(TRACED, tmp_path / "x.toml")
    assert told in str(refused.value)


def draw(seed, kinds=KINDS_DRAWN, sides=("HK", "SZ")):
    return RandomFaults(kinds, 4.0, 2.0).draw(10_000, seed, ("node0", "node1"), sides)


def test_random_faults_follow_from_the_seed_and_come_one_at_a_time():
    found = draw(1)
    assert found == draw(1) != draw(2)
    assert {item.kind for item in found} == set(KINDS_DRAWN)
    ends_s = [item.at_s + item.for_s for item in found]
    gaps_s = [after.at_s - end_s for after, end_s in zip(found[1:], ends_s, strict=False)]
    assert min(gaps_s) > -0.002  # times are whole milliseconds
    assert sum(gaps_s) / len(gaps_s) == pytest.approx(4, rel=0.15)
    assert sum(item.for_s for item in found) / len(found) == pytest.approx(2, rel=0.15)


def test_nothing_is_cut_where_there_is_one_side():
    assert {item.kind for item in draw(1, ("cut", "kill"), ("SZ",))} == {"kill"}
    assert draw(1, ("cut",), ("SZ",)) == ()
