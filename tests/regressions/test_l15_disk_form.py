"""L15: the view asked for survives a restart through its disk form."""

from lowu.consensus.effects import Persist
from lowu.consensus.inputs import TimerId
from lowu.consensus.records import decode_record, encode_record
from tests.unit import consensus_kit as kit


def test_a_replica_that_left_its_view_stays_out():
    replica = kit.replica()
    effects = kit.fire(replica, kit.timer(kit.pending(replica), TimerId.VIEW))
    records = [record for effect in kit.only(Persist, effects) for record in effect.records]
    back, _ = kit.recovered(3, [decode_record(encode_record(record)) for record in records])
    assert (back.view, back.to_view) == (0, 1)
