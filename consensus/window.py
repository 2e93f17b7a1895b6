"""How many heights may be in flight (rule R-EPO-3): as many as a NEW-VIEW has room for."""

from __future__ import annotations

from lowu.consensus.codec import MESSAGE_BYTES_MAX

_SIGNATURE_BYTES = 80
_CERTIFICATE_BYTES = 160
_PASSED_OVER_BYTES = 16


def compute_window_max(validators: int) -> int:
    """Return the largest window whose largest NEW-VIEW still fits into a message.

    A NEW-VIEW holds up to n VIEW-CHANGEs, each with window + 1 certificates of up to n
    signatures, and up to n leaders to pass over.
    """
    certificate_bytes = validators * _SIGNATURE_BYTES + _CERTIFICATE_BYTES
    change_bytes = MESSAGE_BYTES_MAX // validators - validators * _PASSED_OVER_BYTES
    return change_bytes // certificate_bytes - 1


def fit_window(window: int, validators: int) -> int:
    """Return the window for this many validators: the configured one, or what fits."""
    return max(1, min(window, compute_window_max(validators)))
