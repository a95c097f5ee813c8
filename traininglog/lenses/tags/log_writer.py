"""Writing lenses' numbers to a log, and replaying them to any visualizer.

Each tick is one row, with keys ``tag/layer/statistic``. The status has the attributes of the tags.
So the log alone is enough for drawing, whatever program wrote it, and the drawing of a resumed run
includes its inherited numbers.
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

#: The errors that a log raises for a single value or key. All others concern the whole log.
REFUSALS = (InvalidKey, ValueRangeError, ValueTooLarge, ValueTypeError)


class LogWriter(AbstractVisualizer):
    """A visualizer that writes the numbers to a log.

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
        """Record a tag for the status. Layers from earlier parts of the run stay."""
        new = attributes.to_dict()
        before = self._tags.get(tag)
        if before is not None:
            new["layers"] = list(dict.fromkeys([*new["layers"], *before["layers"]]))
        self._tags[tag] = {k: v.copy() if hasattr(v, "copy") else v for k, v in new.items()}

    def plot(self, time: int, tag: str, numbers: Numbers) -> None:
        """Collect numbers for the row."""
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
        """Write the status, if it has changed, and the row.

        If the log refuses a number, the row is written without it: see `refused`.
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
        """Write the attributes of the tags to the status, if they have changed."""
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
        """Return the keys that the log has refused since the last call, with the errors."""
        refused, self._refused = self._refused, []
        return refused


def tags_of(log: TrainingLogBase) -> dict[str, TagAttributes]:
    """Return the tags that lenses wrote to a log, with their attributes."""
    return {
        tag: TagAttributes.from_dict(attributes)
        for tag, attributes in attributes_of(log.status).items()
    }


def last_time(log: TrainingLogBase, tags: Iterable[str] | None = None) -> int:
    """Return the last time with numbers of lenses in a log (with its lineage), or -1.

    With `tags`, return the last time with a number of one of these tags.
    """
    tags = set(tags_of(log) if tags is None else tags)
    keys = [key for key in log.keys_seen() if (found := parts_of(key)) and found[0] in tags]
    # A tick writes one row, so one key of each layer is enough.
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
    """Replay the numbers of lenses in a log to a visualizer, as if it had been live.

    The replay of a resumed run includes its lineage.

    Args:
        log: Any `TrainingLogBase`.
        visualizer: The visualizer.
        tags: The tags to show, by default all.
        start: The first time to show.
        stop: The time to stop before.

    Raises:
        InvalidState: No lens wrote to this log.
        KeyError: The log does not have one of the tags.

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
