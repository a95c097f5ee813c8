"""Elements of HTML and SVG. A text becomes markup here only, and is escaped on the way."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from traininglog.display.plain_text import visible


class Markup(str):
    """A text that is HTML already. Only the functions of this module make one."""

    __slots__ = ()


#: What an element holds: markup as it is, or a text, which is escaped.
Content = str | Markup

#: The value of an attribute. None and False: there is no such attribute. True: it has no value.
Attribute = str | int | float | bool | None

_EMPTY = frozenset({"meta", "br", "circle", "line", "path", "rect"})


def text(content: Content) -> Markup:
    r"""Return a text as markup, with unprintable characters written as escapes.

    >>> text("<b> \x1b")
    '&lt;b&gt; \\x1b'
    """
    if isinstance(content, Markup):
        return content
    return Markup(escape(visible(content), quote=True))


def element(name: str, /, *contents: Content, **attributes: Attribute) -> Markup:
    """Return an element. An attribute's ``_`` becomes ``-``, and one at its end goes.

    >>> element("td", "1 < 2", class_="number", data_run=3)
    '<td class="number" data-run="3">1 &lt; 2</td>'
    """
    opening = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_quoted(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _EMPTY and not contents:
        return Markup(f"<{name}{opening}/>")
    return Markup(f"<{name}{opening}>{joined(contents)}</{name}>")


def joined(parts: Iterable[Content], between: str = "") -> Markup:
    """Return all parts as one markup, each text escaped."""
    return Markup(text(between).join(text(part) for part in parts))


def verbatim(content: str) -> Markup:
    """Return a text of our own as markup, as it is: a style sheet, a script. Never data."""
    return Markup(content)


def table(
    caption: Content,
    heads: Iterable[Content],
    rows: Iterable[Iterable[Content]],
    *,
    class_: str | None = None,
) -> Markup:
    """Return a table. A cell may be a whole ``<td>`` or ``<th>``; others become a ``<td>``.

    Above a column of numbers, told by the class of its cells, stands a head of that class.
    """
    lines = [[_cell(each, "td") for each in row] for row in rows]
    numbers = {
        place
        for line in lines
        for place, each in enumerate(line)
        if each.startswith('<td class="number"')
    }
    head = element(
        "tr",
        *(
            _cell(each, "th", scope="col", class_="number" if place in numbers else None)
            for place, each in enumerate(heads)
        ),
    )
    body = joined(element("tr", *line) for line in lines)
    return element(
        "table", element("caption", caption), element("thead", head), element("tbody", body),
        class_=class_,
    )  # fmt: skip


def _cell(content: Content, name: str, /, **attributes: Attribute) -> Markup:
    if isinstance(content, Markup) and content.startswith(("<td", "<th")):
        return content
    return element(name, content, **attributes)


def _quoted(value: Attribute) -> str:
    return escape(visible(str(value)), quote=True)
