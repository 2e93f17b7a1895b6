"""B17: time-outs grow by half and never beyond five times the base (R-TIME-1)."""

from lowu.consensus.timeouts import TimeoutPolicy


def test_growth_and_cap():
    policy = TimeoutPolicy(base_ms=3_000)
    delays = [policy.view_timeout_ms(attempts) for attempts in range(6)]
    assert delays == [3_000, 4_500, 6_750, 10_125, 15_000, 15_000]
    assert policy.view_timeout_ms(10**6) == 15_000
