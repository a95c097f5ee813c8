"""The attributes of tags, and the keys of their numbers in a log.

A tag is one chart: numbers of one kind, for several layers. The log has a number under
``tag/layer/statistic``. The log's status has the attributes of the chart, under `STATUS_KEY`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from traininglog.lenses.numbers.statistics import POINTS

#: The key of the attributes of all tags in the status of a log.
STATUS_KEY = "lenses"

Kind = Literal["numeric", "probability", "relation", "distribution"]

#: The numbers of a tag at a tick: layer -> statistic -> number.
Numbers = Mapping[str, Mapping[str, float]]


@dataclass
class TagAttributes:
    """How a tag is drawn.

    Args:
        kind: ``"numeric"``: lines and ranges. ``"probability"``: the same, from 0 to 1.
            ``"relation"``: the layers' shares of a whole, stacked. ``"distribution"``: quantiles,
            drawn as a heat map over time.
        line: The statistic to draw as a line. For a tag with only one number per tick: its unit.
        ranges: The ranges around the line, as in `statistics.RANGES`.
        log_scale: Whether the axis is logarithmic.
        limits: The lower and the upper end of the axis; None leaves an end to the numbers.
        big: Whether the chart is at the top, at double height, with all layers on one axis.
        layers: The layers, in the order of the module.
        aliases: Layer -> its other names in the module.
        lines: All statistics to draw as lines, if there are several; `line` is the first.

    Raises:
        ValueError: The kind is unknown, or the limits are not a pair.

    """

    kind: Kind = "numeric"
    line: str = "mean"
    ranges: list[str] = field(default_factory=list)
    log_scale: bool = False
    limits: tuple[float | None, float | None] | None = None
    big: bool = False
    layers: list[str] = field(default_factory=list)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = list(dict.fromkeys([self.line, *self.lines]))
        if self.kind not in get_args(Kind):
            raise ValueError(f"there is no kind {self.kind!r}; there are: {get_args(Kind)}")
        if self.limits is not None:
            if len(self.limits) != 2:
                raise ValueError("limits are a pair: (lower, upper)")
            low, high = self.limits
            if low is not None and high is not None and low > high:
                low, high = high, low
            self.limits = (low, high)
        elif self.kind == "probability":
            self.limits = (0.0, 1.0)

    @property
    def unit(self) -> str:
        """The unit of the numbers, or an empty text."""
        drawn_by_itself = self.kind in ("relation", "distribution")
        return "" if drawn_by_itself or self.line in POINTS else self.line

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as plain data for a status."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {"limits": None if self.limits is None else list(self.limits)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TagAttributes:
        """Return the attributes in a status. Unknown fields, of newer versions, are ignored."""
        known = {item.name: values[item.name] for item in fields(cls) if item.name in values}
        for name in ("ranges", "layers", "lines"):
            known[name] = list(known.get(name, ()))
        known["aliases"] = {key: list(names) for key, names in known.get("aliases", {}).items()}
        if known.get("limits") is not None:
            known["limits"] = tuple(known["limits"])
        return cls(**known)


def check_tag(tag: str) -> str:
    """Return the tag. Raises `ValueError` if it cannot be the first part of a key."""
    if not tag or "/" in tag:
        raise ValueError(f"a tag is a text without '/', which {tag!r} is not")
    return tag


def key_of(tag: str, layer: str, statistic: str) -> str:
    """Return the key of a number in a log."""
    return f"{tag}/{layer}/{statistic}"


def printable(text: str) -> str:
    """Return a text without control characters, safe for terminals and pictures."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def parts_of(key: str) -> tuple[str, str, str] | None:
    """Return tag, layer and statistic of a key, or None if it lacks one of them.

    >>> parts_of("output norm/net/0/mean")
    ('output norm', 'net/0', 'mean')
    """
    tag, _, rest = key.partition("/")
    layer, _, statistic = rest.rpartition("/")
    return (tag, layer, statistic) if tag and layer and statistic else None
