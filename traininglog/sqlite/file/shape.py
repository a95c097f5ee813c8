"""The shape of a file, by its ``sqlite_master``: are our tables as we made them, and only tables?

A file from elsewhere may hold more than data. A trigger would run at each assignment. A view in the
place of a table, or a computed column, would run at each read, for any length of time. A foreign
unique index would make an assignment replace others. This package makes none of these.

Tables, views and plain indexes with names of their own are allowed: they are the owner's business.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from traininglog.errors import CorruptLog, StoreUnwritable
from traininglog.sql.tables import LOG_VIEW, VERSION_TABLE, VERSION_TABLE_DDL, metadata

LIST = "SELECT type, name, tbl_name, sql FROM sqlite_master"

# How many flaws a message names.
_TOLD = 3

#: One row of `LIST`: type, name, name of the table, and the statement that made it.
Listed = tuple[str, str, str, str | None]


class Shape(NamedTuple):
    """The flaws in the shape of a file, as messages."""

    unreadable: tuple[str, ...]  #: reading would run foreign code
    unwritable: tuple[str, ...]  #: writing would run foreign code


def shape_of(listed: Sequence[Listed], *, current: bool = True) -> Shape:
    """Return the flaws in the shape of a file.

    Args:
        listed: The rows of `LIST`.
        current: Whether the file has today's revision; the statements of other revisions are not
            known.

    """
    return _shape_of(tuple(map(tuple, listed)), current)


@functools.lru_cache(maxsize=8)  # nearly all files are alike
def _shape_of(listed: tuple[Listed, ...], current: bool) -> Shape:
    unreadable, unwritable = [], []
    made = _made()
    for kind, name, table, sql in listed:
        known = made.get(_folded(name))
        text = _plain(sql)
        what = f"the {kind} {_text(name)}"
        if kind == "trigger":
            unwritable.append(f"{what} on {_text(table)} would run at each assignment")
        elif known is None:
            unique = kind == "index" and (sql is None or text.upper().startswith("CREATE UNIQUE"))
            if unique and _folded(table) in made and not _is_automatic(name):
                unwritable.append(f"{what} would refuse or replace what is assigned")
        elif known.kind == "table" and (kind != "table" or _COMPUTED.search(text)):
            unreadable.append(f"{what} is not the table that traininglog made")
        elif current and (kind != known.kind or text != known.text):
            unwritable.append(f"{what} is not as traininglog made it")
    return Shape(tuple(unreadable), tuple(unwritable))


def examine(connection: Connection, name: str, *, current: bool, readonly: bool) -> None:
    """Raise if reading or writing a file would run foreign code, such as a trigger.

    Raises `CorruptLog`, or `StoreUnwritable` if the file can still be read.
    """
    listed = [tuple(row) for row in connection.exec_driver_sql(LIST)]
    unreadable, unwritable = shape_of(listed, current=current)
    repair = f"traininglog check --repair --store {shlex.quote(name)}"
    if unreadable:
        raise CorruptLog(
            f"{name} is not read: {_told(unreadable)}. It was left as it is; what it holds of "
            f"ours is brought into a new file by: {repair}"
        )
    if unwritable and not readonly:
        raise StoreUnwritable(
            f"{name} is not written: {_told(unwritable)}. It was left as it is, and can be "
            f"looked at with readonly=True. Drop by SQL what is not yours, or bring the rest into "
            f"a new file: {repair}"
        )


def problems(connection: Connection, *, current: bool) -> list[str]:
    """Return messages on the flaws in the shape of a file."""
    listed = [tuple(row) for row in connection.exec_driver_sql(LIST)]
    unreadable, unwritable = shape_of(listed, current=current)
    return [f"{flaw}; it was not made by traininglog" for flaw in (*unreadable, *unwritable)]


def is_table(listed: Sequence[Listed], name: str) -> bool:
    """Return whether a name is that of a plain table, not of a view or a computed table."""
    found = [(kind, _plain(sql)) for kind, other, _, sql in listed if _folded(other) == name]
    return len(found) == 1 and found[0][0] == "table" and not _COMPUTED.search(found[0][1])


class _Made(NamedTuple):
    kind: str
    text: str


# The words in the statement of a table that has more than columns of values.
_COMPUTED = re.compile(r"\b(VIRTUAL|GENERATED|AS)\b", re.IGNORECASE)


@functools.cache
def _made() -> dict[str, _Made]:
    """Return the tables, indexes and views of today's schema, by name."""
    dialect = pysqlite.dialect()
    made = {"log": _Made("view", _plain(LOG_VIEW))}
    made[VERSION_TABLE] = _Made("table", _plain(VERSION_TABLE_DDL))
    for table in metadata.sorted_tables:
        made[table.name] = _Made("table", _plain(str(CreateTable(table).compile(dialect=dialect))))
        for index in table.indexes:
            text = str(CreateIndex(index).compile(dialect=dialect))
            made[str(index.name)] = _Made("index", _plain(text))
    return made


def _plain(sql: object) -> str:
    """Return a statement without comments and superfluous white space."""
    if not isinstance(sql, str):
        return ""
    return re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", sql)).strip()


def _folded(name: object) -> str:
    """Return a name in lower case, as SQLite compares names."""
    return name.lower() if isinstance(name, str) else ""


def _is_automatic(name: object) -> bool:
    """Return whether a name is that of an index that a table's own statement makes."""
    return _folded(name).startswith("sqlite_autoindex_")


def _text(value: object) -> str:
    return f"{value!r:.60}"


def _told(flaws: Sequence[str]) -> str:
    more = [f"and {len(flaws) - _TOLD} more"] if len(flaws) > _TOLD else []
    return "; ".join([*flaws[:_TOLD], *more])
