"""Values as short texts, for pages."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from traininglog.display.plain_text import cut, visible
from traininglog.plain_json import shown_text

_LONGEST = 60


def brief(value: object, longest: int = _LONGEST) -> str:
    """Return a value as a short text: a number with six digits, bytes and arrays by their size.

    >>> brief(0.1234567), brief(float("nan")), brief({"a": [1, 2]})
    ('0.123457', 'NaN', '{"a": [1, 2]}')
    """
    if isinstance(value, float):
        if value != value:  # noqa: PLR0124 - it is NaN
            return "NaN"
        return f"{value:.6g}"
    if value is None:
        return "none"
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, str):
        return cut(
            visible(value[: 4 * longest]) + ("…" if len(value) > 4 * longest else ""), longest
        )
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, UUID):
        return value.hex
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"array {'x'.join(map(str, value.shape))} {value.dtype}"
    return cut(visible(shown_text(value, ascii_only=False)), longest)


def moment(when: datetime | None) -> str:
    """Return a moment in UTC, to the second."""
    return "unknown" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
