"""From a text to an expression. Nothing of the text is ever run."""

from __future__ import annotations

import difflib
from typing import get_args

from traininglog.errors import BadQuery
from traininglog.query.expression import (
    Comparison,
    Conjunction,
    Constant,
    Disjunction,
    Expression,
    Likeness,
    Membership,
    Named,
    Negation,
    Operand,
    Operator,
    Truth,
)
from traininglog.query.names import COLLECTIONS, FACTS, FAMILIES, kind_of, moment
from traininglog.query.words import Word, unquoted, words, wrong
from traininglog.run_info import State

#: How deep parentheses and `not` may be nested.
DEEPEST = 50

_OPERATORS: tuple[Operator, ...] = ("<", "<=", ">", ">=", "==", "!=")
_CONSTANTS = {"true": True, "false": False, "none": None}
_RESERVED = {"and", "or", "not", "in", "like", *_CONSTANTS}


def parse(text: str) -> Expression:
    """Return the expression that a text is.

    >>> print(parse("config.lr<.1 and not (state in ('failed', 'lost'))"))
    config.lr < 0.1 and not state in ("failed", "lost")

    Raises:
        BadQuery: The text is no expression, or names what no run can have.

    """
    if not isinstance(text, str):
        raise TypeError(f"where is a text, not a {type(text).__name__}")
    parser = _Parser(text)
    found = parser.either()
    parser.end()
    return found


def parse_name(text: str) -> Named:
    """Return the name that a text is: ``config.lr``, ``last["train/loss"]``.

    Raises:
        BadQuery: The text is no name.

    """
    if not isinstance(text, str):
        raise TypeError(f"a name is a text, not a {type(text).__name__}")
    parser = _Parser(text)
    found = parser.name()
    parser.end()
    return found


class _Parser:
    """Goes through the words of a text once, by recursive descent."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = words(text)
        self._next = 0
        self._depth = 0

    @property
    def _word(self) -> Word:
        return self._words[self._next]

    def _take(self, *texts: str) -> Word | None:
        """Pass over the next word if it is one of these."""
        word = self._word
        if word.kind in ("name", "operator") and word.text in texts:
            self._next += 1
            return word
        return None

    def _wrong(self, problem: str, at: int | None = None) -> BadQuery:
        return wrong(problem, self._text, self._word.at if at is None else at)

    def end(self) -> None:
        """Raise unless the text ends here."""
        word = self._word
        if word.kind == "end":
            return
        if word.text == "=":
            raise self._wrong("= compares nothing: write ==")
        raise self._wrong("and, or, or the end is expected here")

    def either(self) -> Expression:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Disjunction(_joined(parts, Disjunction))

    def _both(self) -> Expression:
        parts = [self._negated()]
        while self._take("and"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else Conjunction(_joined(parts, Conjunction))

    def _negated(self) -> Expression:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong(f"this is nested more than {DEEPEST} levels deep")
        try:
            if self._take("not"):
                return Negation(self._negated())
            if self._take("("):
                found = self.either()
                self._close(")")
                return found
            return self._test()
        finally:
            self._depth -= 1

    def _close(self, bracket: str) -> None:
        if not self._take(bracket):
            raise self._wrong(f"{bracket} is expected here")

    def _test(self) -> Expression:
        left = self._operand()
        word = self._word
        if self._take("like"):
            return self._likeness(left, word.at)
        if self._take("not"):
            if not self._take("in"):
                raise self._wrong("in is expected after not")
            return Negation(self._membership(left, word.at))
        if self._take("in"):
            return self._membership(left, word.at)
        comparisons: list[Expression] = []
        while (operator := self._operator()) is not None:
            right = self._operand()
            comparisons.append(self._checked(Comparison(left, operator.text, right, operator.at)))  # type: ignore[arg-type]
            left = right
        if comparisons:
            return comparisons[0] if len(comparisons) == 1 else Conjunction(tuple(comparisons))
        if isinstance(left, Constant):
            raise self._wrong("a comparison is expected here", left.at)
        if kind_of(left) not in (None, "truth"):
            raise self._wrong(f"{left} is no yes or no: compare it with something", left.at)
        return Truth(left, left.at)

    def _operator(self) -> Word | None:
        if self._word.text == "=":
            raise self._wrong("= compares nothing: write ==")
        return self._take(*_OPERATORS)

    def _likeness(self, left: Operand, at: int) -> Likeness:
        word = self._word
        if word.kind != "text":
            raise self._wrong("like wants a text, such as 'resnet*'")
        if isinstance(left, Constant):
            raise self._wrong("like wants a name on its left", left.at)
        if kind_of(left) not in (None, "text"):
            raise self._wrong(f"{left} is no text: like cannot match it", left.at)
        self._next += 1
        return Likeness(left, unquoted(word, self._text), at)

    def _membership(self, item: Operand, at: int) -> Membership:
        if self._take("("):
            within = [self._constant()]
            while self._take(","):
                if self._word.text == ")":
                    break
                within.append(self._constant())
            self._close(")")
            for each in within:
                self._checked(Comparison(item, "==", each, each.at))
            return Membership(item, tuple(within), at)
        word = self._word
        if word.kind == "name" and word.text in COLLECTIONS:
            self._next += 1
            return Membership(item, Named(word.text, None, word.at), at)
        raise self._wrong(f"in wants a list, such as (1, 2), or one of {', '.join(COLLECTIONS)}")

    def _constant(self) -> Constant:
        found = self._operand()
        if isinstance(found, Named):
            raise self._wrong("a number or a text in quotes is expected here", found.at)
        return found

    def _operand(self) -> Operand:
        word = self._word
        if word.kind == "number":
            self._next += 1
            return Constant(word.number(), word.at)
        if word.kind == "text":
            self._next += 1
            return Constant(unquoted(word, self._text), word.at)
        if word.kind == "name" and word.text in _CONSTANTS:
            self._next += 1
            return Constant(_CONSTANTS[word.text], word.at)
        return self.name()

    def name(self) -> Named:
        """Return the name that comes next."""
        word = self._word
        if word.kind != "name" or word.text in _RESERVED:
            raise self._wrong("a name, a number or a text in quotes is expected here")
        self._next += 1
        family, dot, key = word.text.partition(".")
        if not dot and self._take("["):
            inner = self._word
            if inner.kind != "text":
                raise self._wrong(f"a text in quotes is expected here, as in {family}['a key']")
            self._next += 1
            self._close("]")
            dot, key = ".", unquoted(inner, self._text)
        if dot:
            if family not in FAMILIES:
                raise self._unknown(word, family)
            return Named(family, key, word.at)
        if family not in FACTS:
            raise self._unknown(word, family)
        return Named(family, None, word.at)

    def _unknown(self, word: Word, family: str) -> BadQuery:
        if family in FAMILIES:
            return self._wrong(f"{family} wants a key: {family}.KEY, or {family}['a key']", word.at)
        known = {each: each for each in FACTS} if "." not in word.text else {}
        known |= {each: f"{each}.KEY" for each in FAMILIES if each not in known}
        near = [known[each] for each in difflib.get_close_matches(family, known, 3)]
        advice = f"did you mean {' or '.join(near)}?" if near else (
            f"there are {', '.join(known.values())}"
        )  # fmt: skip
        return self._wrong(f"a run has no {word.text!r}; {advice}", word.at)

    def _checked(self, found: Comparison) -> Comparison:
        """Raise unless the two sides of a comparison can be compared."""
        for side, other in ((found.left, found.right), (found.right, found.left)):
            if not isinstance(side, Named) or not isinstance(other, Constant):
                continue
            kind, value = kind_of(side), other.value
            if value is None:
                if found.operator not in ("==", "!="):
                    raise self._wrong("none can only be compared by == and !=", other.at)
            elif kind == "moment":
                if not isinstance(value, str) or moment(value) is None:
                    raise self._wrong(
                        f"{side} is compared with a date, such as '2026-01-31' or "
                        "'2026-01-31 12:00'", other.at,
                    )  # fmt: skip
            elif kind is not None and kind != kind_of_value(value):
                raise self._wrong(
                    f"{side} is a {_A[kind]}, and cannot be compared with {other}", other.at
                )
            elif side.family == "state" and value not in get_args(State):
                states = ", ".join(get_args(State))
                raise self._wrong(f"a state is one of {states}, not {other}", other.at)
        return found


_A = {"text": "text", "number": "number", "truth": "yes or no", "collection": "collection"}


def kind_of_value(value: object) -> str | None:
    """Return of which kind a constant is; see `names.kind_of`."""
    if isinstance(value, bool):
        return "truth"
    return "number" if isinstance(value, (int, float)) else "text"


def _joined(
    parts: list[Expression], kind: type[Conjunction] | type[Disjunction]
) -> tuple[Expression, ...]:
    """Return the parts, with those of parts of the same kind: ``a and (b and c)`` is one."""
    return tuple(
        inner for part in parts for inner in (part.parts if isinstance(part, kind) else (part,))
    )
