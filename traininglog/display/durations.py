"""Formats of durations and rates: the only place that defines them."""

from __future__ import annotations

import math

from traininglog.display.fitting import NO_RATE, SHORT_WORDS, Form

_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def format_duration(seconds: float) -> str:
    """Return a duration as people would say it.

    Seconds have up to four digits; seconds that round up to a minute become a minute. A negative
    duration is "ago".

    >>> [format_duration(t) for t in (0.0123, 59.99999, 3661, 90061.5, -75)]
    ['0.0123s', '1m', '1h 1m 1s', '1d 1h 1m 1.5s', '1m 15s ago']
    """
    seconds = float(seconds)
    if not math.isfinite(seconds):
        return f"{seconds}s"
    if seconds < 0:
        return f"{format_duration(-seconds)} ago"
    # Round first and split afterwards, so that no "60s" is left over.
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


def on_a_clock(seconds: float) -> str:
    """Return a duration in seconds up to a minute, then as clocks show it.

    It is for a bar: it is shorter than `format_duration`, and its width rarely changes.

    >>> on_a_clock(0.25), on_a_clock(59.7), on_a_clock(3723), on_a_clock(183845)
    ('0.2 s', '1:00', '1:02:03', '2d 3:04:05')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)  # before it is split, or there would be a minute of 60 s
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def in_one_unit(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, for a column of a table.

    >>> in_one_unit(12.3), in_one_unit(150), in_one_unit(5000)
    ('12 s', '2 min', '1 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.0f} h"


def rate_forms(rate: float | None) -> list[Form]:
    """Return a number of steps per second in the forms of `fitted`, the longest first.

    A rate below one becomes seconds per step. No rate becomes an empty text.

    >>> [rate_forms(rate)[0][1] for rate in (18_923.4, 3.14159, 0.4, None)]
    ['18,923 steps/s', '3.14 steps/s', '2.5 s/step', '']
    """
    if not rate:
        return [(0, "")]
    if rate < 1:
        number = f"{1 / rate:,.3g}" if rate > 0.001 else f"{1 / rate:,.0f}"
        return [(0, f"{number} s/step"), (NO_RATE, "")]
    number = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
    short = f"{rate:.0f}" if 10 <= rate < 100 else number
    return [(0, f"{number} steps/s"), (SHORT_WORDS, f"{short}/s"), (NO_RATE, "")]
