"""Queries over records: mappings from a dotted path to a value, or to an operator and operand.

    {"project_id": "paper", "parameters.lr": {"$lt": 0.1}}
    {"$or": [{"status": "Broken"}, {"tags.retry": {"$exists": True}}]}

All conditions of a mapping must hold. A query can also be a list of pairs, which may name a path
twice. ``$eq`` and ``$in`` treat an absent value as None. An absent value is neither less nor
greater than any value. ``$exists`` distinguishes absent from None. Numbers compare with numbers,
texts with texts.

A trial can be in several groups. A condition on ``group_id`` or ``groups`` holds if it holds for
one of them; for a trial without groups, if it holds for None. A trial has the tags of its project.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from traininglog.trials.statuses import Status, status_of
from traininglog.trials.trial_errors import InvalidQuery, UnknownStatus
from traininglog.values import StoredRow, StoredValue

Query = Mapping[str, StoredValue] | Sequence[tuple[str, Any]] | None
R = TypeVar("R")
Condition = Callable[[Mapping[str, StoredValue]], bool]

_ABSENT = object()
_OPERATORS = (
    "$eq", "$ne", "$in", "$nin", "$lt", "$lte", "$gt", "$gte", "$exists", "$not", "$and", "$or",
)  # fmt: skip
_ORDERS = {
    "$lt": operator.lt,
    "$lte": operator.le,
    "$gt": operator.gt,
    "$gte": operator.ge,
}


#: Fields with several values, each with the name of the field that holds the list.
_SEVERAL = {"group_id": "groups", "groups": "groups"}


class Matcher:
    """A checked query. Called with a record, it returns whether the record matches.

    Args:
        query: The query; None matches all.
        fields: The allowed first steps of a path.

    Raises `InvalidQuery`.

    >>> matches = Matcher({"parameters.lr": {"$lt": 0.1}}, {"parameters"})
    >>> matches({"parameters": {"lr": 0.01}})
    True
    >>> matches({"parameters": {}})
    False
    """

    def __init__(self, query: Query, fields: Collection[str]) -> None:
        self._fields = fields
        #: The fields that the query reads.
        self.asked: set[str] = set()
        #: Field -> the values that it must have: only from plain conditions ($eq, $in) at the top
        #: of the query. A store can use it to preselect records.
        self.where: dict[str, list[Any]] = {}
        self._conditions = self._conjunction(query, outermost=True)

    def __call__(self, record: Mapping[str, StoredValue]) -> bool:
        """Return whether a record matches."""
        return all(condition(record) for condition in self._conditions)

    def _conjunction(self, query: Query, *, outermost: bool = False) -> list[Condition]:
        conditions = []
        for path, wanted in _pairs(query):
            if path in ("$and", "$or"):
                parts = [self._conjunction(part) for part in _listed(path, wanted)]
                conditions.append(_joined(path, parts))
                continue
            if path == "$not":
                conditions.append(_negated(self._conjunction(wanted)))
                continue
            name, operand = self._operation(path, wanted)
            if outermost and name in ("$eq", "$in") and "." not in path and path != "status":
                operands = list(operand) if name == "$in" else [operand]
                if path not in _SEVERAL or all(map(_is_one, operands)):
                    self.where[_SEVERAL.get(path, path)] = operands
            conditions.append(self._condition(path, name, operand))
        return conditions

    def _operation(self, path: str, wanted: object) -> tuple[str, Any]:
        """Return the operator and the operand of one condition of a query."""
        self._check_path(path)
        if not isinstance(wanted, Mapping):
            return "$eq", wanted
        marked = [key for key in wanted if isinstance(key, str) and key.startswith("$")]
        if not marked:
            return "$eq", wanted  # a dict without an operator is a value to compare with
        if len(wanted) > 1:
            raise InvalidQuery(
                f"{path!r} has {', '.join(map(str, wanted))} where one operator is meant: "
                'join conditions by {"$and": [...]}'
            )
        return marked[0], wanted[marked[0]]

    def _check_path(self, path: object) -> None:
        if not isinstance(path, str) or not path:
            raise InvalidQuery(f"a query is asked by dotted paths, not by {path!r:.80}")
        if path.startswith("$"):
            raise InvalidQuery(f"there is no {path!r:.80} there; only {', '.join(_OPERATORS[-3:])}")
        first = path.partition(".")[0]
        if first not in self._fields:
            raise InvalidQuery(
                f"there is no field {first!r:.80}; there are: {', '.join(sorted(self._fields))}"
            )
        self.asked.add(first)

    def _condition(self, path: str, name: str, operand: object) -> Condition:
        if path in _SEVERAL and name not in ("$not", "$exists"):
            return self._condition_on_several(_SEVERAL[path], name, operand)
        steps = path.split(".")
        if name not in _OPERATORS or name in ("$and", "$or"):
            raise InvalidQuery(
                f"there is no operator {name!r:.80}; there are: {', '.join(_OPERATORS)}"
            )
        if name == "$not":
            inner = self._condition(path, *self._operation(path, operand))
            return lambda record: not inner(record)
        if name == "$exists":
            if not isinstance(operand, bool):
                raise InvalidQuery(f"$exists of {path!r} is True or False, not {operand!r:.80}")
            return lambda record: (_at(record, steps) is not _ABSENT) is operand
        if name in ("$in", "$nin"):
            if isinstance(operand, str) or not isinstance(operand, Iterable):
                raise InvalidQuery(f"{name} of {path!r} takes a list of values")
            wanted = [_comparable(path, item) for item in operand]
            return lambda record: (
                any(_same(_seen(record, steps), item) for item in wanted) is (name == "$in")
            )
        value = _comparable(path, operand)
        if name in ("$eq", "$ne"):
            return lambda record: _same(_seen(record, steps), value) is (name == "$eq")
        order = _ORDERS[name]
        if path == "status":  # statuses are ordered by their numbers
            steps, value = ["status", "value"], value["value"]
        if not isinstance(value, (int, float, str)):
            raise InvalidQuery(f"{name} of {path!r} takes a number or a text, not {operand!r:.80}")
        return lambda record: _ordered(order, _seen(record, steps), value)

    def _condition_on_several(self, path: str, name: str, operand: object) -> Condition:
        """Return a condition that holds if it holds for one value of a field.

        A field without values counts as one None.
        """
        if name in ("$ne", "$nin"):
            inverse = self._condition_on_several(path, "$eq" if name == "$ne" else "$in", operand)
            return lambda record: not inverse(record)
        if name == "$eq" and isinstance(operand, (list, tuple)):  # all values, in any order
            wanted = sorted(map(str, operand))
            return lambda record: sorted(_seen(record, [path]) or []) == wanted
        one = self._condition("one", name, operand)
        return lambda record: any(one({"one": value}) for value in _seen(record, [path]) or [None])


def _is_one(operand: object) -> bool:
    return operand is None or isinstance(operand, str)


def statuses_in(query: Query) -> set[int] | None:
    """Return the numbers of the statuses that a query can match, or None for all of them."""
    for path, wanted in _pairs(query):
        if path == "status":
            if isinstance(wanted, Mapping) and set(wanted) == {"$in"}:
                return {status_of(item).value for item in wanted["$in"]}
            if not isinstance(wanted, Mapping):
                return {status_of(wanted).value}
            if set(wanted) == {"$eq"}:
                return {status_of(wanted["$eq"]).value}
    return None


def sorter(sort: str | Sequence[str], fields: Collection[str]) -> list[tuple[list[str], bool]]:
    """Return the paths to sort by, as (path, descending). Raises `InvalidQuery`."""
    keys = []
    for name in [sort] if isinstance(sort, str) else sort:
        path = name.removeprefix("-")
        if path.partition(".")[0] not in fields:
            raise InvalidQuery(
                f"cannot sort by {path!r:.80}; there are: {', '.join(sorted(fields))}"
            )
        keys.append((path.split("."), name.startswith("-")))
    return keys


def sorted_by(
    found: list[tuple[StoredRow, R]], keys: list[tuple[list[str], bool]]
) -> list[tuple[StoredRow, R]]:
    """Return (record, companion) pairs, sorted by some paths.

    Records without a value come last, ascending or descending.
    """
    for steps, downwards in reversed(keys):
        known = [pair for pair in found if _seen(pair[0], steps) is not None]
        others = [pair for pair in found if _seen(pair[0], steps) is None]
        known.sort(key=lambda pair: _sort_key(_seen(pair[0], steps)), reverse=downwards)
        found = known + others
    return found


def _sort_key(value: StoredValue) -> tuple[int, Any]:
    if isinstance(value, dict) and set(value) == {"name", "value"}:
        value = value["value"]
    if isinstance(value, (bool, int, float)):
        return 0, value
    return (1, value) if isinstance(value, str) else (2, repr(value))


def _pairs(query: Query) -> list[tuple[str, Any]]:
    if query is None:
        return []
    if isinstance(query, Mapping):
        return list(query.items())
    if isinstance(query, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in query
    ):
        return [(path, wanted) for path, wanted in query]
    raise InvalidQuery(f"a query is a dict, or a list of (path, value), not {query!r:.80}")


def _listed(name: str, parts: object) -> list[Any]:
    if not isinstance(parts, (list, tuple)):
        raise InvalidQuery(f"{name} takes a list of queries, not {parts!r:.80}")
    return list(parts)


def _joined(name: str, parts: list[list[Condition]]) -> Condition:
    join = all if name == "$and" else any
    return lambda record: join(all(one(record) for one in part) for part in parts)


def _negated(conditions: list[Condition]) -> Condition:
    return lambda record: not all(condition(record) for condition in conditions)


def _at(record: Mapping[str, StoredValue], steps: list[str]) -> Any:
    """Return the value at a path, or `_ABSENT`. A key may itself contain dots."""
    value: StoredValue = record
    for place, step in enumerate(steps):
        if not isinstance(value, Mapping):
            return _ABSENT
        rest = ".".join(steps[place:])
        if place and rest in value:
            return value[rest]
        if step not in value:
            return _ABSENT
        value = value[step]
    return value


def _seen(record: Mapping[str, StoredValue], steps: list[str]) -> Any:
    value = _at(record, steps)
    return None if value is _ABSENT else value


def _comparable(path: str, operand: object) -> Any:
    if path == "status":
        try:
            return status_of(operand).to_json()
        except UnknownStatus as error:
            raise InvalidQuery(str(error)) from error
    if path == "status.value" and isinstance(operand, Status):
        return operand.value
    return list(operand) if isinstance(operand, tuple) else operand


def _same(one: object, other: object) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _ordered(order: Callable[[Any, Any], bool], one: object, other: object) -> bool:
    if isinstance(one, bool) or isinstance(one, str) != isinstance(other, str):
        return False
    return isinstance(one, (int, float, str)) and order(one, other)
