"""A report as text or HTML for people, and as JSON for programs.

Its wording is "authentic, and unaltered since its registration", never "true".
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from lowu.institutions.verification.verdicts import (
    Check,
    Finding,
    Line,
    Report,
    Result,
    Verdict,
    VerdictCode,
    printable,
)

TITLES = {
    Check.PACKAGE: "form",
    Check.INTEGRITY: "integrity: nothing changed",
    Check.ISSUER: "issuer: right and signature",
    Check.ANCHOR: "registration",
    Check.STATUS: "status: in force",
    Check.TIME: "age",
    Check.HOLDER: "holder and subject",
    Check.CONSENT: "consent",
    Check.REPLAY: "first use",
}
SENTENCES = {
    Verdict.ACCEPT: "Authentic, and unaltered since its registration.",
    Verdict.REJECT: "Not to be relied on: see the checks that failed.",
    Verdict.INDETERMINATE: "Undecided: something could not be checked. Try again later.",
}


OFFLINE_SENTENCE = (
    "Authentic, and unaltered since its registration; whether it is still in force could not be "
    "checked."
)


def summarise(report: Report) -> str:
    """Return a one-sentence summary of a report."""
    shown = {line.check: line.result for line in report.lines}
    is_authentic = all(
        shown.get(check) is Result.PASS for check in (Check.INTEGRITY, Check.ISSUER, Check.ANCHOR)
    )
    is_unasked = shown.get(Check.STATUS) is Result.UNKNOWN
    if report.verdict is Verdict.INDETERMINATE and is_authentic and is_unasked:
        return OFFLINE_SENTENCE
    return SENTENCES[report.verdict]


def describe_report(report: Report) -> dict[str, Any]:
    """Return a report as a JSON value."""
    return {
        "verdict": report.verdict.value,
        "summary": summarise(report),
        "codes": report.codes,
        "checks": [
            {
                "check": line.check.value,
                "result": line.result.value,
                "codes": [str(finding) for finding in line.findings],
                "evidence": dict(line.evidence),
            }
            for line in report.lines
        ],
    }


def read_report(described: Mapping[str, Any]) -> Report:
    """Return the report that `describe_report` made JSON values of."""
    return Report(
        tuple(
            Line(
                Check(line["check"]),
                Result(line["result"]),
                [_read_finding(text) for text in line["codes"]],
                line["evidence"],
            )
            for line in described["checks"]
        )
    )


def _read_finding(text: str) -> Finding:
    code, _, detail = text.partition("(")
    return Finding(VerdictCode(code), detail.removesuffix(")"))


def render_text(report: Report) -> str:
    """Return a report as lines of text."""
    lines = [f"{report.verdict.value}: {summarise(report)}"]
    for line in report.lines:
        lines.append(f"  {line.check.value} {line.result.value:<8} {TITLES[line.check]}")
        lines += [f"       {finding}" for finding in line.findings]
        lines += [
            f"       {name}: {printable(str(value))}" for name, value in line.evidence.items()
        ]
    return "\n".join(lines)


def render_html(report: Report, title: str) -> str:
    """Return a report as a self-contained HTML page."""
    rows = "".join(
        f"<tr class={line.result.value.lower()}><td>{line.check.value}<td>{line.result.value}"
        f"<td>{html.escape(TITLES[line.check])}"
        f"<td>{'<br>'.join(html.escape(str(item)) for item in line.findings)}"
        f"<td>{'<br>'.join(html.escape(f'{k}: {v}') for k, v in line.evidence.items())}"
        for line in report.lines
    )
    return (
        "<!doctype html><meta charset=utf-8>"
        f"<title>{html.escape(title)}</title>"
        "<style>body{font:15px system-ui;max-width:70em;margin:2em auto;padding:0 1em}"
        "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.4em;"
        "text-align:left;vertical-align:top;word-break:break-all}"
        ".pass td:nth-child(2){color:#060}.fail td:nth-child(2){color:#a00}"
        ".unknown td:nth-child(2){color:#a60}</style>"
        f"<h1>{html.escape(title)}</h1>"
        f"<p><b>{report.verdict.value}</b> {html.escape(summarise(report))}"
        "<table><tr><th>check<th>result<th>passes if<th>codes<th>evidence"
        f"{rows}</table>"
    )
