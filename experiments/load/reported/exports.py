"""What other programs read: the percentile distribution of HdrHistogram, and a table for LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import pstdev

from lowu.experiments.load.outcomes import rank
from lowu.experiments.load.reported.report_plots import medians_of
from lowu.experiments.load.reported.results import StoredResults

TICKS_A_HALVING = 5
"""Percentiles that are told until the distance to 100 % has halved, as HdrHistogram's own tools."""
COLUMNS = (
    ("committed", "committed", 0),
    ("throughput_per_s", "throughput (1/s)", 1),
    ("p50_ms", "p50 (ms)", 0),
    ("p90_ms", "p90 (ms)", 0),
    ("p99_ms", "p99 (ms)", 0),
    ("max_ms", "max (ms)", 0),
)
_LATEX = {
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
}  # fmt: skip


def render_hgrm(latencies_ms: Sequence[float]) -> str:
    """Return latencies, in order, in HdrHistogram's form of percentiles (``.hgrm``)."""
    lines = ["       Value     Percentile TotalCount 1/(1-Percentile)", ""]
    count = len(latencies_ms)
    for share in _ticks(count):
        place = rank(count, share)
        left = f" {1 / (1 - share):14.2f}" if share < 1 else ""
        lines.append(f"{latencies_ms[place - 1]:12.3f} {share:14.12f} {place:10d}{left}")
    mean = math.fsum(latencies_ms) / count if count else 0.0
    deviation = pstdev(latencies_ms) if count else 0.0
    largest = latencies_ms[-1] if count else 0.0
    lines += [
        f"#[Mean    = {mean:12.3f}, StdDeviation   = {deviation:12.3f}]",
        f"#[Max     = {largest:12.3f}, Total count    = {count:12d}]",
        "#[Buckets =            1, SubBuckets     =            1]",
    ]
    return "\n".join(lines) + "\n"


def _ticks(count: int) -> list[float]:
    """Return the shares to tell: more of them the closer they are to all, which is the last."""
    found, share, step = [], 0.0, 1 / (2 * TICKS_A_HALVING)
    while count and (1 - share) * count >= 1:
        for _ in range(TICKS_A_HALVING):
            found.append(share)
            share += step
        step /= 2
    return [*found, 1.0] if count else []


def render_latex(results: StoredResults) -> str:
    """Return a table of the points' medians, for LaTeX with the package booktabs."""
    head = " & ".join(["point", *(_escape(label) for _, label, _ in COLUMNS)])
    lines = [
        f"% {_escape(results.name)}: medians of the runs; latency from the time due, of all due",
        r"\begin{tabular}{l" + "r" * len(COLUMNS) + "}",
        r"\toprule",
        head + r" \\",
        r"\midrule",
    ]
    for point in results.points:
        figures = medians_of(point)
        at_least = {name for run in point.runs for name in run.told["at_least"]}
        cells = [_escape(point.name or results.name)]
        for name, _, digits in COLUMNS:
            least = r"$\geq$\," if name in at_least else ""
            cells.append(f"{least}{figures[name]:,.{digits}f}" if name in figures else "--")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _escape(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)
