"""Time that passes while nothing is committed, and nodes that stand still (N-M1, N-D3)."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import trio

from lowu.contracts.registry import AnchorState, OrgStatus
from lowu.contracts.schemas.document_schema import DAY_S
from lowu.institutions.documents.document import build_enterprise_report
from lowu.institutions.roles.verifier import Verifier
from lowu.institutions.verification.heads import SeenHead, decode_head, encode_head
from lowu.institutions.verification.verdicts import Check, Verdict
from lowu.node.client import ClientError
from tests.unit.document_world import NOW_S, RECEIPT, SUBJECT, USCC, Ledger, World

LATER_S = NOW_S + 60


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr("lowu.institutions.roles.verifier.AGREE_WAIT_S", 0.05)
    return World()


def with_clock(world, clock_s, **options):
    """Return Nova with a clock of its own; the ledger's last block is of `LATER_S`."""
    world.nova = world.verifier(clock_s=lambda: clock_s, requests=world.nova._asked, **options)
    return world.nova


async def test_the_later_of_clock_and_block_counts(world):
    shown = world.show()
    for clock_s, code in (
        (NOW_S + 40 * DAY_S, "EXPIRED"),
        (NOW_S + 601, "PRESENTATION_EXPIRED"),
    ):
        with_clock(world, clock_s)
        assert code in (await world.verify(shown)).codes
    with_clock(world, NOW_S - DAY_S)  # a clock that is slow hides nothing
    world.ledger.time_s = NOW_S + 40 * DAY_S
    assert "EXPIRED" in (await world.verify(shown)).codes


async def test_a_head_that_is_old_is_told(world):
    shown = world.show()
    with_clock(world, LATER_S + 600)
    request = world.nova._asked[shown.nonce]
    world.nova._asked[shown.nonce] = replace(
        request, request=replace(request.request, expires_at=NOW_S + DAY_S)
    )
    report = await world.verify(shown)
    assert report[Check.STATUS].findings == []
    with_clock(world, LATER_S + 660)
    report = await world.verify(shown)
    told = [str(finding) for finding in report[Check.STATUS].findings]
    assert told == ["FRESHNESS_UNKNOWN(the latest block of http://one is 11 minutes old)"]


async def test_heads_never_go_back_for_one_verifier(world):
    heads = {}
    shown = world.show()
    with_clock(world, LATER_S, heads=heads)
    assert (await world.verify(shown)).verdict is Verdict.ACCEPT
    assert decode_head(encode_head(heads[b"head"])) == SeenHead(10, "0xb")
    world.ledger.height = 9
    with_clock(world, LATER_S, heads=heads)  # another process, with the same store
    report = await world.verify(shown)
    assert report.verdict is Verdict.INDETERMINATE
    (code,) = report.codes
    assert code.startswith("FRESHNESS_UNKNOWN(http://one is at block 9, but")
    heads[b"head"] = SeenHead(9, "0xanother")
    assert "another block 9" in (await world.verify(shown)).codes[0]


async def test_a_node_that_claims_the_future_does_not_shut_others_out(world):
    heads = {}
    with_clock(world, LATER_S, heads=heads)
    shown = world.show()
    world.ledger.height, world.ledger.time_s = 10**9, LATER_S + DAY_S
    await world.verify(shown)
    assert heads == {}


class Using:
    """A signer that commits the use of a presentation in a later block."""

    def __init__(self, world, happen=lambda: None):
        self.world, self.happen = world, happen

    async def send(self, to, data):
        self.world.ledger.height += 1
        self.world.ledger.time_s = LATER_S + 700
        height = self.world.ledger.consumed[2, data[4:36]] = self.world.ledger.height
        self.happen()
        return replace(RECEIPT, height=height)


def sealed_for(world, verifier):
    request = verifier.request(schema="cn.ecr/1", purpose="LOAN", now_s=LATER_S + 600, fields=("",))
    return world.holder.present(world.doc_id, request, world.agree(request))


def nova_with(world, signer):
    verifier: Verifier = world.verifier(clock_s=lambda: LATER_S + 700, signer=signer)
    return verifier


async def test_using_up_makes_a_fresh_block(world):
    """On an idle ledger the last block is old; the use of the presentation is a new one."""
    nova = nova_with(world, Using(world))
    report = await nova.receive(sealed_for(world, nova), SUBJECT)
    assert (report.verdict, report.codes) == (Verdict.ACCEPT, [])
    world.ledger.time_s = LATER_S
    only = world.verifier(clock_s=lambda: LATER_S + 700)  # it cannot use anything up
    report = await only.receive(sealed_for(world, only), SUBJECT)
    assert report.verdict is Verdict.INDETERMINATE


@pytest.mark.parametrize(
    ("state", "before", "since", "codes"),
    [
        (AnchorState.REVOKED, AnchorState.ACTIVE, 0, ["REVOKED(CORRECTED)"]),
        (AnchorState.REVOKED, AnchorState.ACTIVE, 1, []),  # it was in force in that block
        (AnchorState.ACTIVE, AnchorState.SUSPENDED, 1, ["SUSPENDED"]),  # and back after it
    ],
)
async def test_the_state_in_the_block_of_the_use_counts(world, state, before, since, codes):
    def change():
        ((anchor, record),) = world.ledger.records.items()
        height = world.ledger.height + since
        world.ledger.state_before = before
        world.ledger.records[anchor] = replace(record, state=state, reason=1, state_height=height)
        world.ledger.height = height

    nova = nova_with(world, Using(world, change))
    report = await nova.receive(sealed_for(world, nova), SUBJECT)
    assert report.codes == codes
    assert report.verdict is (Verdict.REJECT if codes else Verdict.ACCEPT)


@pytest.mark.parametrize(
    ("since", "status", "code"),
    [
        (0, OrgStatus.EXITED, "ISSUER_SUSPENDED(EXITED)"),
        (1, OrgStatus.ACTIVE, "FRESHNESS_UNKNOWN(the issuer's standing changed in block 12"),
    ],
)
async def test_and_the_issuer_s_standing_if_it_is_known(world, since, status, code):
    def change():
        height = world.ledger.height + since
        world.ledger.org = replace(world.ledger.org, status=status, status_height=height)

    nova = nova_with(world, Using(world, change))
    report = await nova.receive(sealed_for(world, nova), SUBJECT)
    assert report.codes[0].startswith(code) and report.verdict is not Verdict.ACCEPT


async def test_what_was_used_up_long_ago_is_judged_by_its_block(world):
    """A use that was cut off is resumed, on a ledger that has been idle since."""
    cut_off, clock_s = Using(world), [LATER_S + 700]

    async def send(to, data):
        await Using.send(cut_off, to, data)
        raise KeyboardInterrupt

    verifier = world.verifier(clock_s=lambda: clock_s[0], signer=SimpleNamespace(send=send))
    sealed, attempt = sealed_for(world, verifier), b"a" * 16
    with pytest.raises(KeyboardInterrupt):
        await verifier.receive(sealed, SUBJECT, attempt=attempt)
    clock_s[0] += 3 * DAY_S
    report = await verifier.receive(sealed, SUBJECT, attempt=attempt)
    assert (report.verdict, report.codes) == (Verdict.ACCEPT, [])


@pytest.mark.parametrize("is_on_ledger", [True, False])
@pytest.mark.parametrize("end", [ClientError("gone"), KeyboardInterrupt()])
async def test_what_was_cut_off_is_received_again_once(world, is_on_ledger, end):
    """The same bytes were refused as replayed after a cut, though nobody had been told ACCEPT."""
    using, ends = Using(world), [end]

    async def send(to, data):
        if not ends or is_on_ledger:
            receipt = await using.send(to, data)
        if ends:
            raise ends.pop()
        return receipt

    verifier = world.verifier(clock_s=lambda: LATER_S, signer=SimpleNamespace(send=send))
    sealed = sealed_for(world, verifier)
    if isinstance(end, ClientError):
        assert (await verifier.receive(sealed, SUBJECT)).verdict is Verdict.INDETERMINATE
    else:
        with pytest.raises(KeyboardInterrupt):
            await verifier.receive(sealed, SUBJECT)
    reports = []

    async def receive():
        reports.append(await verifier.receive(sealed, SUBJECT))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(receive)
    verdicts = sorted(item.verdict.value for item in reports)
    assert verdicts == ["ACCEPT", "REJECT"]
    assert (await verifier.receive(sealed, SUBJECT)).codes == ["REPLAYED"]


async def test_a_node_that_has_lied_once_is_refuted_by_nodes_of_two_sides(world):
    """One answer with a block of the far future made every later presentation undecided."""
    heads, other = {}, Ledger("http://two")
    nova = with_clock(world, LATER_S, heads=heads)
    world.ledger.height = 10**9
    await world.verify(world.show())
    world.ledger.height = 11
    signer = Using(world)
    nova = world.verifier(heads=heads, signer=signer, clock_s=lambda: LATER_S)
    sealed = sealed_for(world, nova)
    report = await nova.receive(sealed, SUBJECT)
    assert report.verdict is Verdict.INDETERMINATE and world.ledger.consumed == {}  # not used up
    other.__dict__.update(world.ledger.__dict__ | {"client": other.client})
    both = nova.reading(world.ledger, other)
    assert (await both.receive(sealed, SUBJECT)).verdict is Verdict.INDETERMINATE
    assert heads[b"head"].height == 11
    assert (await nova.receive(sealed, SUBJECT)).verdict is Verdict.ACCEPT


def test_a_report_of_the_future_is_not_issued(world):
    """N-D3: a report of the year 2100 was issued, presented and accepted."""
    late = replace(build_enterprise_report(1, NOW_S, USCC), report_time_s=NOW_S + 121)
    with pytest.raises(ValueError, match="121 s in the future"):
        World(late)
    World(replace(late, report_time_s=NOW_S + 120))


async def test_a_report_of_the_future_is_not_accepted(world):
    world = World(replace(world.document, report_time_s=NOW_S + 120))
    assert (await world.verify(world.show())).verdict is Verdict.ACCEPT
    ((anchor, record),) = world.ledger.records.items()
    world.ledger.records[anchor] = replace(record, registered_time=NOW_S - 1)
    report = await world.verify(world.show())
    assert report.codes == ["NOT_YET_VALID(a report of later than its record)"]
    world.ledger.time_s = NOW_S - 10
    assert "NOT_YET_VALID(a report of the future)" in (await world.verify(world.show())).codes
