"""Fitting lines into the width of a terminal, and into the encoding of an output.

A line consists of pieces, and each piece has several forms, from the longest to none at all. Each
form has a level: as a line gets narrower, forms with a lower level are used first. So the least
important piece is cut first, whatever its place in the line.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

#: A form of a piece, with its level.
Form = tuple[float, str]

# The levels, in the order in which pieces are cut.
NAMES_24, NAMES_16, BAR_10, NAMES_12, FEW_METRICS, NAMES_8 = 1.0, 2.0, 3.0, 4.0, 5.0, 6.0
SHORT_WORDS, BAR_6, NAMES_5, ONE_METRIC, SHORT_TIME, BAR_4 = 7.0, 8.0, 9.0, 10.0, 11.0, 12.0
NO_METRIC, NO_RATE, NO_BAR, NO_TIME = 13.0, 14.0, 15.0, 16.0

#: The forms of a bar, as blanks of its width: the caller draws it.
_BAR: tuple[Form, ...] = (
    (0.0, " " * 20), (BAR_10, " " * 10), (BAR_6, " " * 6), (BAR_4, " " * 4), (NO_BAR, ""),
)  # fmt: skip

_NAME_LENGTHS = ((NAMES_24, 24), (NAMES_16, 16), (NAMES_12, 12), (NAMES_8, 8), (NAMES_5, 5))
_MANY = 10  # with more metrics, a few columns tell how many are left out
_FEW = 3  # further metrics are left out before names shrink to 8 columns
_GAP = "  "


class Fitted(NamedTuple):
    """The parts of a line that fits."""

    pieces: list[str]
    metrics: str
    bar: int  #: the width of the bar; 0: there is none


def fitted(
    width: int,
    pieces: Sequence[Sequence[Form]],
    metrics: Sequence[tuple[str, ...]],
    *,
    bar: bool = True,
    between: str = " ",
    ellipsis: str = "…",
) -> Fitted:
    """Return the longest forms of the parts of a line that fit into a width.

    Args:
        width: The width in columns of a terminal.
        pieces: The pieces beside the metrics, each with its forms; the last form always stays.
        metrics: Names and values: ``(name, value)``, shown as ``name + between + value``, or
            ``(name, value, value in short)``.
        bar: Whether there is a bar.
        between: The text between the name of a metric and its value.
        ellipsis: The text in place of the part that is left out of a name.

    >>> line = fitted(32, [[(0, "3/60")], [(0, "5.0 s left")]], [("validation/loss", "0.5")])
    >>> line.bar, line.pieces, line.metrics
    (4, ['3/60', '5.0 s left'], 'va…ss 0.5')
    """
    shown = metrics[: max(1, width // 4)]  # no form of more would fit
    forms: list[Sequence[Form]] = [_BAR if bar else [(0.0, "")], *pieces]
    for number, (name, *values) in enumerate(shown):
        forms.append(_metric_forms(number, len(shown), name, values, between, ellipsis))
    taken = [0] * len(forms)  # the index of the form of each piece

    def line(*, counted: bool = False) -> Fitted:
        texts = [piece[at][1] for piece, at in zip(forms, taken, strict=True)]
        there = [text for text in texts[1 + len(pieces) :] if text]
        if counted and there and len(there) < len(metrics):
            there.append(f"+{len(metrics) - len(there)}")
        return Fitted(texts[1 : 1 + len(pieces)], _GAP.join(there), len(texts[0]))

    changes = sorted((form[0], place) for place, piece in enumerate(forms) for form in piece[1:])
    given, counted = 0, len(metrics) > _MANY
    while length(line(counted=counted)) > width and given < len(changes):  # cut by level
        taken[changes[given][1]] += 1
        given += 1
    for _, place in reversed(changes[: max(0, given - 1)]):  # restore cuts that were not needed
        if taken[place]:
            taken[place] -= 1
            if length(line(counted=counted)) > width:
                taken[place] += 1
    return line(counted=length(line(counted=True)) <= width)


def length(line: Fitted) -> int:
    """Return the number of columns of a line, with gaps between its parts."""
    texts = [text for text in [*line.pieces, line.metrics] if text]
    gaps = len(_GAP) * (len(texts) - 1) + bool(line.bar)
    return sum(map(columns_of, texts)) + max(0, gaps) + line.bar


def _metric_forms(
    number: int, count: int, name: str, values: Sequence[str], between: str, ellipsis: str
) -> list[Form]:
    forms: list[Form] = [(0.0, f"{name}{between}{values[0]}")]
    forms += [
        (level, shortened(name, most, ellipsis) + between + values[-(level >= SHORT_WORDS)])
        for level, most in _NAME_LENGTHS
    ]
    # The last metric is left out first.
    if number >= _FEW:
        gone = FEW_METRICS + (count - number) / (count + 1)
    elif number:
        gone = ONE_METRIC + (_FEW - number) / (_FEW + 1)
    else:
        gone = NO_METRIC
    return [form for form in forms if form[0] < gone] + [(gone, "")]


def columns_of(text: str) -> int:
    """Return the number of terminal columns that a text takes.

    >>> columns_of("loss"), columns_of("火"), columns_of("e\N{COMBINING ACUTE ACCENT}")
    (4, 2, 1)
    """
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(letter) in ("Mn", "Me", "Cf")
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in text
    )


def shortened(text: str, most: int, ellipsis: str = "…") -> str:
    """Return a text of at most `most` columns; cut out the middle of a longer one.

    >>> shortened("validation/loss", 8)
    'vali…oss'
    """
    if columns_of(text) <= most:
        return text
    head, tail = text, text
    room = most - columns_of(ellipsis)
    while columns_of(head) > room - room // 2:
        head = head[:-1]
    while columns_of(tail) > room // 2:
        tail = tail[1:]
    return head + ellipsis + tail


def encodable(text: str, encoding: str | None) -> str:
    r"""Return a text with escapes for characters that the encoding lacks.

    >>> encodable("naïve", "ascii")
    'na\\xefve'
    """
    if not encoding or text.isascii():
        return text
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:  # an encoding that only its stream knows
        return text.encode("ascii", "backslashreplace").decode()
    return text


def ellipsis_for(encoding: str | None) -> str:
    """Return the ellipsis for an output of this encoding."""
    return "…" if encodable("…", encoding) == "…" else "~"
