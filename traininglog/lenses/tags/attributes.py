"""What is drawn of a tag, and where its numbers stand in a log.

A tag is one chart: numbers of one kind, for several layers. A number of it is in the log under
``tag/layer/statistic``; what the chart looks like is in the log's status, under `STATUS_KEY`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from traininglog.lenses.numbers.statistics import POINTS

#: Where the status of a log keeps the attributes of all tags.
STATUS_KEY = "lenses"

Kind = Literal["numeric", "probability", "relation", "distribution"]

#: What a lens tells of a tag at a tick: layer -> statistic -> number.
Numbers = Mapping[str, Mapping[str, float]]


@dataclass
class TagAttributes:
    """How a tag is drawn.

    Args:
        kind: ``"numeric"``: lines and ranges. ``"probability"``: the same, from 0 to 1.
            ``"relation"``: the layers' shares of a whole, stacked. ``"distribution"``: quantiles,
            drawn as a heat map over time.
        line: The statistic that is the line; of what has but one number a tick, its unit.
        ranges: The ranges around it, as in `statistics.RANGES`.
        log_scale: Whether the axis is logarithmic.
        limits: The lower and the upper end of the axis, each None for as far as the numbers go.
        big: Whether the chart stands on top, at double height, all its layers on one axis.
        layers: The layers, in the order in which the module has them.
        aliases: Other names under which the module has a layer.
        lines: All statistics that are lines, where they are several; `line` is the first of them.

    Raises:
        ValueError: There is no such kind, or the limits are not a pair.

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
        """The unit of the numbers; empty where they have none."""
        drawn_by_itself = self.kind in ("relation", "distribution")
        return "" if drawn_by_itself or self.line in POINTS else self.line

    def to_dict(self) -> dict[str, Any]:
        """Return what a status can hold."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return values | {"limits": None if self.limits is None else list(self.limits)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TagAttributes:
        """Return the attributes in a status; what a newer version may have added is passed over."""
        known = {item.name: values[item.name] for item in fields(cls) if item.name in values}
        for name in ("ranges", "layers", "lines"):
            known[name] = list(known.get(name, ()))
        known["aliases"] = {key: list(names) for key, names in known.get("aliases", {}).items()}
        if known.get("limits") is not None:
            known["limits"] = tuple(known["limits"])
        return cls(**known)


def check_tag(tag: str) -> str:
    """Return a tag. Raises `ValueError` if it cannot be the first part of a key."""
    if not tag or "/" in tag:
        raise ValueError(f"a tag is a text without '/', which {tag!r} is not")
    return tag


def key_of(tag: str, layer: str, statistic: str) -> str:
    """Return the key under which a log has a number."""
    return f"{tag}/{layer}/{statistic}"


def printable(text: str) -> str:
    """Return a text that no terminal and no picture can take for a command."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def parts_of(key: str) -> tuple[str, str, str] | None:
    """Return tag, layer and statistic of a key; None if it has no three parts.

    >>> parts_of("output norm/net/0/mean")
    ('output norm', 'net/0', 'mean')
    """
    tag, _, rest = key.partition("/")
    layer, _, statistic = rest.rpartition("/")
    return (tag, layer, statistic) if tag and layer and statistic else None
