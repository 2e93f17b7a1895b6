"""The registry against a model of it: whatever issuers do in whatever order, in both EVM engines.

The model knows which change leads from which state to which; the contract must agree on every
call, on every record afterwards, and on what every record was at every height.
"""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.registry import AnchorState, RegistryErrorCode
from tests.unit.registry_world import MEMBERS, Refused, World

ISSUERS = ("issuer-sz", "issuer-hk")
ANCHORS = tuple(bytes([number]) * 32 for number in (1, 2))
PRESENTATIONS = tuple(bytes([number]) * 32 for number in (9, 10))
S, CODE = AnchorState, RegistryErrorCode
CHANGES = {
    "revoke": ((S.ACTIVE, S.SUSPENDED), S.REVOKED, (3, 0)),
    "suspend": ((S.ACTIVE,), S.SUSPENDED, ()),
    "reinstate": ((S.SUSPENDED,), S.ACTIVE, ()),
    "markErased": ((S.ACTIVE, S.SUSPENDED, S.REVOKED, S.SUPERSEDED), S.ERASED, (b"r" * 32,)),
}
"""From which states, to which, with which further arguments."""
REFUSALS = {CODE.NOT_FOUND, CODE.NOT_ACTIVE, CODE.ALREADY_REVOKED, CODE.TERMINAL_STATE}

issuers, anchors = st.sampled_from(ISSUERS), st.sampled_from(ANCHORS)


class Registry(RuleBasedStateMachine):
    """Two issuers, two anchors that both use, and time that passes."""

    @initialize()
    def begin(self):
        self.world = World()
        self.states = {}
        self.particulars = {}
        self.history = {}
        """By issuer, anchor and height: the state at the end of that block."""
        self.used = set()
        for anchor in ANCHORS:  # or most steps would find nothing to change
            self.register(ISSUERS[0], anchor, 0)

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
        key = (who, anchor)
        known = self.particulars.get(key)
        if known is not None and known != day:
            with pytest.raises(Refused, match="ALREADY_REGISTERED_CONFLICT"):
                self.world.register(anchor, who, day=day)
            return
        assert self.world.register(anchor, who, day=day) is (known is not None)
        self.particulars[key] = day
        if known is None:
            self.states[key] = S.ACTIVE
        else:
            assert self.world.events() == []

    @rule(who=issuers, anchor=anchors, name=st.sampled_from(sorted(CHANGES)))
    def change(self, who, anchor, name):
        before, after, more = CHANGES[name]
        code = self._try(self.world.hashes, who, name, anchor, *more)
        if self._state(who, anchor) in before:
            assert code is None
            self.states[who, anchor] = after
        else:
            assert code in REFUSALS

    @rule(who=issuers, old=anchors, new=anchors)
    def supersede(self, who, old, new):
        code = self._try(self.world.hashes, who, "supersede", old, new)
        if old != new and {self._state(who, old), self._state(who, new)} == {S.ACTIVE}:
            assert code is None
            self.states[who, old] = S.SUPERSEDED
        else:
            assert code is not None

    @rule(presentation=st.sampled_from(PRESENTATIONS), origin=st.integers(0, 5))
    def consume(self, presentation, origin):
        arguments = ("VerificationLog", "consume", presentation, bytes(32), 1, origin)
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
                assert self.world.state_of(anchor, number) == self._state(who, anchor)

    def teardown(self):
        for (who, anchor, height), state in getattr(self, "history", {}).items():
            arguments = (MEMBERS[who][0], anchor, height)
            assert self.world.hashes("regulator", "getStatusAt", *arguments) == state


TestRegistry = Registry.TestCase
TestRegistry.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
