"""Lenses' numbers into a log, and out of it again to any visualizer.

Each tick is one row, under keys ``tag/layer/statistic``; how tags are drawn stands in the status.
So the log alone is enough to draw, whatever wrote it, and what a resumed run inherits is drawn with
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from traininglog.base import TrainingLogBase
from traininglog.errors import (
    InvalidKey,
    InvalidState,
    ValueRangeError,
    ValueTooLarge,
    ValueTypeError,
)
from traininglog.lenses.lens import AbstractVisualizer
from traininglog.lenses.tags.attributes import Numbers, TagAttributes, key_of, parts_of
from traininglog.lenses.tags.stored_tags import attributes_of, stored_tags

#: What a log raises for one value or key; all else is about the log.
REFUSALS = (InvalidKey, ValueRangeError, ValueTooLarge, ValueTypeError)


class LogWriter(AbstractVisualizer):
    """Writes to a log what visualizers are told.

    Args:
        log: Any `TrainingLogBase`.

    """

    def __init__(self, log: TrainingLogBase) -> None:
        self.log = log
        self._tags = {tag: seen.to_dict() for tag, seen in tags_of(log).items()}
        self._written = dict(self._tags)
        self._row: dict[str, float] = {}
        self._keys: dict[tuple[str, str, str], str] = {}
        self._refused: list[tuple[str, Exception]] = []

    def register_tag(self, tag: str, attributes: TagAttributes) -> None:
        """Note a tag for the status. Layers that an earlier part of the run had stay."""
        new = attributes.to_dict()
        before = self._tags.get(tag)
        if before is not None:
            new["layers"] = list(dict.fromkeys([*new["layers"], *before["layers"]]))
        self._tags[tag] = {k: v.copy() if hasattr(v, "copy") else v for k, v in new.items()}

    def plot(self, time: int, tag: str, numbers: Numbers) -> None:
        """Note numbers for the row."""
        _ = time
        keys = self._keys
        for layer, points in numbers.items():
            for name, value in points.items():
                place = (tag, layer, name)
                key = keys.get(place)
                if key is None:
                    key = keys[place] = key_of(tag, layer, name)
                self._row[key] = value

    def end_tick(self, time: int) -> None:
        """Write the status, if there is news, and the row.

        A number that the log refuses is left out of the row: see `refused`.
        """
        self.write_tags()
        row, self._row = self._row, {}
        if not row:
            return
        try:
            self.log[time].update(row)
        except REFUSALS:
            for key, value in row.items():
                self._try(key, self.log[time].__setitem__, key, value)

    def write_tags(self) -> None:
        """Write the attributes of the tags to the status, if there is news."""
        if self._tags != self._written:
            for key, value in stored_tags(self._tags).items():
                self._try(key, self.log.status.__setitem__, key, value)
            self._written = dict(self._tags)

    def _try(self, what: str, write: Callable[[str, Any], None], key: str, value: Any) -> None:
        try:
            write(key, value)
        except REFUSALS as error:
            self._refused.append((what, error))

    def refused(self) -> list[tuple[str, Exception]]:
        """Return what the log has refused since the last call: the keys, and why."""
        refused, self._refused = self._refused, []
        return refused


def tags_of(log: TrainingLogBase) -> dict[str, TagAttributes]:
    """Return the tags that lenses have written to a log, with their attributes."""
    return {
        tag: TagAttributes.from_dict(attributes)
        for tag, attributes in attributes_of(log.status).items()
    }


def last_time(log: TrainingLogBase, tags: Iterable[str] | None = None) -> int:
    """Return the last time at which lenses wrote to a log, as it is seen here; -1 if never.

    With `tags`, the last at which one of these got a number.
    """
    tags = set(tags_of(log) if tags is None else tags)
    keys = [key for key in log.keys_seen() if (found := parts_of(key)) and found[0] in tags]
    # All that is written at a tick is in one row: a key of each layer tells of all.
    chosen = {(found[0], found[1]): key for key in keys if (found := parts_of(key))}
    return max((log.last(key).time for key in chosen.values()), default=-1)


def replay(
    log: TrainingLogBase,
    visualizer: AbstractVisualizer,
    *,
    tags: Iterable[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
) -> None:
    """Show a visualizer what lenses wrote to a log, as if it had been there.

    Through lineage a resumed run is shown whole.

    Args:
        log: Any `TrainingLogBase`.
        visualizer: What is to show it.
        tags: The tags to show, by default all.
        start: The first time to show.
        stop: The time to stop before.

    Raises:
        InvalidState: No lens wrote to this log.
        KeyError: A tag that the log does not have.

    """
    known = tags_of(log)
    if not known:
        raise InvalidState(
            "no lens wrote to this log: give it to an inspector, TorchInspector(lenses, log=log)"
        )
    chosen = list(known) if tags is None else ([tags] if isinstance(tags, str) else list(tags))
    for tag in chosen:
        if tag not in known:
            raise KeyError(f"this log has no tag {tag!r}; it has: {', '.join(map(repr, known))}")
        visualizer.register_tag(tag, known[tag])
    places = {tag: number for number, tag in enumerate(chosen)}
    keys = {
        key: found
        for key in log.keys_seen()
        if (found := parts_of(key)) is not None and found[0] in places
    }
    ticks: dict[int, dict[str, dict[str, dict[str, Any]]]] = {}
    if keys:
        frame = log.to_dataframe(list(keys), start=start, stop=stop, layout="long")
        for time, key, value in zip(frame["time"], frame["key"], frame["value"], strict=True):
            tag, layer, name = keys[key]
            layers = ticks.setdefault(int(time), {}).setdefault(tag, {})
            layers.setdefault(layer, {})[name] = value
    for time in sorted(ticks):
        for tag in sorted(ticks[time], key=places.__getitem__):
            layers = ticks[time][tag]
            order = [layer for layer in known[tag].layers if layer in layers]
            order += [layer for layer in layers if layer not in known[tag].layers]
            visualizer.plot(time, tag, {layer: layers[layer] for layer in order})
        visualizer.end_tick(time)
