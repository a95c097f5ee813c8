"""Flattens the data of a trainer into one dict of plain numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from traininglog.errors import ConfigurationError
from traininglog.flattening import SEPARATOR, clash
from traininglog.scalars import as_number, hides, is_masked

#: The keys of batches that a trainer passes on: they are no measurements.
BLACKLIST = ("_inputs$", "_outputs$", "_targets$")

#: A regular expression, or several, to search for in a key and in the path to it from the top.
Blacklist = str | re.Pattern[str] | Iterable[str | re.Pattern[str]]

_MANY = 4096  # names to remember; with more, the program makes up new names at every step


class Flattener:
    """Makes one flat dict out of nested ones: ``{"a": {"b": 1}}`` becomes ``{"a/b": 1}``.

    Tensors and arrays become numbers (see `scalar`); keys that are not texts become their `str`.
    Keys that the blacklist matches, at any depth, are left out without a look at their values.

    Raises `ConfigurationError` for a pattern that is no regular expression.

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
        # The flat name of each key, by the path of its dict; None: the key is left out.
        self._names: dict[str, dict[object, str | None]] = {"": {}}
        self._known: dict[str, str] = {}  # the keys at the top, which are their own flat names

    def __call__(self, data: Mapping[Any, Any], **first: Any) -> dict[str, Any]:
        """Return the flat dict, with `first` at its beginning; `data` overrides `first`.

        Raises `TypeError` if `data` is not a mapping, and `InvalidKey` if two values have the same
        flat name.
        """
        # The hot path: the data is nearly always the same few floats, flat.
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
        """Add the values of a mapping and of the mappings in it to `flat`; return their number."""
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
        """Return the flat name of a key, None if it is left out, and remember it."""
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

    An array of one element becomes that element, a larger one the mean of its elements, an empty
    one NaN. An array without real numbers, or with masked numbers, is returned as it is.
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
        return value  # the log refuses it, with a remedy
    try:
        if math.prod(shape) == 1 and hasattr(kind, "item") and not is_masked(value):
            number = value.item()
            if isinstance(number, int):  # an int stays an int
                return number
        return as_number(value)
    except Exception:  # noqa: BLE001 - any library may raise anything; the log decides
        return value


def pick(data: Mapping[Any, Any], key: str) -> Any:
    """Return the value of a key, or of a path ``"a/b"`` through nested dicts; None if absent.

    Tensors and arrays become numbers.
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
