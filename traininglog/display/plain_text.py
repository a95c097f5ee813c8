"""Text from data on one line that people can trust.

A logged text can contain escape sequences that clear the screen, characters that reverse the
direction of writing, and newlines that fake a line of output. `visible` escapes all of them.
"""

from __future__ import annotations


def visible(text: str) -> str:
    r"""Return a text with all unprintable characters escaped.

    >>> print(visible("a\x1b[31m\n\u202eb"))
    a\x1b[31m\n\u202eb
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def cut(text: str, longest: int = 60) -> str:
    """Return a text of at most this many characters; the middle of a longer one is left out.

    `fitting.shortened` counts the columns of a terminal instead.

    >>> cut("resnet-50-large-seed-3", 13)
    'resnet…seed-3'
    """
    if len(text) <= longest:
        return text
    room = longest - 1
    return f"{text[: room - room // 2]}…{text[len(text) - room // 2 :]}"


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
