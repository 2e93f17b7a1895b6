"""Tests of a bank that takes credit reports from across the boundary."""

import pytest

from lowu import SAMPLES, Jurisdiction, Verdict


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


def test_a_revoked_report_is_refused(lowu_virtual):
    async def play(actors, faults):
        document, issued = await issue(actors, 1)
        await actors.revoke("szcredit", issued.anchor)
        return await actors.hand_over("acme-sz", issued, document, "nova")

    assert "REVOKED(CORRECTED)" in lowu_virtual.play(play).codes


def test_two_nodes_down_are_survived(lowu_virtual):
    async def play(actors, faults):
        async with faults.down("webank", "baihang"):
            document, issued = await issue(actors, 1)
            return await actors.hand_over("acme-sz", issued, document, "nova")

    assert lowu_virtual.play(play).verdict is Verdict.ACCEPT


def test_nothing_is_committed_while_the_boundary_is_cut(lowu_virtual):
    async def play(actors, faults):
        before = int(await actors.clients["nova"].call("eth_blockNumber"), 16)
        async with faults.cut(Jurisdiction.SZ, Jurisdiction.HK):
            with pytest.raises(TimeoutError):
                await register(actors)
            during = int(await actors.clients["nova"].call("eth_blockNumber"), 16)
        document, issued = await issue(actors, 2)
        return before, during, await actors.hand_over("acme-sz", issued, document, "nova")

    async def register(actors):
        import trio

        with trio.move_on_after(60) as limit:  # virtual seconds
            await issue(actors, 1)
        if limit.cancelled_caught:
            raise TimeoutError

    before, during, report = lowu_virtual.play(play)
    assert during == before
    assert report.verdict is Verdict.ACCEPT


def test_the_same_on_real_processes(lowu_processes):
    async def play(actors, faults):
        async with faults.down("webank"):
            document, issued = await issue(actors, 3)
            return await actors.hand_over("acme-sz", issued, document, "nova")

    assert lowu_processes.play(play).verdict is Verdict.ACCEPT
