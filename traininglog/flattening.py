"""`flatten`: nested dicts as a row of a log, with a key per number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from traininglog.errors import InvalidKey, ValueTypeError

#: The default text between the names that lead to a value.
SEPARATOR = "/"


def flatten(mapping: Mapping[Any, object], separator: str = SEPARATOR) -> dict[str, Any]:
    """Return nested dicts as one flat dict: ``{"train": {"loss": 1}}`` as ``{"train/loss": 1}``.

    A log keeps a dict that is assigned to a key as one value. To plot its numbers, compare them or
    find the best of them, flatten it first, so that they get keys of their own::

        log[step].update(flatten({"train": {"loss": 0.5}, "lr": 0.1}))

    Only mappings are flattened; lists and all else stay as they are. Keys that are not texts become
    their `str`. An empty mapping adds no key.

    Args:
        mapping: The dicts.
        separator: The text between the names.

    Raises:
        InvalidKey: Two values would get the same name.
        TypeError: `mapping` is not a mapping, or `separator` not a text.
        ValueTypeError: A dict contains itself.

    >>> flatten({"train": {"loss": 0.5, "norm": {0: 2.0}}, "lr": 0.1})
    {'train/loss': 0.5, 'train/norm/0': 2.0, 'lr': 0.1}
    >>> flatten({"train": {"loss": 0.5}}, separator=".")
    {'train.loss': 0.5}
    """
    if not isinstance(mapping, Mapping):
        raise TypeError(f"flatten takes a mapping, not a {type(mapping).__name__}")
    if not isinstance(separator, str):
        raise TypeError(f"a separator is a text, not a {type(separator).__name__}")
    flat: dict[str, object] = {}
    # Not by recursion: configurations may be nested deeper than Python's recursion limit.
    waiting = [(iter(mapping.items()), "", id(mapping))]
    within = {id(mapping)}
    while waiting:
        items, prefix, here = waiting[-1]
        for key, value in items:
            own = key if isinstance(key, str) else str(key)
            name = f"{prefix}{own}"
            if isinstance(value, Mapping):
                if id(value) in within:
                    raise ValueTypeError(f"the dict at {name!r} contains itself: store it flat")
                within.add(id(value))
                waiting.append((iter(value.items()), f"{name}{separator}", id(value)))
                break
            if name in flat:
                raise clash(name)
            flat[name] = value
        else:
            waiting.pop()
            within.remove(here)
    return flat


def clash(name: str) -> InvalidKey:
    """Return the error to raise if two values would get the same name."""
    return InvalidKey(f"two values would stand under {name!r}: rename one of them")


def advice(key: str, value: object) -> str:
    """Return advice to add to an error about a value under a key: empty unless it is a dict."""
    if not isinstance(value, Mapping):
        return ""
    inner = next(iter(value), "loss")
    return (
        f". A dict is one value: traininglog.flatten(...) makes keys of their own of what is in "
        f"it, like {f'{key}{SEPARATOR}{inner}'!r:.100}"
    )
