"""Lengths of time, spelled out."""

from __future__ import annotations

import math

_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def format_duration(seconds: float) -> str:
    """Return a length of time as one would say it.

    Seconds are shown in up to four digits; what rounds up to a minute is a minute. A time that has
    passed is "ago".

    >>> [format_duration(t) for t in (0.0123, 59.99999, 3661, 90061.5, -75)]
    ['0.0123s', '1m', '1h 1m 1s', '1d 1h 1m 1.5s', '1m 15s ago']
    """
    seconds = float(seconds)
    if not math.isfinite(seconds):
        return f"{seconds}s"
    if seconds < 0:
        return f"{format_duration(-seconds)} ago"
    # Rounded first and split afterwards, so that no "60s" is left over.
    seconds = float(f"{seconds:.4g}") if seconds < 60 else round(seconds, 2)
    parts = []
    for unit, length in _UNITS:
        whole = int(seconds // length)
        if whole:
            parts.append(f"{whole}{unit}")
            seconds = round(seconds - whole * length, 2)
    if seconds or not parts:
        parts.append(f"{seconds:.4g}s")
    return " ".join(parts)
