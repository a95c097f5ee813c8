"""What a trainer hands over, as a flat dict of plain numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from traininglog.errors import ConfigurationError
from traininglog.flattening import SEPARATOR, clash
from traininglog.scalars import as_number, hides, is_masked

#: What a step's data is made of is no measure of it: batches that a trainer passes on.
BLACKLIST = ("_inputs$", "_outputs$", "_targets$")

#: A pattern, or several: regular expressions, searched for in a key and in the path that leads to
#: it from the top.
Blacklist = str | re.Pattern[str] | Iterable[str | re.Pattern[str]]

_MANY = 4096  # names to remember; more means that they are made up anew every step


class Flattener:
    """Makes one flat dict out of nested ones: ``{"a": {"b": 1}}`` becomes ``{"a/b": 1}``.

    Tensors and arrays become numbers (see `scalar`), keys that are not texts their `str`. What the
    blacklist matches, at any depth, is left out, and not even looked at.

    Raises `ConfigurationError` for a pattern that is none.

    >>> flatten = Flattener("^secret$")
    >>> flatten({"loss": 0.5, "layer": {0: {"norm": 2, "secret": 1}}})
    {'loss': 0.5, 'layer/0/norm': 2}
    """

    def __init__(self, blacklist: Blacklist = BLACKLIST) -> None:
        given = [blacklist] if isinstance(blacklist, (str, re.Pattern)) else list(blacklist)
        try:
            self._patterns = [re.compile(pattern) for pattern in given]
        except (re.error, TypeError) as error:
            raise ConfigurationError(
                f"the blacklist has a pattern that is no regular expression: {error}"
            ) from error
        # What each key is called, by the path of the dict that holds it; None: it is left out.
        self._names: dict[str, dict[object, str | None]] = {"": {}}
        self._known: dict[str, str] = {}  # the keys at the top that are called what they are

    def __call__(self, data: Mapping[Any, Any], **first: Any) -> dict[str, Any]:
        """Return the flat dict, with `first` at its beginning; `data` may say otherwise.

        Raises `TypeError` for what is not a mapping, and `InvalidKey` where two values would come
        to stand under one name.
        """
        # Nearly always the same few floats, flat. Here a training loop spends its time.
        flat = dict(first)
        known = self._known
        try:
            for key, value in data.items():
                if type(value) is not float:
                    break
                flat[known[key]] = value
            else:
                return flat
        except KeyError:
            pass
        except AttributeError:
            raise TypeError(
                f"data is a mapping from names to values, not a {type(data).__name__}"
            ) from None
        flat = {}
        if self._put_all(flat, "", data) != len(flat):
            self._refuse_clash(data)
        return first | flat

    def _put_all(self, flat: dict[str, Any], prefix: str, data: Mapping[Any, Any]) -> int:
        """Put in the values of a mapping and of those in it; return how many."""
        names = self._names.get(prefix)
        if names is None:
            if len(self._names) > _MANY:
                self._names.clear()
            names = self._names[prefix] = {}
        count = 0
        for key, value in data.items():
            try:
                name = names[key]
            except KeyError:
                name = self._name(prefix, names, key)
            if name is None:
                continue
            kind = type(value)
            if kind is float or kind is int:
                flat[name] = value
            elif kind is dict or isinstance(value, Mapping):
                count += self._put_all(flat, name, value)
                continue
            else:
                flat[name] = scalar(value)
            count += 1
        return count

    def _name(self, prefix: str, names: dict[object, str | None], key: object) -> str | None:
        """Return what a key is called, None if it is left out, and remember it."""
        own = key if isinstance(key, str) else str(key)
        path = f"{prefix}{SEPARATOR}{own}" if prefix else own
        if len(names) > _MANY:
            names.clear()
            self._known.clear()
        unwanted = any(pattern.search(own) or pattern.search(path) for pattern in self._patterns)
        names[key] = None if unwanted else path
        if not unwanted and not prefix and type(key) is str:
            self._known[key] = key
        return names[key]

    def _refuse_clash(self, data: Mapping[object, object]) -> None:
        seen: set[str] = set()
        waiting = [("", data)]
        while waiting:
            prefix, part = waiting.pop()
            for key, value in part.items():
                name = self._name(prefix, {}, key)
                if name is None:
                    continue
                if isinstance(value, Mapping):
                    waiting.append((name, value))
                elif name in seen:
                    raise clash(name)
                else:
                    seen.add(name)


def scalar(value: Any) -> Any:
    """Return a tensor or an array, of any library, as a number; anything else as it is.

    One of a single element is that element, a larger one the mean of its elements (an empty one is
    NaN). What holds no real numbers, or has numbers that a mask hides, stays what it is.
    """
    kind = type(value)
    if kind is int or kind is bool or kind is str or value is None:
        return value
    if isinstance(value, float):  # numpy.float64 is one
        return float(value)
    shape = getattr(value, "shape", None)
    if shape is None or isinstance(value, (int, str)):
        return value
    if getattr(getattr(value, "dtype", None), "kind", "") in ("M", "m", "U", "S"):
        return value  # item() is a count of some unit, a date, or a text
    if is_masked(value) and hides(value):
        return value  # which the log refuses, with a remedy
    try:
        if math.prod(shape) == 1 and hasattr(kind, "item") and not is_masked(value):
            number = value.item()
            if isinstance(number, int):  # it stays one
                return number
        return as_number(value)
    except Exception:  # noqa: BLE001 - whatever library it is of: the log says what it takes
        return value


def pick(data: Mapping[Any, Any], key: str) -> Any:
    """Return what stands under a key, or, as a path through nested dicts, under ``"a/b"``.

    None where nothing does. Tensors and arrays become numbers.
    """
    if key in data:
        return scalar(data[key])
    head, separator, rest = key.partition(SEPARATOR)
    while separator:
        inner = data.get(head)
        if isinstance(inner, Mapping):
            found = pick(inner, rest)
            if found is not None:
                return found
        more, separator, rest = rest.partition(SEPARATOR)
        head = f"{head}{SEPARATOR}{more}"
    return None


def number_in(value: object) -> float | None:
    """Return a value as a float if it is a number, else None. True is 1."""
    return float(value) if isinstance(value, (float, int)) else None
