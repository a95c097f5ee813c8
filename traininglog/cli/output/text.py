"""Values of a log as short texts for people."""

from __future__ import annotations

from datetime import datetime

from traininglog.display.durations import in_one_unit
from traininglog.display.plain_text import visible
from traininglog.plain_json import shown_text
from traininglog.values import StoredValue

_LONGEST = 80


def brief(value: StoredValue, longest: int = _LONGEST) -> str:
    """Return a value as a short visible text: numbers with six digits, arrays by their shape."""
    if isinstance(value, float):
        return "NaN" if value != value else f"{value:.6g}"  # noqa: PLR0124 - it is NaN
    if value is None or isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if hasattr(value, "dtype"):
        return f"array {'x'.join(map(str, value.shape))} {value.dtype}"
    if isinstance(value, datetime):
        return visible(value.isoformat(" "))
    text = visible(shown_text(value, ascii_only=False))
    if len(text) <= longest:
        return text
    if isinstance(value, str):
        return shortened(text, longest)
    # Of a list or a dict whole items are left out: a number that is cut is another number.
    head = text[: longest - 2]
    return head[: head.rfind(" ") + 1 or 1] + "…" + text[-1]


def shortened(text: str, longest: int) -> str:
    """Return a text with at most `longest` characters; a cut one ends with an ellipsis."""
    return text if len(text) <= longest else text[: max(0, longest - 1)] + "…"


def size(count: int) -> str:
    """Return a number of bytes for people."""
    if count < 1024:
        return f"{count} bytes"
    number, unit = float(count), ""
    for unit in ("KiB", "MiB", "GiB", "TiB"):  # noqa: B007 - used after the loop
        number /= 1024
        if number < 1024:
            break
    return f"{number:.1f} {unit}"


def moment(when: datetime | None, now: datetime | None = None) -> str:
    """Return a time in the local zone; with `now`, a time in the last day as its age."""
    if when is None:  # a damaged line has no time
        return "-"
    if now is not None:
        seconds = (now - when).total_seconds()
        if 0 <= seconds < 86400:
            return f"{in_one_unit(seconds)} ago"
        return when.astimezone().strftime("%Y-%m-%d %H:%M")
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def point(resumed_at: int | None) -> str:
    """Return a resume point for people."""
    if resumed_at is None:
        return ""
    return "before its first row" if resumed_at < 0 else f"{resumed_at}"
