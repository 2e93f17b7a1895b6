"""Gossip: what waits too long is offered again, to one peer at a time."""

from collections import Counter

import trio

from lowu.node.metrics import CpuTimes
from lowu.node.pool.gossip import REPEAT_S, Gossip
from lowu.node.pool.txpool import TxPool
from tests.unit import node_kit as kit

NODES = [bytes([number]) for number in range(5)]


class Links:
    """The links of one node, and what went over which."""

    def __init__(self, node_id):
        self.node_id = node_id
        self.connected = frozenset(NODES) - {node_id}
        self.sent = []

    def broadcast(self, node_ids, kind, batch):
        self.sent.append((frozenset(node_ids), batch))


class Now:
    def elapsed_s(self):
        return trio.current_time()


def make(node_id, age_s=REPEAT_S):
    pool = TxPool(kit.GENESIS, 10, lambda sender: 0, lambda tx_hash: False)
    transaction = kit.signed()
    pool.add(transaction.raw, trio.current_time() - age_s, is_local=False)
    links = Links(node_id)
    return Gossip(links, pool, Now(), CpuTimes()), links, transaction


async def test_each_round_everybody_hears_from_one_other(nursery, autojump_clock):
    nodes = [make(node_id) for node_id in NODES]
    for gossip, _, _ in nodes:
        nursery.start_soon(gossip.run)
    rounds = len(NODES)
    await trio.sleep(REPEAT_S * (rounds + 0.5))
    for turn in range(rounds):
        sent = [links.sent[turn] for _, links, _ in nodes]
        heard = Counter(to for targets, _ in sent for to in targets)
        assert heard == dict.fromkeys(NODES, 1)
    for _, links, transaction in nodes:
        others = links.connected
        assert frozenset().union(*(to for to, _ in links.sent[: len(others)])) == others
        assert {tuple(batch) for _, batch in links.sent} == {(transaction.raw,)}


async def test_what_came_just_now_is_not_repeated(nursery, autojump_clock):
    gossip, links, _ = make(NODES[0], age_s=-REPEAT_S / 2)
    nursery.start_soon(gossip.run)
    await trio.sleep(1.5 * REPEAT_S)
    assert links.sent == []
    await trio.sleep(REPEAT_S)
    assert len(links.sent) == 1
