"""What a run is called and was started with: its name, configuration, tags, notes and groups.

They are values of its status. So a child inherits them, and every store keeps them.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Set
from typing import Any, TypedDict

from traininglog.errors import TrainingLogError, ValueTypeError
from traininglog.values import MAX_VALUE_BYTES, StoredValue, plain

#: The longest name, in characters.
LONGEST_NAME = 1000

# What may be the beginning of the UUID of a run, by which runs are named, too.
_LIKE_A_UUID = re.compile(r"[0-9a-fA-F]{8,32}")


class About(TypedDict, total=False):
    """The options of a log that say what its run is.

    `name` is a text, and so are `notes`. `config` is what the run was started with: nested dicts, a
    dataclass, an `argparse.Namespace`, a pydantic or attrs model, an OmegaConf configuration.
    `tags` is a dict, or names, each of which is true. `groups` are names.
    """

    name: str | None
    config: object
    tags: Mapping[str, object] | Iterable[str] | str | None
    notes: str | None
    groups: Iterable[str] | str | None


def described(about: Mapping[str, Any], largest: int = MAX_VALUE_BYTES) -> dict[str, StoredValue]:
    """Return the options as they stand in the status of a run, without those that are None.

    >>> described({"name": "baseline", "tags": ["paper"], "config": {"optim": {"lr": 0.1}}})
    {'name': 'baseline', 'config': {'optim': {'lr': 0.1}}, 'tags': {'paper': True}}

    Args:
        about: The options, by their names.
        largest: The largest size of one value, in bytes.

    Raises:
        TypeError: There is no such option, or it is of another type.
        ValueError: A name that cannot be one.
        ValueTypeError: A value that cannot be stored; it names where in the config it is.

    """
    found: dict[str, StoredValue] = {}
    for option, form in _FORMS.items():
        given = about.get(option)
        if given is not None:
            found[option] = _stored(form(given), option, largest)
    unknown = [option for option in about if option not in _FORMS]
    if unknown:
        raise TypeError(f"there is no option {unknown[0]!r}; there are: {', '.join(_FORMS)}")
    return found


def check_name(name: object) -> str:
    """Return the name of a run. Raises `TypeError` or `ValueError` with the reason."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a run is a text, not a {type(name).__name__}")
    if not name.strip():
        raise ValueError("the name of a run is empty: leave it out, or give it a letter")
    if len(name) > LONGEST_NAME:
        raise ValueError(
            f"the name of a run has {len(name):,} characters, and may have {LONGEST_NAME:,}: "
            "put the rest into its notes"
        )
    if not name.isprintable():
        raise ValueError(
            f"the name {name!r:.200} has characters that cannot be printed: leave them out"
        )
    if _LIKE_A_UUID.fullmatch(name):
        raise ValueError(
            f"the name {name!r} looks like the UUID of a run, by which runs are found, too: "
            f"put another letter into it, such as run-{name}"
        )
    return name


def _text(notes: object) -> str:
    if not isinstance(notes, str):
        raise TypeError(f"notes are a text, not a {type(notes).__name__}")
    return notes


def _names(groups: object) -> list[str]:
    found = [groups] if isinstance(groups, str) else groups
    if isinstance(found, Mapping) or not isinstance(found, Iterable):
        raise TypeError(f"groups are names, not a {type(groups).__name__}")
    names = list(found)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"groups are names, and {name!r:.100} is a {type(name).__name__}")
    return names


def _tags(tags: object) -> dict[str, object]:
    if isinstance(tags, Mapping):
        return {str(tag): value for tag, value in tags.items()}
    return dict.fromkeys(_names(tags), True)


def _config(config: object) -> dict[str, object]:
    found = _nested(config, ())
    if not isinstance(found, dict):
        raise TypeError(
            f"config is a dict, a dataclass, a Namespace or a model, not a {type(config).__name__}"
        )
    return found


_FORMS = {"name": check_name, "config": _config, "tags": _tags, "notes": _text, "groups": _names}


def _nested(value: object, within: tuple[int, ...]) -> object:
    """Return a configuration as dicts and lists, whatever it is made of."""
    inner = _fields(value)
    items: Iterable[object] | None = None
    if isinstance(value, (list, tuple)):
        items = value
    elif isinstance(value, Set):
        items = sorted(value, key=repr)
    if inner is None and items is None:
        return value
    if id(value) in within:
        raise ValueTypeError("the config contains itself")
    within = (*within, id(value))
    if inner is not None:
        return {str(key): _nested(each, within) for key, each in inner.items()}
    return [_nested(each, within) for each in items or ()]


def _fields(value: object) -> Mapping[Any, object] | None:
    """Return the fields of a configuration by their names; None: it has none.

    Libraries are recognized by what they leave in an object. None of them is imported.
    """
    if isinstance(value, Mapping):
        omegaconf = sys.modules.get("omegaconf")
        if omegaconf is not None and omegaconf.OmegaConf.is_config(value):
            found: Mapping[Any, object] = omegaconf.OmegaConf.to_container(value, resolve=True)
            return found
        return value
    if isinstance(value, Namespace):
        return vars(value)
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    kind: Any = type(value)
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    if hasattr(kind, "model_fields") and callable(getattr(value, "model_dump", None)):
        return {name: getattr(value, name) for name in kind.model_fields}
    return None


def _stored(value: object, path: str, largest: int) -> StoredValue:
    """Return a value as it is stored. An error names the place in it."""
    try:
        return plain(value, largest)
    except TrainingLogError as refused:
        place, inner = _culprit(value, path, largest)
        precise = refused
        try:
            plain(inner, largest)
        except TrainingLogError as found:
            precise = found
        raise type(precise)(f"{place} cannot be stored: {precise}") from None


def _culprit(value: object, path: str, largest: int) -> tuple[str, object]:
    """Return the innermost value that cannot be stored, and its place."""
    pairs: Iterable[tuple[str, object]] = ()
    if isinstance(value, dict):
        pairs = ((f"{path}.{key}", each) for key, each in value.items())
    elif isinstance(value, list):
        pairs = ((f"{path}[{number}]", each) for number, each in enumerate(value))
    for place, each in pairs:
        try:
            plain(each, largest)
        except TrainingLogError:
            return _culprit(each, place, largest)
    return path, value
