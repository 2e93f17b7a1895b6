"""Tests of a bank that takes credit reports from across the boundary."""

from dataclasses import replace

import trio

from lowu import SAMPLES, Verdict


async def issue(actors, seed):
    """Have Shenzhen Credit issue a report for Nova, to be carried by a company."""
    document = SAMPLES["cn.ecr/1"](seed, actors.now_s())
    return document, await actors.issue("szcredit", document, "acme-sz", "nova")


def test_a_report_is_accepted(lowu_virtual):
    async def play(actors, faults):
        document, issued = await issue(actors, 1)
        return await actors.hand_over("acme-sz", issued, document, "nova")

    report = lowu_virtual.play(play)
    assert report.verdict is Verdict.ACCEPT
    assert report.shown.content["summary"]["overdue_accounts"] == 0


def test_a_revoked_report_is_refused(lowu_virtual):
    async def play(actors, faults):
        document, issued = await issue(actors, 1)
        await actors.revoke("szcredit", issued.anchor)
        return await actors.hand_over("acme-sz", issued, document, "nova")

    assert "REVOKED(CORRECTED)" in lowu_virtual.play(play).codes


def test_a_changed_report_is_refused(lowu_virtual):
    async def play(actors, faults):
        document, issued = await issue(actors, 1)
        package = issued.package
        leaves = [
            replace(leaf, value="9999.99") if leaf.path == "/loans/0/amount" else leaf
            for leaf in package.disclosures
        ]
        actors.holders["acme-sz"].keep(replace(package, disclosures=tuple(leaves)))
        return await actors.hand_over("acme-sz", issued, document, "nova")

    report = lowu_virtual.play(play)
    assert "TAMPERED_FIELD(/loans/0/amount)" in report.codes
    assert report.shown is None


def test_a_withdrawn_consent_ends_the_use(lowu_virtual):
    async def play(actors, faults):
        document, issued = await issue(actors, 1)
        doc_id = issued.package.header.doc_id
        request = actors.ask("nova", document, fields=["/summary"])
        consent = await actors.agree("acme-sz", issued, request)
        sealed = actors.holders["acme-sz"].present(doc_id, request, consent)
        await actors.withdraw("acme-sz", "nova", consent)
        return await actors.verifiers["nova"].receive(sealed, document.subject)

    (code,) = lowu_virtual.play(play).codes
    assert code.startswith("CONSENT_WITHDRAWN")


def test_two_nodes_down_are_survived(lowu_virtual):
    async def play(actors, faults):
        async with faults.down("webank", "baihang"):
            document, issued = await issue(actors, 1)
            return await actors.hand_over("acme-sz", issued, document, "nova")

    assert lowu_virtual.play(play).verdict is Verdict.ACCEPT


def test_nothing_is_committed_while_the_boundary_is_cut(lowu_virtual):
    async def play(actors, faults):
        before = int(await actors.clients["nova"].call("eth_blockNumber"), 16)
        async with faults.cut("SZ", "HK"):
            with trio.move_on_after(10) as limit:
                await issue(actors, 1)
            with actors.horizon.ignored():
                during = int(await actors.clients["nova"].call("eth_blockNumber"), 16)
        assert limit.cancelled_caught
        document, issued = await issue(actors, 2)
        return before, during, await actors.hand_over("acme-sz", issued, document, "nova")

    before, during, report = lowu_virtual.play(play)
    assert during == before
    assert report.verdict is Verdict.ACCEPT


def test_the_same_on_real_processes(lowu_processes):
    async def play(actors, faults):
        async with faults.down("webank"):
            document, issued = await issue(actors, 3)
            return await actors.hand_over("acme-sz", issued, document, "nova")

    assert lowu_processes.play(play).verdict is Verdict.ACCEPT
