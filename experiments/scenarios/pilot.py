"""The pilot's scenarios, played by real institutions against a running network.

E1 Shenzhen Credit Service → a company → Nova Credit; E2 Baihang → a business owner → Fusion
Bank; E10 Bank of East Asia, mainland → Hong Kong and back; and what must be refused: a tampered,
a revoked and a never-registered report.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from contracts.registry import RevokeReason
from experiments.actors.cast import Cast
from institutions.documents.document import (
    build_enterprise_report,
    build_kyc_file,
    build_owner_report,
)
from institutions.exchange.consent import Purpose
from institutions.package.format import encode_package
from institutions.roles.issuer import Issued
from institutions.verification.verdicts import Report

ACTORS = ("szcredit", "nova", "baihang", "fusion", "bea-cn", "bea-hk")
"""Institutions that the scenarios need."""
ACME_USCC = "91440300MA5DEM012D"
OWNER_FIELDS = ("/header/report_no", "/repayment/months", "/score", "/loans/1", "/public")


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """What a scenario was to give and gave."""

    scenario: str
    expected: str
    """Verdict, and the code that must be among the codes if the verdict is REJECT."""
    got: str
    codes: tuple[str, ...]
    height: int
    """Block of the registration that was looked for; 0 if there was none."""

    @property
    def is_as_expected(self) -> bool:
        """Whether verdict and code are the expected ones."""
        verdict, _, code = self.expected.partition(" ")
        is_code_there = not code or any(found.startswith(code) for found in self.codes)
        return self.got == verdict and is_code_there


def _result(name: str, expected: str, report: Report, height: int) -> ScenarioResult:
    return ScenarioResult(name, expected, report.verdict.value, tuple(report.codes), height)


def _height(issued: Issued) -> int:
    return issued.package.anchors[0].registered_height


async def play_enterprise(cast: Cast) -> ScenarioResult:
    """E1: a credit report goes south."""
    document = build_enterprise_report(1, cast.now_s(), ACME_USCC)
    issued = await cast.issue("szcredit", document, "acme-sz", "nova")
    report = await cast.hand_over("acme-sz", issued, document, "nova")
    return _result("E1 szcredit → nova", "ACCEPT", report, _height(issued))


async def play_owner(cast: Cast) -> ScenarioResult:
    """E2: a business owner shows some fields of a report, and hides the rest."""
    document = build_owner_report(2, cast.now_s())
    issued = await cast.issue("baihang", document, "owner", "fusion")
    report = await cast.hand_over("owner", issued, document, "fusion", OWNER_FIELDS)
    return _result("E2 baihang → fusion, selected fields", "ACCEPT", report, _height(issued))


async def play_owner_hiding(cast: Cast) -> ScenarioResult:
    """E2, refused: the owner also hides the months that the schema demands."""
    document = build_owner_report(3, cast.now_s())
    issued = await cast.issue("baihang", document, "owner", "fusion")
    shown = ("/header/report_no", "/score")
    report = await cast.hand_over("owner", issued, document, "fusion", OWNER_FIELDS, shown=shown)
    return _result(
        "E2 overdue months hidden", "REJECT MANDATORY_FIELD_HIDDEN", report, _height(issued)
    )


async def play_group_south(cast: Cast) -> ScenarioResult:
    """E10: a company file goes from the mainland bank to Hong Kong."""
    document = build_kyc_file(4, cast.now_s())
    issued = await cast.issue("bea-cn", document, "corp-sz", "bea-hk")
    report = await cast.hand_over(
        "corp-sz", issued, document, "bea-hk", purpose=Purpose.KYC_REFRESH
    )
    return _result("E10 bea-cn → bea-hk", "ACCEPT", report, _height(issued))


async def play_group_north(cast: Cast) -> ScenarioResult:
    """E10 in the other direction."""
    document = build_kyc_file(5, cast.now_s(), is_hong_kong=True)
    issued = await cast.issue("bea-hk", document, "corp-hk", "bea-cn")
    report = await cast.hand_over(
        "corp-hk", issued, document, "bea-cn", purpose=Purpose.KYC_REFRESH
    )
    return _result("E10 bea-hk → bea-cn", "ACCEPT", report, _height(issued))


async def play_tampered(cast: Cast) -> ScenarioResult:
    """E3: the holder changes an amount."""
    document = build_enterprise_report(6, cast.now_s(), ACME_USCC)
    issued = await cast.issue("szcredit", document, "acme-sz", "nova")
    path = "/loans/3/balance"
    changed = replace(
        issued.package,
        disclosures=tuple(
            replace(leaf, value="1.00") if leaf.path == path else leaf
            for leaf in issued.package.disclosures
        ),
    )
    cast.holders["acme-sz"].keep(changed)
    report = await cast.hand_over("acme-sz", issued, document, "nova")
    return _result("E3 tampered amount", f"REJECT TAMPERED_FIELD({path})", report, _height(issued))


async def play_revoked(cast: Cast) -> ScenarioResult:
    """A report that was withdrawn after it was issued."""
    document = build_enterprise_report(7, cast.now_s(), ACME_USCC)
    issued = await cast.issue("szcredit", document, "acme-sz", "nova")
    await cast.issuers["szcredit"].revoke(issued.anchor, RevokeReason.CORRECTED)
    report = await cast.hand_over("acme-sz", issued, document, "nova")
    return _result("revoked report", "REJECT REVOKED(CORRECTED)", report, _height(issued))


async def play_unregistered(cast: Cast) -> ScenarioResult:
    """A report in the issuer's form that was never registered."""
    document = build_enterprise_report(8, cast.now_s(), ACME_USCC)
    cast.documents.append(document)
    package = cast.issuers["szcredit"].build_package(
        document,
        audience="nova",
        holder_key=cast.holders["acme-sz"].key.public_key,
        issued_at_s=cast.now_s(),
    )
    cast.holders["acme-sz"].receive(encode_package(package))
    issued = Issued(package, package.anchors[0].anchor)
    report = await cast.hand_over("acme-sz", issued, document, "nova")
    return _result("never registered report", "REJECT NOT_REGISTERED", report, 0)


Scenario = Callable[[Cast], Awaitable[ScenarioResult]]

BEFORE_FAULT: tuple[Scenario, ...] = (play_enterprise, play_owner)
DURING_FAULT: tuple[Scenario, ...] = (play_group_south, play_group_north, play_tampered)
AFTER_FAULT: tuple[Scenario, ...] = (play_revoked, play_unregistered, play_owner_hiding)
