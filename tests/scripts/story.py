"""A small theatre for replicas: it runs commands and prints what the replicas do.

A story file is a list of blocks: a command line, `----`, the expected output, and an empty line.
Run with LOWU_REWRITE=1 to write the actual output into the file, and review the diff.

    network nodes=4 [weights=1,1,1,1] [window=8] [period=1]
    pending                     transactions wait at every replica
    build node=1 txs=a,b [barrier=1]   the sealer answers node 1's outstanding request
    idle                        no transactions wait any longer
    deliver [from=][to=][kind=][count=]   deliver matching messages in order, and run what follows
    drop [from=][to=][kind=]    lose matching messages
    again [from=][to=][kind=]   deliver copies of matching messages, which stay on the wire
    verdict node=2 verdict=invalid  node 2's verdict on proposals from now on
    execute node=2 result=odd   node 2 computes a different result from now on
    timeout node=1              the view timer of node 1 fires, if it runs
    resend node=1               the resend timer of node 1 fires, if it runs
    links node=1 connected=0,2  the nodes that node 1 is linked to
    crash node=1 / restart node=1
    settle                      deliver everything until nothing moves; print commits only
    sync node=3                 node 3 fetches blocks from the highest node
    inject from=1 to=0 kind=Prepare view= height= digest= [names=1:16]  a signed message
    status                      views and heights
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from lowu.consensus import effects as fx
from lowu.consensus import inputs as ev
from lowu.consensus.certificates import MessageVerifier
from lowu.consensus.codec import compute_digest, signing_digest
from lowu.consensus.epochs import Epoch, Epochs
from lowu.consensus.errors import InvalidMessage
from lowu.consensus.messages import (
    Checkpoint,
    Commit,
    CommitCertificate,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
)
from lowu.consensus.records import height_key_range, record_key
from lowu.consensus.replica import Replica
from lowu.consensus.state import ReplicaConfig
from lowu.consensus.types import ZERO_HASH, Domain, hash_bytes
from lowu.consensus.validators import Validator, ValidatorSet

KINDS = {"Prepare": Prepare, "Commit": Commit, "Checkpoint": Checkpoint, "Status": Status}


class Actor:
    """One replica with its durable records and its pending requests."""

    def __init__(self, index):
        self.index = index
        self.replica = None
        self.records = {}
        self.chain = []
        self.build = None
        self.timers = {}
        self.verdict = ev.ProposalVerdict.VALID
        self.result = b""
        self.edge = deque()
        self.proposals = {}


class Theatre:
    """Runs the commands of one story."""

    def __init__(self):
        self.out = []
        self.names = {ZERO_HASH: "genesis"}

    def run(self, line):
        name, *pairs = line.split()
        arguments = dict(pair.split("=", 1) for pair in pairs)
        self.out = []
        getattr(self, f"do_{name}")(**{f"{k}_": v for k, v in arguments.items()})
        return "\n".join(self.out) or "ok"

    def say(self, text):
        self.out.append(text)

    # --- commands

    def do_network(self, nodes_, weights_=None, window_="8", period_="1"):
        count = int(nodes_)
        weights = [int(w) for w in weights_.split(",")] if weights_ else [1] * count
        self.domain = Domain("story", "group0")
        self.validators = ValidatorSet(
            tuple(Validator(i.to_bytes(64, "big"), weights[i]) for i in range(count)),
            int(period_),
        )
        self.genesis = CommitCertificate(0, ZERO_HASH, hash_bytes(b"genesis"), ())
        self.verifier = MessageVerifier(
            self.domain,
            Epochs(self.validators),
            self.genesis,
            lambda n, d, s: s == hash_bytes(n[-1:] + d)[:8],
        )
        self.window = int(window_)
        self.actors = [Actor(i) for i in range(count)]
        self.wire = deque()
        self.chains = {}
        for actor in self.actors:
            self._start(actor)
        self.wire.clear()
        self.out = []
        v = self.validators
        self.say(f"n={count} f={v.fault_threshold} quorum={v.quorum}")

    def _start(self, actor):
        node_id = self.validators.validators[actor.index].node_id
        config = ReplicaConfig(self.domain, node_id, self.genesis, window=self.window)
        stable, time_ms = self.genesis, 0
        if actor.chain:
            stable, time_ms = actor.chain[-1]
        actor.replica, effects = Replica.recover(
            config,
            self._signer(actor.index),
            Epoch(1, self.validators),
            [actor.records[key] for key in sorted(actor.records)],
            stable,
            time_ms,
        )
        self._perform(actor, effects)

    def _signer(self, index):
        return lambda digest: hash_bytes(bytes([index]) + digest)[:8]

    def do_pending(self):
        for actor in self._up():
            self._step(actor, ev.PendingChanged(True))

    def do_idle(self):
        for actor in self._up():
            self._step(actor, ev.PendingChanged(False))

    def do_build(self, node_, txs_, time_=None, barrier_=None):
        actor = self.actors[int(node_)]
        if actor.build is None:
            self.say("not asked to build")
            return
        want, actor.build = actor.build, None
        hashes = tuple(hash_bytes(tx.encode()) for tx in txs_.split(","))
        stamp = int(time_) if time_ else want.timestamp_ms_min
        root = hash_bytes(b"".join(hashes))
        proposal = Proposal(
            want.height, want.previous, root, stamp, want.proposer, barrier_ is not None
        )
        self._name(proposal, txs_)
        self._step(actor, ev.ProposalBuilt(want.view, proposal, hashes))

    def do_deliver(self, count_="1000", **wanted):
        moved = self._take(wanted, int(count_))
        if not moved:
            self.say("nothing to deliver")
        for sender, to, message in moved:
            self._deliver(sender, to, message)
            self._run_edges()

    def do_again(self, **wanted):
        kept = list(self.wire)
        moved = self._take(wanted, 1000)
        self.wire = deque(kept)
        for sender, to, message in moved:
            self._deliver(sender, to, message)

    def do_drop(self, **wanted):
        lost = self._take(wanted, 10_000)
        self.say(f"{len(lost)} lost")

    def do_settle(self):
        for _ in range(10_000):
            if not self.wire:
                break
            sender, to, message = self.wire.popleft()
            quiet = len(self.out)
            self._deliver(sender, to, message)
            self._run_edges()
            self.out[quiet:] = [x for x in self.out[quiet:] if " commits " in x or "HALT" in x]

    def do_verdict(self, node_, verdict_):
        self.actors[int(node_)].verdict = ev.ProposalVerdict[verdict_.upper()]

    def do_execute(self, node_, result_):
        self.actors[int(node_)].result = result_.encode()

    def do_timeout(self, node_):
        self._fire(int(node_), ev.TimerId.VIEW)

    def do_resend(self, node_):
        self._fire(int(node_), ev.TimerId.RESEND)

    def _fire(self, index, timer):
        actor = self.actors[index]
        if timer not in actor.timers:
            self.say(f"{index}: the {timer.value} timer does not run")
            return
        self._step(actor, ev.TimerFired(timer, actor.timers.pop(timer)))

    def do_links(self, node_, connected_):
        links = frozenset(int(i).to_bytes(64, "big") for i in connected_.split(",") if i)
        self._step(self.actors[int(node_)], ev.LinksChanged(links))

    def do_crash(self, node_):
        actor = self.actors[int(node_)]
        actor.replica, actor.build = None, None
        actor.timers.clear()
        actor.edge.clear()
        self.say(f"{node_}: down")

    def do_restart(self, node_):
        self._start(self.actors[int(node_)])

    def do_sync(self, node_):
        actor = self.actors[int(node_)]
        best = max(self.actors, key=lambda a: len(a.chain))
        for certificate, time_ms in best.chain[len(actor.chain) :]:
            self.verifier.verify_commit(certificate)
            actor.chain.append((certificate, time_ms))
            self.say(f"{node_}: fetches {certificate.height}")
            self._step(actor, ev.Synced(certificate, time_ms, Epoch(1, self.validators)))

    def do_inject(self, from_, to_, kind_, view_="0", height_="1", digest_="x", names_=""):
        digest = next((d for d, n in self.names.items() if n == digest_), hash_bytes(b"?"))
        sender = int(from_)
        if kind_ == "Prepare":
            message = Prepare(int(view_), int(height_), digest, sender)
        elif kind_ == "Commit":
            message = Commit(int(view_), int(height_), digest, sender)
        elif kind_ == "Checkpoint":
            message = Checkpoint(int(height_), digest, hash_bytes(b"odd"), sender)
        elif kind_ == "ViewChange":
            named = (item.split(":") for item in names_.split(",") if item)
            passed = tuple((int(index), int(until)) for index, until in named)
            message = ViewChange(int(view_), self.genesis, (), sender, passed_over=passed)
        elif kind_ == "PrePrepare":
            hashes = (hash_bytes(digest_.encode()),)
            proposal = Proposal(int(height_), ZERO_HASH, hash_bytes(hashes[0]), 7, sender)
            self._name(proposal, digest_)
            message = PrePrepare(int(view_), proposal, hashes, sender)
        else:
            message = Status(int(view_), int(height_), sender)
        signed = replace(
            message, signature=self._signer(sender)(signing_digest(self.domain, 1, message))
        )
        self._deliver(sender, int(to_), signed)
        self._run_edges()

    def do_status(self):
        for actor in self.actors:
            r = actor.replica
            if r is None:
                self.say(f"{actor.index}: down, height {len(actor.chain)}")
                continue
            view = f"view {r.view}" if r.view == r.to_view else f"view {r.view} → {r.to_view}"
            timers = " ".join(sorted(t.value for t in actor.timers)) or "none"
            passed = "".join(f", {i} passed over up to {u}" for i, u in r.passed_over.items())
            self.say(f"{actor.index}: {view}, height {r.stable.height}, timers {timers}{passed}")

    # --- mechanics

    def _up(self):
        return [actor for actor in self.actors if actor.replica is not None]

    def _name(self, proposal, txs):
        digest = compute_digest(self.domain, proposal)
        self.names.setdefault(digest, f"{txs.replace(',', '+')}@{proposal.height}")
        return digest

    def _take(self, wanted, count):
        def fits(item):
            sender, to, message = item
            facts = {"from_": str(sender), "to_": str(to), "kind_": type(message).__name__}
            return all(facts[key] in value.split(",") for key, value in wanted.items())

        chosen = [item for item in self.wire if fits(item)][:count]
        for item in chosen:
            self.wire.remove(item)
        return chosen

    def _deliver(self, sender, to, message):
        actor = self.actors[to]
        if actor.replica is None:
            return
        try:
            self._step(actor, ev.MessageReceived(self.verifier.verify_message(message)))
        except InvalidMessage as error:
            self.say(f"{to}: refuses: {error}")

    def _step(self, actor, event):
        if actor.replica is None:
            return
        try:
            self._perform(actor, actor.replica.step(event))
        except InvalidMessage as error:
            self.say(f"{actor.index}: refuses: {error}")
        self._run_edges()

    def _run_edges(self):
        busy = True
        while busy:
            busy = False
            for actor in self.actors:
                if actor.edge and actor.replica is not None:
                    busy = True
                    self._perform(actor, actor.replica.step(actor.edge.popleft()))

    def _perform(self, actor, effects):
        for effect in effects:
            self._perform_one(actor, effect)

    def _perform_one(self, actor, effect):
        who = actor.index
        match effect:
            case fx.Persist(records):
                for record in records:
                    actor.records[record_key(record)] = record
            case fx.Broadcast(message):
                self.say(f"{who}: {self._show(message)} → all")
                for other in self.actors:
                    if other is not actor:
                        self.wire.append((who, other.index, message))
            case fx.Send(to, message):
                self.say(f"{who}: {self._show(message)} → {to}")
                self.wire.append((who, to, message))
            case fx.StartTimer(timer, delay_ms, number):
                actor.timers[timer] = number
                if timer is ev.TimerId.VIEW:
                    self.say(f"{who}: view timer {delay_ms} ms")
            case fx.CancelTimer(timer):
                actor.timers.pop(timer, None)
            case fx.BuildProposal(view, height):
                actor.build = effect
                self.say(f"{who}: asked to build height {height} in view {view}")
            case fx.CancelBuild():
                actor.build = None
            case fx.VerifyProposal(proposal, digest):
                actor.edge.append(ev.ProposalVerified(proposal.height, digest, actor.verdict))
            case fx.ExecuteProposal(proposal, digest):
                actor.proposals[digest] = proposal
                block_hash = hash_bytes(digest + actor.result)
                actor.edge.append(ev.ProposalExecuted(proposal.height, digest, block_hash))
            case fx.CommitBlock(certificate):
                self._commit(actor, certificate)
            case fx.RequestSync(height):
                self.say(f"{who}: asks for blocks up to {height}")
            case fx.ReportEvidence(evidence):
                kind = type(evidence.first).__name__
                self.say(f"{who}: evidence against {evidence.accused}: two {kind}s")
            case fx.Halt():
                self.say(f"{who}: HALT: own execution contradicts a quorum")

    def _commit(self, actor, certificate):
        height = certificate.height
        self.verifier.verify_commit(certificate)
        assert height == len(actor.chain) + 1
        assert self.chains.setdefault(height, certificate.digest) == certificate.digest, "fork"
        actor.chain.append((certificate, actor.proposals[certificate.digest].timestamp_ms))
        low, high = height_key_range(height)
        actor.records = {k: v for k, v in actor.records.items() if not low <= k < high}
        self.say(f"{actor.index}: commits {self.names[certificate.digest]}")
        actor.edge.append(ev.BlockCommitted(height, certificate.block_hash))

    def _show(self, message):
        kind = type(message).__name__
        match message:
            case PrePrepare(view=view, proposal=proposal):
                name = self.names[compute_digest(self.domain, proposal)]
                return f"{kind} {name} in view {view}"
            case Prepare(view=view, digest=digest) | Commit(view=view, digest=digest):
                return f"{kind} {self.names[digest]} in view {view}"
            case Checkpoint(digest=digest):
                return f"{kind} {self.names[digest]}"
            case ViewChange(view=view, stable=stable, prepared=prepared):
                names = [
                    f"{self.names[compute_digest(self.domain, c.proposal)]}/v{c.view}"
                    for c in prepared
                ]
                text = f"{kind} to {view}, stable {stable.height}, prepared {names or 'none'}"
                asked = [f"{index} up to {until}" for index, until in message.passed_over]
                return f"{text}, pass over {', '.join(asked)}" if asked else text
            case NewView(view=view, view_changes=changes):
                return f"{kind} {view} by {[c.sender for c in changes]}"
            case Status(view=view, stable_height=height):
                return f"{kind} view {view} height {height}"
