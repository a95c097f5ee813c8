"""The tables of a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from traininglog.display.plain_text import counted, cut
from traininglog.markup.elements import Markup, element, joined, table
from traininglog.markup.texts import brief, moment
from traininglog.query.groups import GroupStatistics
from traininglog.query.names import MISSING, fact_of
from traininglog.query.parser import parse_name
from traininglog.reports.contents import ReportContents
from traininglog.reports.pictures import swatch
from traininglog.run_info import RunInfo

_MOST_COLUMNS = 12  # of configuration, and of metrics
_MOST_GROUPS = 60
_MOST_NAMES = 60  # of configuration
_MOST_VALUES = 8  # of one name
_MOST_LINES = 200  # of the lineage
_DEEPEST = 8


def names_of(infos: Sequence[RunInfo]) -> list[str]:
    """Return what each run is called: its name, with digits of its UUID where names are alike."""
    given = [cut(info.name or "", 40) for info in infos]
    return [
        name if name and given.count(name) == 1 else f"{name} {info.uuid.hex[:8]}".strip()
        for name, info in zip(given, infos, strict=True)
    ]


def colours_of(contents: ReportContents) -> list[int]:
    """Return the number of the colour of each run: of its own, or of its group."""
    by = [parse_name(name) for name in contents.wanted.group_by]
    if not by:
        return list(range(len(contents.infos)))
    numbers: dict[str, int] = {}
    told = [repr([fact_of(info, name) for name in by]) for info in contents.infos]
    return [numbers.setdefault(each, len(numbers)) for each in told]


def groups_legend(contents: ReportContents, colours: Sequence[int]) -> Markup:
    """Return which colour is which group, or nothing if there are no groups."""
    by = [parse_name(name) for name in contents.wanted.group_by]
    if not by:
        return Markup()
    told: dict[int, str] = {}
    for info, colour in zip(contents.infos, colours, strict=True):
        values = (f"{cut(str(name), 40)} {_fact(fact_of(info, name))}" for name in by)
        told.setdefault(colour, ", ".join(values))
    shown = list(told.items())[:_MOST_GROUPS]
    entries = (element("li", swatch(colour), f" {label}") for colour, label in shown)
    more = len(told) - len(shown)
    left = [_note(f"{more} more groups are left out here.")] if more else []
    return joined([element("ul", *entries, class_="legend"), *left])


def experiments(contents: ReportContents, names: Sequence[str], colours: Sequence[int]) -> Markup:
    """Return the table of experiments: a line each, with what differs and what came out."""
    differing = _differing(contents)
    columns, keys = differing[:_MOST_COLUMNS], contents.keys[:_MOST_COLUMNS]
    best = [key for key in keys if key in contents.goals]
    heads = ["experiment", "state", "resumes", "last time", *(cut(name, 40) for name in columns)]
    for key in keys:
        heads.append(cut(key, 40))
        if key in best:
            heads.append(f"{contents.goals[key]} {cut(key, 40)}")
    rows = []
    for number, info in enumerate(contents.infos):
        config = contents.config[number]
        name = element(
            "button", swatch(colours[number]), names[number], type="button", data_run=number,
            aria_pressed="true",
        )  # fmt: skip
        cells: list[Markup] = [
            element("th", name, scope="row", title=f"run {info.uuid.hex}"),
            element("td", element("span", info.state, class_=f"state {info.state}")),
            _number(info.resumes or ""),
            _number("" if info.last_time is None else info.last_time),
        ]
        cells += [_cell(config[name]) if name in config else _absent() for name in columns]
        for key in keys:
            cells.append(_cell(info.last[key].value) if key in info.last else _absent())
            if key in best:
                cells.append(_cell(info.best[key]) if key in info.best else _absent())
        rows.append(cells)
    told = table(f"{counted(len(rows), 'experiment')}, one line each", heads, rows, class_="sorts")
    left = [*_left_out("column of configuration", differing[_MOST_COLUMNS:])]
    left += _left_out("key", contents.keys[_MOST_COLUMNS:])
    return _section("Experiments", _wide(told, "Table of experiments"), *left)


def group_means(contents: ReportContents) -> Markup:
    """Return a table of groups for each metric, or nothing if no groups were asked for."""
    wanted = contents.wanted
    if not wanted.group_by:
        return Markup()
    groups = contents.groups[:_MOST_GROUPS]
    keys = list(dict.fromkeys(key for group in groups for key in group.metrics))
    parts: list[Markup] = []
    for key in keys[:_MOST_COLUMNS]:
        heads = [
            *map(cut, wanted.group_by),
            "n",
            "mean",
            "± 95%",
            "std",
            "min",
            "max",
            "not counted",
        ]
        rows = []
        for group in groups:
            found = group.metrics.get(key)
            by = [element("th", _fact(value), scope="row") for value in group.by.values()]
            rows.append([*by, *_statistics(found, group.n)])
        caption = f"The {wanted.of} {cut(key)} of each experiment"
        parts.append(_wide(table(caption, heads, rows), caption))
    parts += _left_out("key", keys[_MOST_COLUMNS:])
    if len(contents.groups) > _MOST_GROUPS:
        parts.append(_note(f"{_MOST_GROUPS} of {len(contents.groups)} groups."))
    parts.append(
        _note(
            f"Of all {counted(contents.there, 'experiment')}. ± 95% is half of the width of the "
            "confidence interval of the mean, by Student's t. Not counted are experiments without "
            "a number, or with NaN or an infinity."
        )
    )
    return _section("Groups", *parts)


def configuration(contents: ReportContents) -> Markup:
    """Return what differs between the configurations, and what is the same in all."""
    differing = _differing(contents)
    rows = []
    for name in differing[:_MOST_NAMES]:
        counts: dict[str, int] = {}
        for config in contents.config:
            told = brief(config[name]) if name in config else "absent"
            counts[told] = counts.get(told, 0) + 1
        shown = [f"{value} ({number})" for value, number in list(counts.items())[:_MOST_VALUES]]
        if len(counts) > _MOST_VALUES:
            shown.append(f"and {len(counts) - _MOST_VALUES} more")
        rows.append([element("th", cut(name), scope="row"), "; ".join(shown)])
    parts: list[Markup] = []
    if rows:
        caption = "What differs: each value, with the number of experiments that have it"
        parts.append(_wide(table(caption, ["name", "values"], rows), "What differs"))
        parts += _left_out("name", differing[_MOST_NAMES:])
    same = [name for name in _config_names(contents) if name not in set(differing)]
    if same:
        lines = [
            [element("th", cut(name), scope="row"), brief(contents.config[0][name])]
            for name in same[:_MOST_NAMES]
        ]
        caption = "What is the same in all experiments"
        parts.append(_wide(table(caption, ["name", "value"], lines), caption))
        parts += _left_out("name", same[_MOST_NAMES:])
    return _section("Configuration", *(parts or [element("p", "No experiment has any.")]))


def lineage(contents: ReportContents) -> Markup:
    """Return the families of runs: who was resumed from whom, and who is a variant."""
    runs = {info.uuid: info for info in contents.every}
    children: dict[Any, list[RunInfo]] = {}
    for info in contents.every:
        children.setdefault(info.resumed_from if info.resumed_from in runs else None, []).append(
            info
        )
    roots = {}
    for head in contents.infos:
        info, met = head, set()
        while info.resumed_from in runs and info.uuid not in met:
            met.add(info.uuid)
            info = runs[info.resumed_from]
        if info.uuid in children:  # somebody goes on from it
            roots[info.uuid] = runs.get(info.uuid, info)
    lines: list[Markup] = []
    met = set()
    waiting = [(root, 0) for root in reversed(roots.values())]
    while waiting and len(lines) < _MOST_LINES:
        info, depth = waiting.pop()
        if info.uuid in met:
            continue
        met.add(info.uuid)
        lines.append(_member(info, depth))
        below = children.get(info.uuid, [])
        waiting += [
            (child, depth + (child.variant_of is not None or len(below) > 1))
            for child in reversed(below)
        ]
    if not lines:
        return _section("Lineage", element("p", "No run was resumed."))
    left = [_note(f"{_MOST_LINES} runs are shown; there are more.")] if waiting else []
    return _section("Lineage", element("ul", *lines, class_="lineage"), *left)


def _member(info: RunInfo, depth: int) -> Markup:
    said = f"{info.state}, times {info.first_time} to {info.last_time}"
    if info.first_time is None:
        said = f"{info.state}, no rows of its own"
    if info.resumed_from is not None:
        verb = "part of" if info.part_of else "variant of" if info.variant_of else "goes on with"
        parent = info.part_of or info.resumed_from
        where = "from the beginning" if info.resumed_at == -1 else f"after time {info.resumed_at}"
        said += f"; {verb} {parent.hex[:8]} {where}"
    name = element("strong" if info.head else "span", cut(info.name or "", 40))
    code = element("code", info.uuid.hex[:8])
    return element("li", code, " ", name, f" {said}", class_=f"depth{min(depth, _DEEPEST)}")


def environment(contents: ReportContents, names: Sequence[str]) -> Markup:
    """Return where each experiment ran, and with what; alike ones share a line."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for info, origin, name in zip(contents.infos, contents.origins, names, strict=True):
        line = (
            cut(info.host or "unknown"),
            cut(str(origin.get("versions") or "unknown"), 300),
            cut(str(origin.get("command") or "unknown"), 300),
        )
        told.setdefault(line, []).append(name)
    rows = []
    for line, those in list(told.items())[:_MOST_NAMES]:
        shown = ", ".join(those[:6]) + (f", and {len(those) - 6} more" if len(those) > 6 else "")
        rows.append([element("th", f"{len(those)}: {shown}", scope="row"), *line])
    heads = ["experiments", "host", "versions", "command"]
    left = len(told) - len(rows)
    began = [info.created for info in contents.infos if info.created is not None]
    parts = [_wide(table("Where the experiments ran", heads, rows, class_="long"), "Environment")]
    if left > 0:
        parts.append(_note(f"{left} more environments are left out."))
    if began:
        parts.append(
            element(
                "p", f"The first began at {moment(min(began))}, the last at {moment(max(began))}."
            )
        )
    return _section("Environment", *parts)


def _config_names(contents: ReportContents) -> list[str]:
    return list(dict.fromkeys(name for config in contents.config for name in config))


def _differing(contents: ReportContents) -> list[str]:
    """Return the names in the configuration that not all experiments have with one value."""
    if len(contents.infos) < 2:
        return []
    return [
        name
        for name in _config_names(contents)
        if len({_identity(config.get(name, MISSING)) for config in contents.config}) > 1
    ]


def _identity(value: object) -> str:
    return f"{type(value).__name__} {value!r}"


def _statistics(found: GroupStatistics | None, runs: int) -> list[Markup]:
    if found is None:
        return [_number(0), *(_absent() for _ in range(5)), _number(runs)]
    numbers = (found.mean, found.ci95, found.std, found.least, found.greatest)
    return [
        _number(found.n),
        *(_absent() if number is None else _cell(number) for number in numbers),
        _number((found.missing + found.non_finite) or ""),
    ]


def _fact(value: object) -> str:
    return "none" if value is None or value is MISSING else brief(value)


def _cell(value: object) -> Markup:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return element("td", brief(value), class_="number", data_value=repr(value))
    return element("td", brief(value))


def _number(value: int | str) -> Markup:
    return element("td", str(value), class_="number", data_value=str(value))


def _absent() -> Markup:
    return element("td", "-", class_="absent", aria_label="absent")


def _left_out(what: str, names: Sequence[str]) -> Iterable[Markup]:
    if not names:
        return
    shown = ", ".join(cut(name) for name in names[:20])
    more = f", and {len(names) - 20} more" if len(names) > 20 else ""
    yield _note(f"Left out, {counted(len(names), what)}: {shown}{more}.")


def _note(text: str) -> Markup:
    return element("p", text, class_="note")


def _wide(content: Markup, label: str) -> Markup:
    """Return something that scrolls sideways where the page is narrow, by keyboard, too."""
    return element("div", content, class_="wide", tabindex=0, role="region", aria_label=label)


def _section(heading: str, *parts: Markup) -> Markup:
    return element("section", element("h2", heading), joined(parts))
