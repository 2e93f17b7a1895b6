"""B44: a restarted replica keeps its prepared certificates and goes on."""

from lowu.consensus.effects import Persist
from lowu.consensus.inputs import TimerId
from lowu.consensus.messages import ViewChange
from lowu.consensus.records import record_key
from tests.unit import consensus_kit as kit


def test_certificates_survive_a_restart():
    replica, item = kit.replica(), kit.proposal()
    effects = list(kit.pending(replica)) + kit.order(replica, item)
    records = {}
    for effect in kit.only(Persist, effects):
        records.update({record_key(record): record for record in effect.records})
    back, effects = kit.recovered(3, records.values())
    start = kit.timer([*effects, *kit.pending(back)], TimerId.VIEW)
    (change,) = kit.sent(ViewChange, kit.fire(back, start))
    assert [certificate.proposal for certificate in change.prepared] == [item]
