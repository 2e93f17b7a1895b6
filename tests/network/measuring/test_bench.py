"""``lowu bench`` on real networks: it measures, and prints the figures that scripts read."""

import os
import signal
import subprocess
import sys

from tests.network.kit import lowu, lowu_json, processes_of, wait_until


def test_throughput():
    found = lowu_json("bench", "throughput", "--against", "", "--rounds", 1, "--registrations", 200)
    figures = found["figures"]
    assert figures["registrations_per_second"] > 0 and figures["cpu_us_follower"] > 0
    assert "ratio_anvil_median" not in figures and found["machine"]["cores"] >= 1


def test_latency():
    options = ("--idle", 20, "--seconds", 1, "--rounds", 1, "--registrations", 400)
    figures = lowu_json("bench", "latency", *options)["figures"]
    assert 0 < figures["idle_p50_ms"] <= figures["idle_p99_ms"] <= figures["idle_p99.9_ms"]
    assert figures["half_load_count"] > 0 and figures["failures"] == 0


def test_scale_by_part():
    options = ("--nodes", "4", "--registrations", 200, "--rounds", 1)
    figures = lowu_json("bench", "scale", *options)["figures"]
    parts = ("admission", "execution", "consensus", "storage", "rest")
    spent = [figures[f"cpu_us_{part}_4"] for part in parts]
    assert abs(figures["cpu_us_4"] - sum(spent)) < 0.25 * figures["cpu_us_4"] and min(spent) > 0
    done = lowu("bench", "scale", "--nodes", "1", check=False)
    assert done.returncode == 2 and "follower" in done.stderr


def test_memory():
    assert 1 < lowu_json("bench", "memory", "dev-4", "--rounds", 1)["figures"]["pss_mb_node"] < 200


def test_a_plot_that_cannot_be_drawn_is_refused_before_measuring(tmp_path):
    done = lowu("bench", "latency", "--plot", tmp_path / "plot.txt", check=False)
    assert done.returncode == 2 and ".png, .svg, .pdf" in done.stderr


def test_the_path_of_a_registration():
    figures = lowu_json("bench", "path", "--blocks", 1, "--rounds", 2)["figures"]
    steps = sum(
        figures[f"{step}_us"]
        for step in ("decode", "admit", "propose", "save", "contracts", "results", "commit")
    )
    assert 0 < figures["recover_us"] < figures["together_us"]
    assert 0 < steps < 1.5 * figures["together_us"]


def test_state_and_sync():
    figures = lowu_json("bench", "state", "--records", "200,400", "--rounds", 1)["figures"]
    assert figures["register_us_400"] > 0 and figures["verify_us_200"] > 0
    assert 200 < figures["disk_bytes_400"] < 20_000
    done = lowu("bench", "state", "--records", "300", check=False)
    assert done.returncode == 2 and "multiple of 200" in done.stderr
    figures = lowu_json("bench", "sync", "--registrations", 200, "--rounds", 1)["figures"]
    assert figures["synced_per_second"] > 0 and figures["cpu_us_synced"] > 0


def test_a_node_without_a_disk_takes_a_state_or_all_blocks():
    figures = lowu_json("bench", "sync", "--lengths", 100, "--rounds", 1)["figures"]
    assert figures["state_s_100"] > 0 and figures["blocks_cpu_s_100"] > 0


def test_reads_and_the_start():
    options = ("--against", "", "--rounds", 1, "--verifications", 200)
    figures = lowu_json("bench", "read", *options)["figures"]
    assert figures["verifications_per_second"] > 0 and figures["cpu_us_verification_batched"] > 0
    figures = lowu_json("bench", "start", "dev-4", "--rounds", 1)["figures"]
    assert figures["first_block_seconds"] > figures["seconds_after_the_imports"] > 0


def test_an_interrupted_bench_leaves_nothing_behind(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "lowu", "bench", "latency", "--rounds", "1"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(processes_of(tmp_path)) > 4, "a network runs")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert processes_of(tmp_path) == []
    assert list(tmp_path.glob("lowu-bench-*")) == []
