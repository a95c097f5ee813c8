"""Which runs an expression holds for.

* A comparison with a fact that a run does not have, or that is None, is false. ``x == none`` asks
  for that, and ``x != none`` for the opposite.
* Numbers are compared as floats are: NaN is unequal to everything, ``x == nan`` asks for it.
* What cannot be compared, as a text with a number, is unequal. To order it is an error, and so is a
  comparison that could be made for no run at all.
"""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from traininglog.errors import BadQuery
from traininglog.near_names import instead
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
    names_in,
)
from traininglog.query.names import MISSING, fact_of, moment, reader
from traininglog.query.words import wrong
from traininglog.run_info import RunInfo, description

_COMPARE: Mapping[Operator, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip

# What a comparison is called once its sides have changed places.
_TURNED: Mapping[Operator, Operator] = {
    "<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!=",
}  # fmt: skip


class Evaluation:
    """An expression, asked of some runs.

    Args:
        expression: The expression.
        text: Its text, which errors show.

    """

    def __init__(self, expression: Expression, text: str) -> None:
        self._expression = expression
        self._text = text
        #: The comparisons that could be made for some run, and of the others a pair that could not.
        self._made: set[int] = set()
        self._unlike: dict[int, tuple[Comparison, object, object, RunInfo]] = {}

    def holding(self, infos: Sequence[RunInfo]) -> list[RunInfo]:
        """Return the runs that the expression holds for.

        Raises:
            BadQuery: No run has one of the names, or a comparison has no sense.

        """
        self._check_names(infos)
        found = list(filter(self._test(self._expression), infos))
        for which, (comparison, left, right, info) in self._unlike.items():
            if which not in self._made:
                raise self._not_alike(comparison, left, right, info)
        return found

    def _check_names(self, infos: Sequence[RunInfo]) -> None:
        """Raise for a name that no run has, near ones named. Nothing is wrong with no runs."""
        if not infos:
            return
        for name in names_in(self._expression):
            check_name(name, infos, self._text)

    def _test(self, node: Expression) -> Callable[[RunInfo], bool]:
        """Return a function that returns whether a part of the expression holds for a run."""
        match node:
            case Comparison():
                return self._comparison(node)
            case Conjunction():
                every = [self._test(part) for part in node.parts]
                return lambda info: all(test(info) for test in every)
            case Disjunction():
                some = [self._test(part) for part in node.parts]
                return lambda info: any(test(info) for test in some)
            case Negation():
                inside = self._test(node.inside)
                return lambda info: not inside(info)
            case Membership():
                return lambda info: self._is_in(node, info)
            case Likeness():
                return lambda info: self._is_like(node, info)
            case Truth():
                return lambda info: self._is_true(node, info)

    def _comparison(self, node: Comparison) -> Callable[[RunInfo], bool]:
        """Return a test, which is a short one for a fact and a constant of the same type."""
        name, constant = node.left, node.right
        compare = _COMPARE[node.operator]
        if isinstance(name, Constant):
            name, constant = constant, name
            compare = _COMPARE[_TURNED[node.operator]]
        if not (isinstance(name, Named) and isinstance(constant, Constant)):
            return lambda info: self._compare(node, info)
        value, read, made = constant.value, reader(name), self._made
        alike: tuple[type, ...] = ()
        if type(value) in (int, float) and not _is_nan(value):
            alike = int, float
        elif type(value) is str:
            alike = (str,)

        def test(info: RunInfo) -> bool:
            found = read(info)
            if type(found) in alike:
                made.add(id(node))
                return compare(found, value)
            return self._compare(node, info)

        return test

    def _is_like(self, node: Likeness, info: RunInfo) -> bool:
        found = fact_of(info, node.item)
        return isinstance(found, str) and fnmatchcase(found, node.pattern)

    def _compare(self, node: Comparison, info: RunInfo) -> bool:
        for side, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(side, Constant) and side.value is None:
                there = _value(other, info)
                absent = there is MISSING or there is None
                return absent == (node.operator == "==")
        left, right = _value(node.left, info), _value(node.right, info)
        if left is MISSING or right is MISSING or left is None or right is None:
            return False
        left, right = _dated(left, right), _dated(right, left)
        if _kind(left) != _kind(right):
            if node.operator not in ("==", "!="):
                raise self._not_alike(node, left, right, info)
            self._unlike.setdefault(id(node), (node, left, right, info))
            return node.operator == "!="
        self._made.add(id(node))
        if node.operator in ("==", "!=") and _is_nan(left) and _is_nan(right):
            return node.operator == "=="
        return _COMPARE[node.operator](left, right)

    def _not_alike(self, node: Comparison, left: object, right: object, info: RunInfo) -> BadQuery:
        sides = (node.left, left), (node.right, right)
        name, value = next((side, value) for side, value in sides if isinstance(side, Named))
        other = right if name is node.left else left
        return wrong(
            f"{name} is {_called(value)} in run {info.uuid.hex[:8]}, and cannot be compared with "
            f"{_called(other)}", self._text, node.at,
        )  # fmt: skip

    def _is_in(self, node: Membership, info: RunInfo) -> bool:
        item = _value(node.item, info)
        if item is MISSING or item is None:
            return False
        if isinstance(node.within, Named):
            within = fact_of(info, node.within)
            if isinstance(within, Mapping):
                flat = description(info, "config" if node.within.family == "config" else "tags")
                return item in within or item in flat
            return isinstance(within, Collection) and item in within
        return any(
            _kind(item) == _kind(each.value) and (item == each.value or _both_nan(item, each.value))
            for each in node.within
        )

    def _is_true(self, node: Truth, info: RunInfo) -> bool:
        found = fact_of(info, node.item)
        if found is MISSING or found is None:
            return False
        if not isinstance(found, bool):
            raise wrong(
                f"{node.item} is {_called(found)} in run {info.uuid.hex[:8]}, no yes or no: "
                "compare it with something", self._text, node.at,
            )  # fmt: skip
        return found


def check_name(name: Named, infos: Sequence[RunInfo], text: str) -> None:
    """Raise `BadQuery` for a name in a family that no run has; it names near ones."""
    read = reader(name)
    if name.key is None or any(read(info) is not MISSING for info in infos):
        return
    if name.family == "best" and not any(name.key in info.goals for info in infos):
        raise wrong(
            f"no run says which {name.key!r} is best: declare it by log.goal({name.key!r}, 'max'), "
            f"or ask for min or max", text, name.at,
        )  # fmt: skip
    if name.family in ("config", "tags"):
        which = "config" if name.family == "config" else "tags"
        there = dict.fromkeys(
            key
            for info in infos
            for key in description(info, which)  # type: ignore[arg-type]
        )
        raise wrong(f"no run has {name}; {instead(name.key, there)}", text, name.at)
    raise wrong(f"no run has a number of {name.key!r}", text, name.at)


def in_order(infos: Iterable[RunInfo], names: Sequence[tuple[Named, bool]]) -> list[RunInfo]:
    """Return runs sorted by some of their facts.

    Numbers come before texts, NaN after the other numbers, and runs without the fact last, in
    whichever direction.

    Args:
        infos: The runs. Of those that are alike, the order is kept.
        names: The facts, and whether to begin with the greatest.

    """
    found = list(infos)
    for name, descending in reversed(names):
        groups: dict[int, list[tuple[Any, RunInfo]]] = defaultdict(list)
        read = reader(name)
        for info in found:
            group, key = rank(read(info))
            groups[group].append((key, info))
        found = []
        for group in sorted(groups):
            pairs = groups[group]
            pairs.sort(key=operator.itemgetter(0), reverse=descending)
            found += [info for _, info in pairs]
    return found


def rank(value: object) -> tuple[int, Any]:
    """Return the place of the kind of a value, and what to sort it by within its kind."""
    if _is_nan(value):
        return 4, 0
    if type(value) in (int, float):
        return 0, value
    places = {"number": 0, "truth": 1, "text": 2, "moment": 3}
    place = places.get(_kind(value))
    if place is not None:
        return place, value
    return (6 if value is MISSING or value is None else 5), 0


def _value(operand: Operand, info: RunInfo) -> object:
    return operand.value if isinstance(operand, Constant) else fact_of(info, operand)


def _dated(value: object, other: object) -> object:
    """Return a text as a datetime if it is compared with one."""
    return moment(value) if isinstance(value, str) and isinstance(other, datetime) else value


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _both_nan(one: object, other: object) -> bool:
    return _is_nan(one) and _is_nan(other)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "text"
    return "moment" if isinstance(value, datetime) else type(value).__name__


def _called(value: object) -> str:
    kinds = {"truth": "a yes or no", "number": "a number", "text": "a text", "moment": "a date"}
    return kinds.get(_kind(value), f"a {type(value).__name__}")
