"""Times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def tell_time(time_s: int) -> str:
    """Return a time in seconds since 1970 in ISO 8601, in UTC; the number if there is no such."""
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(time_s)
