"""Floats that JSON and SQLite cannot hold, as text: infinities, and a NaN to the bit.

A NaN has a sign and 51 bits that may say where it came from. ``inf - inf`` makes one with its sign
set on most processors, so they are common in training logs. The text of the usual NaN is ``"nan"``.
Any other is ``"nan:"`` and its 64 bits, as ``"nan:fff8000000000000"``.
"""

from __future__ import annotations

from struct import Struct

_FLOAT = Struct(">d")
_MARK = "nan:"

#: The usual NaN, for a text that does not give the bits.
NAN = float("nan")
_USUAL = _FLOAT.pack(NAN)


def to_text(value: float) -> str:
    """Return the text of a float; `from_text` turns it back, to the bit."""
    return repr(value) if value == value else nan_text(value) or "nan"  # noqa: PLR0124


def nan_text(value: float) -> str | None:
    """Return the text of a NaN, or None for the usual one."""
    data = _FLOAT.pack(value)
    return None if data == _USUAL else _MARK + data.hex()


def from_text(text: str) -> float:
    """Return the float of a text. Raises `ValueError` if it is not the text of a float."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r:.80} is not the text of a float")
    if not text.startswith(_MARK):
        return float(text)
    data = bytes.fromhex(text.removeprefix(_MARK))
    value: float = _FLOAT.unpack(data)[0] if len(data) == _FLOAT.size else 0.0
    if value == value or to_text(value) != text:  # noqa: PLR0124 - a NaN differs from itself
        raise ValueError(f"{text!r:.80} is not the text of a NaN")
    return value
