"""The attributes of tags in the status of a log: plain if they are small, compressed if not.

A network of thousands of layers has every layer in dozens of tags. Its names alone take a megabyte,
which is the limit of a log for one value. So beyond `PLAIN` bytes, the status has each name once,
in several parts. A tag refers to its names by ranges: ``[start, count, start, count, ...]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from traininglog.lenses.tags.attributes import STATUS_KEY

#: Up to this many bytes, the attributes of all tags are stored in the plain form.
PLAIN = 2**17

#: The maximal number of bytes of names in one part.
PART = 2**16

#: The key of a tag's layers in the compressed form.
PLACES = "places"

Stored = Mapping[str, Mapping[str, Any]]


def stored_tags(tags: Stored) -> dict[str, Any]:
    """Return the entries of the status (key -> value) that store the attributes of tags.

    >>> stored_tags({"loss": {"layers": ["train"]}})
    {'lenses': {'loss': {'layers': ['train']}}}
    """
    if len(json.dumps(tags, ensure_ascii=False).encode(errors="replace")) <= PLAIN:
        return {STATUS_KEY: dict(tags)}
    names = list(dict.fromkeys(name for of in tags.values() for name in of["layers"]))
    place = {name: number for number, name in enumerate(names)}
    aliases: dict[str, Any] = {}
    short: dict[str, Any] = {}
    lists: dict[tuple[int, ...], int] = {}
    for tag, attributes in tags.items():
        runs = tuple(_runs([place[name] for name in attributes["layers"]]))
        number = lists.setdefault(runs, len(lists))
        aliases |= attributes.get("aliases", {})
        short[tag] = {**attributes, "layers": [], "aliases": {}, PLACES: number}
    return {
        **{f"{STATUS_KEY}_layers_{number}": part for number, part in enumerate(_parts(names))},
        **{f"{STATUS_KEY}_places_{number}": list(runs) for runs, number in lists.items()},
        **{
            f"{STATUS_KEY}_aliases_{number}": {name: aliases[name] for name in part}
            for number, part in enumerate(_parts(list(aliases), aliases))
        },
        STATUS_KEY: short,
    }


def attributes_of(status: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the attributes of tags in a status, from either form."""
    stored = status.get(STATUS_KEY, {})
    if not any(PLACES in attributes for attributes in stored.values()):
        return {tag: dict(attributes) for tag, attributes in stored.items()}
    names = [name for part in _all(status, "layers") for name in part]
    aliases = {name: others for part in _all(status, "aliases") for name, others in part.items()}
    # Parts are written one by one, so a reader may see parts of two different writes. Then only the
    # order of layers is wrong.
    lists = [
        [name for start, count in _pairs(runs) for name in names[start : start + count]]
        for runs in _all(status, "places")
    ]
    found: dict[str, dict[str, Any]] = {}
    for tag, attributes in stored.items():
        layers = attributes["layers"]
        if PLACES in attributes:
            layers = dict(enumerate(lists)).get(attributes[PLACES], [])
        found[tag] = {
            **{name: value for name, value in attributes.items() if name != PLACES},
            "layers": list(layers),
            "aliases": {layer: aliases[layer] for layer in layers if layer in aliases},
        }
    return found


def _runs(places: Sequence[int]) -> Iterable[int]:
    start, count = -1, 0
    for place in places:
        if place == start + count and count:
            count += 1
            continue
        if count:
            yield from (start, count)
        start, count = place, 1
    if count:
        yield from (start, count)


def _pairs(runs: Sequence[int]) -> Iterable[tuple[int, int]]:
    return zip(runs[::2], runs[1::2], strict=True)


def _parts(names: Sequence[str], beside: Mapping[str, Any] | None = None) -> list[list[str]]:
    """Split names into parts of at most `PART` bytes, counting each name's entry in `beside`."""
    parts: list[list[str]] = []
    room = 0
    for name in names:
        needed = len(json.dumps([name, beside[name] if beside else ""]).encode())
        if not parts or needed > room:
            parts.append([])
            room = PART
        parts[-1].append(name)
        room -= needed
    return parts


def _all(status: Mapping[str, Any], what: str) -> Iterable[Any]:
    number = 0
    while (key := f"{STATUS_KEY}_{what}_{number}") in status:
        yield status[key]
        number += 1
