"""The words of an expression: names, numbers, texts, operators."""

from __future__ import annotations

import json
import re
from typing import Literal, NamedTuple

from traininglog.errors import BadQuery

#: The longest expression, in characters. A person does not write a longer one.
LONGEST = 10_000

Kind = Literal["name", "number", "text", "operator", "end"]

_WORD = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<number>[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf\b|nan\b))
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<name>[^\W\d]\w*(?:\.[\w/-]+)*)
    | (?P<operator><=|>=|==|!=|<|>|=|\(|\)|\[|\]|,)
    """,
    re.VERBOSE,
)


class Word(NamedTuple):
    """A word, and where it begins."""

    kind: Kind
    text: str
    at: int

    def number(self) -> float:
        """Return the value of a number: an int if it is written as one."""
        try:
            return int(self.text)
        except ValueError:
            return float(self.text)


def wrong(problem: str, text: str, at: int) -> BadQuery:
    """Return the error for a place in an expression; it shows the text around the place."""
    before, after = text[max(at - 40, 0) : at], text[at : at + 40] or "(the end)"
    shown = f"{'…' if at > 40 else ''}{before}>>>{after}{'…' if len(text) > at + 40 else ''}"
    return BadQuery(f"{problem}, at character {at + 1}: {shown}")


def words(text: str) -> list[Word]:
    """Return the words of an expression, and a last one that stands for its end.

    Raises:
        BadQuery: It is too long, or a character of it begins no word.

    """
    if len(text) > LONGEST:
        raise BadQuery(
            f"the expression has {len(text):,} characters, and may have {LONGEST:,}: "
            "ask with less, and select further in pandas"
        )
    found = []
    at = 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            quote = text[at] in "\"'"
            raise wrong("this quote is never closed" if quote else "this is no word", text, at)
        kind = match.lastgroup
        if kind != "space":
            found.append(Word(kind, match[0], at))  # type: ignore[arg-type]
        at = match.end()
    return [*found, Word("end", "", len(text))]


def unquoted(word: Word, text: str) -> str:
    """Return the value of a text: between double quotes as in JSON, between single ones likewise.

    Raises:
        BadQuery: It has an escape that JSON does not know.

    """
    inner = word.text[1:-1]
    if word.text[0] == "'":
        inner = re.sub(r'\\(.)|"', lambda at: {"'": "'", None: '\\"'}.get(at[1], at[0]), inner)
    try:
        value: str = json.loads(f'"{inner}"', strict=False)
    except ValueError:
        raise wrong("this text has an escape that is none", text, word.at) from None
    return value
