"""A report as text or HTML for people, and as JSON for programs.

Its wording is "authentic, and unaltered since its registration", never "true". Of a rejected
document nothing is shown, unless that was asked for when it was verified.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

from lowu.contracts.named import printable
from lowu.institutions.documents.times import tell_time
from lowu.institutions.verification.shown import ShownDocument, read_shown_document
from lowu.institutions.verification.verdicts import (
    Check,
    Finding,
    Line,
    Report,
    Result,
    Verdict,
    VerdictCode,
)
from lowu.institutions.verification.wording import WORDINGS, Language, Wording

Names = Mapping[int, str]
"""By organisation id: what a report calls it, such as `szcredit (Shenzhen Credit Service)`."""
NO_NAMES: Names = {}
_TIMES = ("block_time", "expires_at", "now", "registered_time")


def summarise(report: Report, language: Language = Language.EN) -> str:
    """Return a one-sentence summary of a report."""
    wording = WORDINGS[language]
    results = {line.check: line.result for line in report.lines}
    is_authentic = all(
        results.get(check) is Result.PASS for check in (Check.INTEGRITY, Check.ISSUER, Check.ANCHOR)
    )
    is_unasked = results.get(Check.STATUS) is Result.UNKNOWN
    if report.verdict is Verdict.INDETERMINATE and is_authentic and is_unasked:
        return wording.offline
    return wording.sentences[report.verdict]


def describe_report(report: Report, names: Names = NO_NAMES) -> dict[str, Any]:
    """Return a report as a JSON value; `read_report` undoes this."""
    shown = report.shown
    issuer = {} if shown is None else {"issuer": name_org(shown.issuer_org, names)}
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
        "shown": None if shown is None else {**issuer, **shown.describe()},
    }


def read_report(described: Mapping[str, Any]) -> Report:
    """Return the report that `describe_report` made JSON values of."""
    shown = described.get("shown")
    return Report(
        tuple(
            Line(
                Check(line["check"]),
                Result(line["result"]),
                [_read_finding(text) for text in line["codes"]],
                line["evidence"],
            )
            for line in described["checks"]
        ),
        None if shown is None else read_shown_document(shown),
    )


def _read_finding(text: str) -> Finding:
    code, _, detail = text.partition("(")
    return Finding(VerdictCode(code), detail.removesuffix(")"))


def encode_shown(report: Report, names: Names = NO_NAMES) -> bytes:
    """Return the verdict, its codes, and what is shown, as the content of a file.

    Of what is not shown, `content` is null.
    """
    told = describe_report(report, names)
    shown = told["shown"] or {"content": None}
    head = {"verdict": told["verdict"], "codes": told["codes"]}
    return json.dumps({**head, **shown}, ensure_ascii=False, indent=1).encode()


def name_org(org: int, names: Names) -> str:
    """Return what a report calls an organisation."""
    return names.get(org, f"organisation {org}")


def _tell_evidence(line: Line, names: Names, wording: Wording) -> list[tuple[str, str]]:
    told = []
    for name, value in line.evidence.items():
        text = str(value)
        if name == "org" and isinstance(value, int):
            text = name_org(value, names)
        elif name in _TIMES and isinstance(value, int):
            text = tell_time(value)
        told.append((wording.labels.get(name, name), printable(text)))
    return told


def _tell_shown(shown: ShownDocument, names: Names, wording: Wording) -> str:
    issuer = printable(name_org(shown.issuer_org, names))
    return f"{wording.shown}: {shown.schema}, {issuer}, {tell_time(shown.report_time)}"


def render_text(report: Report, names: Names = NO_NAMES, language: Language = Language.EN) -> str:
    """Return a report as lines of text."""
    wording = WORDINGS[language]
    lines = [f"{report.verdict.value}: {summarise(report, language)}"]
    for line in report.lines:
        lines.append(f"  {line.check.value} {line.result.value:<8} {wording.titles[line.check]}")
        lines += [f"       {finding}: {wording.codes[finding.code]}" for finding in line.findings]
        lines += [f"       {label}: {text}" for label, text in _tell_evidence(line, names, wording)]
    if report.shown is not None:
        rows = list(report.shown.list_fields())
        width = min(40, max((len(path) for path, _ in rows), default=0))
        lines.append(_tell_shown(report.shown, names, wording))
        lines += [f"  {printable(path):<{width}}  {printable(text)}" for path, text in rows]
    elif report.verdict is Verdict.REJECT:
        lines.append(f"{wording.not_shown} (--show-rejected)")
    return "\n".join(lines)


_STYLE = (
    "body{font:15px system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.4em;"
    "text-align:left;vertical-align:top;overflow-wrap:anywhere}"
    ".pass td:nth-child(2){color:#060}.fail td:nth-child(2){color:#a00}"
    ".unknown td:nth-child(2){color:#a60}"
)


def render_html(
    report: Report, title: str, names: Names = NO_NAMES, language: Language = Language.EN
) -> str:
    """Return a report as a self-contained HTML page."""
    wording = WORDINGS[language]
    rows = "".join(
        f"<tr class={line.result.value.lower()}><td>{line.check.value}<td>{line.result.value}"
        f"<td>{html.escape(wording.titles[line.check])}"
        f"<td>{_join_lines(f'{item}: {wording.codes[item.code]}' for item in line.findings)}"
        f"<td>{_join_lines(f'{k}: {v}' for k, v in _tell_evidence(line, names, wording))}"
        for line in report.lines
    )
    shown = ""
    if report.shown is not None:
        fields = "".join(
            f"<tr><td>{html.escape(printable(path))}<td>{html.escape(printable(text))}"
            for path, text in report.shown.list_fields()
        )
        heading = html.escape(_tell_shown(report.shown, names, wording))
        shown = f"<h2>{heading}</h2><table>{fields}</table>"
    elif report.verdict is Verdict.REJECT:
        shown = f"<p>{html.escape(wording.not_shown)}"
    return (
        f"<!doctype html><html lang={language.value}><meta charset=utf-8>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(title)}</h1>"
        f"<p><b>{report.verdict.value}</b> {html.escape(summarise(report, language))}"
        f"<table><tr>{''.join(f'<th>{html.escape(item)}' for item in wording.columns)}"
        f"{rows}</table>{shown}"
    )


def _join_lines(items: Any) -> str:
    return "<br>".join(html.escape(str(item)) for item in items)
