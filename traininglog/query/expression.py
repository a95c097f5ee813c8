"""The nodes of a parsed expression. Printed, a node is a text that parses to the same node."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Operator = Literal["<", "<=", ">", ">=", "==", "!="]

_PLAIN = re.compile(r"[^\W\d][\w/-]*(\.[\w/-]+)*")


@dataclass(frozen=True, slots=True)
class Named:
    """The name of a fact of a run: ``state``, or a key of a family, as ``lr`` of ``config``."""

    family: str
    key: str | None = None
    at: int = field(default=0, compare=False)  #: its place in the text

    def __str__(self) -> str:
        if self.key is None:
            return self.family
        if _PLAIN.fullmatch(self.key):
            return f"{self.family}.{self.key}"
        return f"{self.family}[{quoted(self.key)}]"


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a text, true, false or none."""

    value: float | str | bool | None
    at: int = field(default=0, compare=False)

    def __str__(self) -> str:
        if self.value is None or isinstance(self.value, bool):
            return str(self.value).lower()
        return quoted(self.value) if isinstance(self.value, str) else repr(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Constant):
            return NotImplemented
        one, two = self.value, other.value
        if isinstance(one, float) and isinstance(two, float) and math.isnan(one):
            return math.isnan(two)
        return type(one) is type(two) and one == two

    def __hash__(self) -> int:
        return hash(str(self))


Operand = Named | Constant


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two operands, compared."""

    left: Operand
    operator: Operator
    right: Operand
    at: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether an operand is one of some constants, or is in the tags, the groups or the config."""

    item: Operand
    within: tuple[Constant, ...] | Named
    at: int = field(default=0, compare=False)

    def __str__(self) -> str:
        if isinstance(self.within, Named):
            return f"{self.item} in {self.within}"
        return f"{self.item} in ({', '.join(map(str, self.within))})"


@dataclass(frozen=True, slots=True)
class Likeness:
    """Whether a text matches a glob."""

    item: Named
    pattern: str
    at: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.item} like {quoted(self.pattern)}"


@dataclass(frozen=True, slots=True)
class Truth:
    """Whether a fact that is true or false is true."""

    item: Named
    at: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return str(self.item)


@dataclass(frozen=True, slots=True)
class Negation:
    """What holds where another expression does not."""

    inside: Expression

    def __str__(self) -> str:
        return f"not {_within(self.inside)}"


@dataclass(frozen=True, slots=True)
class Conjunction:
    """What holds where all parts hold."""

    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        return " and ".join(map(_within, self.parts))


@dataclass(frozen=True, slots=True)
class Disjunction:
    """What holds where one part holds."""

    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        return " or ".join(map(_within, self.parts))


Expression = Comparison | Membership | Likeness | Truth | Negation | Conjunction | Disjunction


def _within(part: Expression) -> str:
    """Return the text of an expression as a part of another one."""
    return f"({part})" if isinstance(part, (Conjunction, Disjunction)) else str(part)


def quoted(text: str) -> str:
    """Return a text in quotes, as the language has it: as JSON has it."""
    return json.dumps(text, ensure_ascii=False)


def names_in(expression: Expression) -> Iterator[Named]:
    """Yield each name in an expression, from left to right."""
    match expression:
        case Comparison():
            sides = (expression.left, expression.right)
            yield from (side for side in sides if isinstance(side, Named))
        case Membership():
            both = (expression.item, expression.within)
            yield from (each for each in both if isinstance(each, Named))
        case Likeness() | Truth():
            yield expression.item
        case Negation():
            yield from names_in(expression.inside)
        case Conjunction() | Disjunction():
            for part in expression.parts:
                yield from names_in(part)
