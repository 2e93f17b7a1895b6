"""`lowu experiment`, on real processes."""

import json
import signal
import subprocess
import sys
import threading

import psutil

from lowu.experiments.load.outcomes import read_records
from tests.network.kit import lowu, lowu_json

STOPPED = """\
[experiment]
name = "stopped"
network = "load-4"

[load]
arrival = { kind = "constant", rate = 20 }
warm_up_s = 0
duration_s = 9
deadline_s = 60
lag_bound_ms = 5000

[load.workload]
register = 1
nothing = 1
transfer = 1
approve = 1
smallbank = 1
batch = 1
performance = 1
parallel = 1
ycsb-a = 1
ycsb-d = 1
ycsb-e = 1
ycsb-f = 1

[[fault]]
at_s = 1
pause = ["node0", "node1", "node2", "node3"]
for_s = 6

[expect]
failed = 0
uncommitted = 0
max_ms = ">= 5900"
"""


def test_a_stop_of_the_whole_network_shows_in_its_length(tmp_path):
    """Coordinated omission: a generator that waits for answers would show one slow transaction."""
    (tmp_path / "stopped.toml").write_text(STOPPED)
    found = lowu_json("experiment", "run", "stopped.toml", "--out", "out", cwd=tmp_path)
    figures = found["figures"]
    assert figures["scheduled"] == figures["sent"] == figures["committed"] == 180
    assert figures["p99_ms"] >= 5_700 and figures["p50_ms"] >= 1_000
    run = tmp_path / "out" / "runs" / "001-001"
    records = read_records(run / "records.csv")
    assert len(records) == 180
    (fault,) = json.loads((run / "run.json").read_text())["faults"]
    assert fault["kind"] == "pause" and fault["ends_s"] - fault["begins_s"] >= 5.9
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["seeds"] == [1] and manifest["platform"]["cores"] >= 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "All runs are valid" in page and "uPlot" in page
    (tmp_path / "out" / "report.html").unlink()
    lowu("experiment", "report", "out", cwd=tmp_path)
    assert (tmp_path / "out" / "report.html").read_text() == page
    compared = lowu_json("experiment", "compare", "out", "out", cwd=tmp_path)
    ((point,),) = (compared["comparisons"],)
    assert point["figures"]["p99_ms"]["verdict"] == "too few runs"
    again = lowu("experiment", "run", "stopped.toml", "--out", "out", cwd=tmp_path, check=False)
    assert again.returncode == 2 and "is there already" in again.stderr


def test_an_interrupted_run_keeps_what_it_found_and_leaves_no_process(tmp_path):
    command = [sys.executable, "-m", "lowu", "experiment", "run", "quick", "--out", "out"]
    before = {item.pid for item in psutil.process_iter()}
    running = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(90, running.kill)
    watchdog.start()
    for line in running.stderr:
        if ", done " in line:
            running.send_signal(signal.SIGINT)
            break
    told, _ = running.communicate()
    watchdog.cancel()
    assert running.returncode == 1 and "the run was interrupted" in told
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["complete"] is False
    ((run,),) = (point["runs"] for point in summary["points"])
    assert run["endings"]["COMMITTED"] + run["endings"]["WAITING"] > 0
    left = [
        item.pid
        for item in psutil.process_iter(["cmdline"])
        if item.pid not in before and "lowu-experiment" in " ".join(item.info["cmdline"] or ())
    ]
    assert left == []


def test_files_are_checked_before_anything_is_started(tmp_path):
    for name in ("quick", "leader-crash"):
        assert lowu_json("experiment", "validate", name)["figures"]["runs"] >= 1
    assert {"quick", "leader-crash"} <= lowu_json("experiment", "list")["experiments"].keys()
    lowu("experiment", "init", cwd=tmp_path)
    lowu("experiment", "validate", "experiment.toml", cwd=tmp_path)
    text = (tmp_path / "experiment.toml").read_text()
    for old, new, problem in (
        ('network = "load-4"', 'network = "lod-4"', "neither bundled"),
        ("[expect]", '[[fault]]\nat_s = 1\nkill = "bank-sz-9"\n[expect]', "did you mean 'bank-sz-"),
        (
            "[expect]",
            '[[fault]]\nat_s = 1\ncut = ["SZ", "MO"]\nfor_s = 1\n[expect]',
            "no side or node 'MO'",
        ),
        ("[load]", "[network]\nblock_tx_limit = 5\n[load]", "block_tx_count_limit"),
        ("rate = 200", "rate = 1e6", "more than"),
    ):
        (tmp_path / "wrong.toml").write_text(text.replace(old, new, 1))
        done = lowu("experiment", "run", "wrong.toml", cwd=tmp_path, check=False)
        assert done.returncode == 2 and problem in done.stderr, done.stderr
    assert not (tmp_path / "results").exists()


LYING = """\
[experiment]
name = "lying"
network = "load-4"

[network]
allow_lies = true

[load]
arrival = { kind = "constant", rate = 20 }
warm_up_s = 0
duration_s = 8
deadline_s = 30
lag_bound_ms = 5000

[[link]]
between = ["SZ", "HK"]
delay_ms = 5
loss = 0.01
bandwidth_mbit = 100

[[link]]
between = ["node0", ["node1", "node3"]]
trace = "delays.csv"

[[fault]]
at_s = 1
pause = "node3"  # while it is throttled
for_s = 1.5

[[fault]]
at_s = 3
disk = "node1"
delay_ms = 20
for_s = 2

[[fault]]
at_s = 3
clock = ["node1", "node2"]
ahead_ms = 2000
for_s = 2

[[fault]]
at_s = 1
lie = "leader"
how = "withhold"
for_s = 2

[[fault]]
at_height = 5
throttle = "node3"
share = 0.3
for_s = 2

[[fault]]
at_s = 4
cut = ["HK", "SZ"]
one_way = true
for_s = 1.5

[expect]
uncommitted = 0
max_ms = ">= 1400"
"""


def test_lies_losses_and_cuts_of_one_way_are_tolerated(tmp_path):
    (tmp_path / "lying.toml").write_text(LYING)
    (tmp_path / "delays.csv").write_text("0,2\n0.5,8\n2,0\n")
    found = lowu_json("experiment", "run", tmp_path / "lying.toml", "--out", tmp_path / "out")
    (run,) = found["points"][0]["runs"]
    assert run["healed"]
    assert sorted(fault["kind"] for fault in run["faults"]) == [
        "clock", "cut", "disk", "lie", "pause", "throttle",
    ]  # fmt: skip
    assert found["figures"]["uncommitted"] == 0
    assert found["as_expected"]
