"""The registry against a model: any changes by issuers in any order, in both EVM engines.

The model has the state transitions. The contract must agree with it on every call, on every
record afterwards, and on the state of every record at every height.
"""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lowu.contracts.registry import AnchorState, RegistryErrorCode
from tests.unit.registry_world import MEMBERS, Refused, World

ISSUERS = ("issuer-sz", "issuer-hk")
ANCHORS = tuple(bytes([number]) * 32 for number in range(1, 5))
PRESENTATIONS = tuple(bytes([number]) * 32 for number in (9, 10))
S, CODE = AnchorState, RegistryErrorCode
CHANGES = {
    "revoke": ((S.ACTIVE, S.SUSPENDED), S.REVOKED, (3, 0)),
    "suspend": ((S.ACTIVE,), S.SUSPENDED, ()),
    "reinstate": ((S.SUSPENDED,), S.ACTIVE, ()),
    "markErased": ((S.ACTIVE, S.SUSPENDED, S.REVOKED, S.SUPERSEDED), S.ERASED, (b"r" * 32,)),
}
"""By change: the states it applies to, the new state, and its further arguments."""
REFUSALS = {CODE.NOT_FOUND, CODE.NOT_ACTIVE, CODE.ALREADY_REVOKED, CODE.TERMINAL_STATE}

issuers, anchors = st.sampled_from(ISSUERS), st.sampled_from(ANCHORS)


class Registry(RuleBasedStateMachine):
    """Two issuers, four anchors that both use, and passing time."""

    @initialize()
    def begin(self):
        self.world = World()
        self.world.pass_blocks(10)  # so that no past block is 0, which means now
        self.states = {}
        self.particulars = {}
        self.history = {}
        """By issuer, anchor and height: the state at the end of that block."""
        self.used = set()
        self.since = {}
        """By issuer and anchor: the height of its registration."""
        self.keys = dict.fromkeys(ISSUERS, 1)
        self.quotas = dict.fromkeys(ISSUERS, 0)
        self.counted = set()
        for anchor in ANCHORS[:2]:  # otherwise most steps would find nothing to change
            self.register(ISSUERS[0], anchor, 0)
        self.set_quota(ISSUERS[1], 1)

    def _state(self, who, anchor):
        return self.states.get((who, anchor), S.NONE)

    def _try(self, call, *arguments):
        """Return the refusal's number, or None."""
        try:
            call(*arguments)
        except Refused as refusal:
            return refusal.code
        return None

    @rule(who=issuers, anchor=anchors, day=st.sampled_from((0, 20_900)))
    def register(self, who, anchor, day):
        key, used = (who, anchor), self.keys[who]
        known = self.particulars.get(key)
        if known is not None and known != (day, used):
            with pytest.raises(Refused, match="ALREADY_REGISTERED_CONFLICT"):
                self.world.register(anchor, who, day=day, key=used)
            return
        quota = self.quotas[who]
        if known is None and quota and sum(one == who for one, _ in self.counted) >= quota:
            with pytest.raises(Refused, match="QUOTA_EXCEEDED"):
                self.world.register(anchor, who, day=day, key=used)
            return
        assert self.world.register(anchor, who, day=day, key=used) is (known is not None)
        self.particulars[key] = (day, used)
        if known is None:
            self.states[key] = S.ACTIVE
            self.since[key] = self.world.height
            if quota:
                self.counted.add(key)
        else:
            assert self.world.events() == []

    @rule(who=issuers, anchor=anchors, back=st.integers(0, 2))
    def register_with_a_key_out_of_use(self, who, anchor, back):
        old = self.keys[who] - back
        if old == self.keys[who] or old < 1 or (who, anchor) in self.particulars:
            return
        with pytest.raises(Refused, match="KEY_NOT_VALID"):
            self.world.register(anchor, who, key=old)

    @rule(who=issuers, ends=st.sampled_from((["revoke"], ["markErased"], ["revoke", "markErased"])))
    def register_one_and_end_it(self, who, ends):
        fresh = bytes([len(self.particulars) + 100]) * 32
        self.register(who, fresh, 0)
        if (who, fresh) in self.particulars:
            for end in ends:
                self.change(who, fresh, end)

    @rule(who=issuers, is_stolen=st.booleans())
    def change_key(self, who, is_stolen):
        number, old = MEMBERS[who][0], self.keys[who]
        self.world.org(who, "addKey", number, old + 1, 1, bytes(64))
        if is_stolen:
            self.world.org(who, "reportCompromised", number, old, self.world.height)
        else:
            self.world.org(who, "retireKey", number, old)
        self.keys[who] = old + 1

    @rule(who=issuers, quota=st.sampled_from((1, 1, 2, 0)))
    def set_quota(self, who, quota):
        self.world.org("governor", "setQuota", MEMBERS[who][0], 0, quota)
        self.quotas[who] = quota

    @rule(who=issuers, anchor=anchors, back=st.integers(-1, 4))
    def revoke_since(self, who, anchor, back):
        key, since = (who, anchor), self.world.height - back
        code = self._try(self.world.hashes, who, "revoke", anchor, 3, since)
        if self._state(who, anchor) not in (S.ACTIVE, S.SUSPENDED):
            assert code in REFUSALS
        elif not self.since[key] <= since <= self.world.height:
            assert code is CODE.MALFORMED
        else:
            assert code is None
            self._end(key, S.REVOKED)
            for height in range(since, self.world.height):
                self.history[(*key, height)] = S.REVOKED

    def _end(self, key, state):
        self.states[key] = state
        if state >= S.REVOKED:
            self.counted.discard(key)

    @rule(who=issuers, anchor=anchors, name=st.sampled_from(sorted(CHANGES)))
    def change(self, who, anchor, name):
        before, after, more = CHANGES[name]
        code = self._try(self.world.hashes, who, name, anchor, *more)
        if self._state(who, anchor) in before:
            assert code is None
            self._end((who, anchor), after)
        else:
            assert code in REFUSALS

    @rule(who=issuers, old=anchors, new=anchors)
    def supersede(self, who, old, new):
        code = self._try(self.world.hashes, who, "supersede", old, new)
        if old != new and {self._state(who, old), self._state(who, new)} == {S.ACTIVE}:
            assert code is None
            self._end((who, old), S.SUPERSEDED)
        else:
            assert code is not None

    @rule(presentation=st.sampled_from(PRESENTATIONS), origin=st.integers(0, 5))
    def consume(self, presentation, origin):
        none = (bytes(20), bytes(32))
        arguments = ("VerificationLog", "consume", presentation, *none, 1, origin)
        code = self._try(self.world.call, "verifier-hk", *arguments)
        if presentation in self.used:
            assert code is CODE.PRESENTATION_CONSUMED
        elif origin not in (1, 2):
            assert code is CODE.JURISDICTION_RULE
        else:
            assert code is None
            self.used.add(presentation)

    @rule(who=st.sampled_from(("verifier-hk", "witness-sz", "regulator")), anchor=anchors)
    def intrude(self, who, anchor):
        for name, arguments in (("registerAnchor", (1, 1, 0, 1, 0)), ("revoke", (3, 0))):
            assert self._try(self.world.hashes, who, name, anchor, *arguments) is not None

    @rule(count=st.integers(1, 3))
    def pass_blocks(self, count):
        for height in range(self.world.height, self.world.height + count):
            self.history |= {(*key, height): state for key, state in self.states.items()}
        self.world.pass_blocks(count)

    @invariant()
    def records_are_as_the_model_has_them(self):
        for who in ISSUERS:
            number = MEMBERS[who][0]
            for anchor in ANCHORS:
                record = self.world.read("HashRegistry", "getRecord", number, anchor)
                assert record[4] == self._state(who, anchor)

    def teardown(self):
        for (who, anchor, height), state in getattr(self, "history", {}).items():
            arguments = (MEMBERS[who][0], anchor, height)
            assert self.world.hashes("regulator", "getStatusAt", *arguments) == state


TestRegistry = pytest.mark.timeout(600)(Registry.TestCase)  # it is many tests in one
TestRegistry.settings = settings(
    max_examples=10,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
