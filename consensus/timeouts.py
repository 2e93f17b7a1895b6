"""How long a replica waits (rule R-TIME-1).

The base time-out grows 1.5× with each view time-out without progress, up to a low cap:
FISCO BCOS's 1.5^10 (173 s) and Besu's 2^10 leave a healed network waiting (B17). The core
never reads a clock; these are delays handed to the driver.
"""

from __future__ import annotations

from dataclasses import dataclass

GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class TimeoutPolicy:
    """Base delays of one chain, in milliseconds."""

    base_ms: int = 3_000
    """Time-out of the first attempt, FISCO BCOS's consensus_timeout."""
    cap_factor: int = 5
    """No wait is longer than base_ms × cap_factor."""
    resend_ms: int = 1_000
    """The period after which a waiting replica asks again for what it misses."""

    def view_timeout_ms(self, failed_attempts: int) -> int:
        """Return the time-out in milliseconds after `failed_attempts` earlier ones."""
        cap_ms = self.base_ms * self.cap_factor
        delay_ms = float(self.base_ms)
        for _ in range(failed_attempts):
            delay_ms *= GROWTH
            if delay_ms >= cap_ms:
                return cap_ms
        return int(delay_ms)
