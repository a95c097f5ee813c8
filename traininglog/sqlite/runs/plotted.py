"""What a picture of many runs shows, as a store has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args
from uuid import UUID

from traininglog.plots.gathering import AXES, Gathered, Source, check_smooth, gather
from traininglog.query import MISSING, value_of
from traininglog.query.evaluation import check_name
from traininglog.query.expression import Named
from traininglog.query.groups import Of, grouped
from traininglog.query.names import fact_of
from traininglog.query.parser import parse_name
from traininglog.run_info import RunInfo, description, resumes_of
from traininglog.selection import is_glob, names

if TYPE_CHECKING:
    from traininglog.clock import Clock
    from traininglog.plots.comparisons import Member
    from traininglog.plots.look import Appearance, Picture
    from traininglog.plots.means import Band
    from traininglog.sqlite.store import Store

#: What a picture of many runs can be.
Kind = Literal["curves", "scatter", "parallel", "bar"]


def labels_of(infos: Sequence[RunInfo]) -> dict[UUID, str]:
    """Return what to call runs: their names, with digits of the UUID where that is not one run."""
    often = Counter(info.name for info in infos)
    digits = 8
    while digits < 32 and len({info.uuid.hex[:digits] for info in infos}) < len(infos):
        digits += 1
    return {
        info.uuid: info.uuid.hex[:digits] if not info.name
        else info.name if often[info.name] == 1 and len(infos) > 1
        else f"{info.name} ({info.uuid.hex[:digits]})"
        for info in infos
    }  # fmt: skip


def groups_of(
    infos: Sequence[RunInfo], group_by: str | Iterable[str] | None
) -> tuple[dict[UUID, str], list[RunInfo], str | None]:
    """Return the name of each run's group, the runs in the order of groups, and what they are of.

    Raises:
        BadQuery: No run has the fact.

    """
    from traininglog.plots.comparisons import text_of

    by = [parse_name(name) for name in names(group_by) or ()]
    if not by:
        return {}, list(infos), None
    found: dict[UUID, str] = {}
    ordered: list[RunInfo] = []
    for group in grouped(infos, by, []):
        text = ", ".join(map(text_of, group.by.values()))
        found |= {info.uuid: text for info in group.runs}
        ordered += group.runs
    return found, ordered, ", ".join(map(str, by))


def curves_of(
    store: Store,
    infos: Sequence[RunInfo],
    keys: str | Iterable[str] | None,
    *,
    x: str = "time",
    groups: Mapping[UUID, str] | None = None,
    labels: Mapping[UUID, str] | None = None,
    whole: bool = True,
) -> Gathered:
    """Return the curves of runs; see `gather`.

    Args:
        store: Where the runs are.
        infos: The runs.
        keys: Names or globs of keys; by default each that has numbers.
        x: What to draw over.
        groups: The group of each run.
        labels: What to call the runs.
        whole: Show each run with what it sees of its ancestors.

    """
    labels = labels_of(infos) if labels is None else labels
    asked = names(keys)
    known = store.keys_seen()
    wanted = None
    if asked is not None:
        wanted = [key for key in [*asked, x] if key in known or is_glob(key)]
        if x not in known and x in AXES and x != "time":
            wanted = None  # the times of all rows may be needed
    columns = {}
    if infos and (wanted is None or wanted):
        uuids = [info.uuid for info in infos]
        columns = store.columns(uuids, wanted, lineage=whole, heads=False)
    resumes = _resumes(store, infos) if whole else {}

    def clock_of(info: RunInfo) -> Callable[[], Clock]:
        def clock() -> Clock:
            with store.log(info.uuid, readonly=True) as log:
                return log.clock(lineage=whole)

        return clock

    sources = [
        Source(
            labels[info.uuid], {c.key: c for c in columns.get(info.uuid.hex, ())},
            resumes.get(info.uuid, ()), clock_of(info),
            None if groups is None else groups.get(info.uuid),
        )
        for info in infos
    ]  # fmt: skip
    return gather(sources, asked, known, x)


def _resumes(store: Store, infos: Sequence[RunInfo]) -> dict[UUID, list[int]]:
    """Return the times at which runs, and their ancestors, were resumed."""
    if all(info.resumed_from is None for info in infos):
        return {}
    every = {i.uuid: i for i in store.iter_runs(heads=False, archived=True)}
    return {info.uuid: resumes_of(info, every) for info in infos}


def members(
    infos: Sequence[RunInfo],
    keys: Sequence[str],
    facts: Sequence[str],
    of: Of,
    groups: Mapping[UUID, str],
) -> list[Member]:
    """Return runs for a comparison, with the numbers of some keys and with some facts.

    Raises:
        BadQuery: No run has one of the facts.

    """
    from traininglog.plots.comparisons import Member

    for fact in facts:
        if infos:
            check_name(parse_name(fact), infos, fact)
    labels = labels_of(infos)
    found = []
    for info in infos:
        there: dict[str, Any] = {}
        for fact in facts:
            value = value_of(info, fact)
            if value is not MISSING and value is not None:
                there[fact] = value
        for key in keys:
            number = fact_of(info, Named(of, key))
            if isinstance(number, (int, float)):
                there[key] = number
        found.append(Member(labels[info.uuid], there, groups.get(info.uuid)))
    return found


def differing(infos: Sequence[RunInfo], most: int) -> list[str]:
    """Return the values of the configuration in which runs differ, as names of facts."""
    flat = [description(info, "config") for info in infos]
    there = dict.fromkeys(name for each in flat for name in each)
    return [
        f"config.{name}"
        for name in there
        if len({repr(each[name]) for each in flat if name in each}) > 1
    ][:most]


def plot(
    store: Store,
    infos: Sequence[RunInfo],
    keys: str | Iterable[str] | None,
    *,
    kind: Kind,
    x: str,
    group_by: str | Iterable[str] | None,
    band: Band | None,
    smooth: float | None,
    panels: bool,
    of: Of,
    whole: bool,
    look: Appearance,
) -> Picture:
    """Draw some runs; see `Store.plot`."""
    from traininglog.plots import charts, comparisons
    from traininglog.plots.means import check_band

    check_band(band)
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, not {kind!r}")
    check_smooth(smooth)
    look.check()
    if not infos:
        raise ValueError("nothing to plot: no run is chosen")
    groups, infos, grouped_by = groups_of(infos, group_by)
    if kind == "curves":
        found = curves_of(store, infos, keys, x=x, groups=groups, whole=whole)
        return charts.draw(
            found.curves, over=found.over, on_dates=found.on_dates, panels=panels or not keys,
            smooth=smooth, band=band, grouped_by=grouped_by, left_out=found.left_out, look=look,
        )  # fmt: skip
    if smooth is not None:
        raise ValueError(f"only curves are smoothed: kind is {kind!r}")
    if keys is None:
        raise ValueError(f"a picture of the kind {kind!r} needs the keys to show")
    shown = store.keys_seen(keys)
    left_out: Counter[str] = Counter()
    if kind == "scatter":
        if x in AXES:
            raise ValueError("a scatter is over a fact of the runs: say x, such as config.lr")
        chosen = members(infos, shown, [x], of, groups)
        return comparisons.scatter(
            chosen, x, shown, grouped_by=grouped_by, left_out=left_out, look=look
        )
    if kind == "bar":
        if grouped_by is None:
            raise ValueError("bars are of groups: say group_by, such as config.lr")
        chosen = members(infos, shown, [], of, groups)
        return comparisons.bars(
            chosen, shown, grouped_by=grouped_by, band=band, left_out=left_out, look=look
        )
    facts = differing(infos, comparisons.MOST_AXES - len(shown)) if x in AXES else x.split(",")
    chosen = members(infos, shown, facts, of, groups)
    return comparisons.parallel(chosen, [*facts, *shown], left_out=left_out, look=look)
