"""The page of a report: its parts in order, and the policy that forbids it the network."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from traininglog import __version__
from traininglog.display.plain_text import counted, cut
from traininglog.markup.elements import Markup, element, joined, verbatim
from traininglog.markup.texts import brief, moment
from traininglog.reports import tables
from traininglog.reports.contents import MOST_PANELS, ReportContents, read
from traininglog.reports.pictures import panel
from traininglog.reports.wanted import ManyRuns, Wanted


def page(store: ManyRuns, location: str, wanted: Wanted) -> str:
    """Return a report as HTML: one file, which loads nothing and runs no script but its own.

    Args:
        store: The store.
        location: What the report calls the store.
        wanted: What to show.

    Raises what `Store.iter_runs` raises.

    """
    contents = read(store, location, wanted)
    title = wanted.title or f"Experiments of {location}"
    style, script = _file("report.css"), _file("report.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", cut(title, 200)),
        element("style", verbatim(style)),
    )
    names = tables.names_of(contents.infos)
    colours = tables.colours_of(contents)
    body = element(
        "body",
        element("header", element("h1", cut(title, 200)), _summary(contents)),
        element(
            "main",
            tables.experiments(contents, names, colours),
            tables.group_means(contents),
            _curves(contents, names, colours),
            tables.configuration(contents),
            tables.lineage(contents),
            tables.environment(contents, names),
        ),
        element(
            "footer",
            element("p", f"Made by traininglog {__version__} at {moment(contents.made)}."),
        ),
        element("script", verbatim(script)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _summary(contents: ReportContents) -> Markup:
    shown, there = len(contents.infos), contents.there
    lines = [
        counted(shown, "experiment")
        if shown == there
        else f"{shown:,} of {there:,} experiments, "
        + ("the first in this order" if contents.wanted.sort else "the latest")
    ]
    states: dict[str, int] = {}
    for info in contents.infos:
        states[info.state] = states.get(info.state, 0) + 1
    lines += [f"{number} {state}" for state, number in states.items()]
    again = sum(1 for info in contents.infos if info.resumes)
    if again:
        lines.append(f"{again} resumed")
    parts = [element("p", "; ".join(lines) + ".")]
    if contents.wanted.where:
        asked = element("code", cut(contents.wanted.where, 500))
        parts.append(element("p", "Those with ", asked, "."))
    if contents.wanted.sort:
        order = ", ".join(contents.wanted.sort)
        parts.append(element("p", "Sorted by ", element("code", cut(order, 500)), "."))
    parts.append(element("p", f"Read from {brief(contents.location, 200)}.", class_="note"))
    return joined(parts)


def _curves(contents: ReportContents, names: list[str], colours: list[int]) -> Markup:
    if not contents.panels:
        return element("section", element("h2", "Curves"), element("p", "No key has numbers."))
    figures = (
        panel(key, curves, names, colours, contents.resumes, number)
        for number, (key, curves) in enumerate(contents.panels)
    )
    told = (
        "A circle marks where a run was resumed, a cross a NaN, a triangle an infinity. "
        "Long curves are drawn with fewer points, which keep all extremes."
    )
    if contents.wanted.group_by:
        told += " The colours are those of the groups."
    parts = [
        element("h2", "Curves"),
        element("p", told, class_="note"),
        element(
            "p", "Point at a curve to read its values. Click a name to hide its curves. Arrow keys "
            "move through the curves of a picture that has the focus.", class_="note live-only",
        ),
        tables.groups_legend(contents, colours),
        element("div", *figures, class_="panels"),
    ]  # fmt: skip
    if contents.panels_left_out:
        left = ", ".join(cut(key) for key in contents.panels_left_out[:20])
        more = len(contents.panels_left_out) - 20
        parts.append(
            element(
                "p", f"{MOST_PANELS} keys are drawn. Left out: {left}"
                + (f", and {more} more" if more > 0 else "") + ".", class_="note",
            )
        )  # fmt: skip
    return element("section", *parts)


@cache
def _file(name: str) -> str:
    return files("traininglog.reports").joinpath(name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
