"""The schema of a file: made where there is none, and told from those that are not today's.

A file says whose it is and which readers can read it in its header, and its revision in a table.
"""

from __future__ import annotations

import shlex

from sqlalchemy import Connection

from traininglog.errors import CorruptLog, SchemaTooNew, SchemaTooOld
from traininglog.sql.tables import (
    READER_VERSION,
    REVISION,
    REVISIONS,
    VERSION_TABLE,
    VERSION_TABLE_DDL,
    metadata,
)
from traininglog.sqlite.file import shape

APPLICATION_ID = 0x746C6F67  # "tlog"; in the file's header, where `file` and others can see it
READ_REVISION = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant of ours

_STAMP = f"INSERT INTO {VERSION_TABLE} VALUES (?)"  # noqa: S608 - a constant of ours


def is_blank(connection: Connection) -> bool:
    """Tell whether there is nothing in a file."""
    return not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()


def create_schema(connection: Connection) -> None:
    """Give an empty database the tables of today and mark it as ours."""
    metadata.create_all(connection, checkfirst=False)  # which would ask for each
    connection.exec_driver_sql(VERSION_TABLE_DDL)
    connection.exec_driver_sql(_STAMP, (REVISION,))
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {READER_VERSION}")


def read_revision(connection: Connection, name: str) -> str:
    """Return the revision of a file. Raises `CorruptLog` where it has none."""
    listed = [tuple(row) for row in connection.exec_driver_sql(shape.LIST)]
    known = shape.is_table(listed, VERSION_TABLE)
    found = connection.exec_driver_sql(f"{READ_REVISION} LIMIT 2").scalars().all() if known else []
    if len(found) != 1 or not is_revision(found[0]):
        raise CorruptLog(
            f"{name} is marked as a training log but does not tell its schema; it was left as it "
            "is, see `traininglog check --repair`"
        )
    return str(found[0])


def is_revision(value: object) -> bool:
    """Tell whether a value may be a revision, be it one of a newer version; else it is damaged."""
    return isinstance(value, str) and len(value) == 4 and value.isdecimal() and value.isascii()


def current() -> str:
    """Return today's revision."""
    return REVISION


def is_old(revision: str) -> bool:
    """Tell whether a revision is one that can be brought to today's."""
    return revision in REVISIONS and revision != REVISION


def refuse_newer(name: str, revision: str | None, readable: int, *, readonly: bool) -> None:
    """Raise `SchemaTooNew` for a revision that this version does not know, unless it may read it.

    A look that failed (None) decides nothing: it did not lock the file, and will be repeated.
    """
    if revision is None or revision in REVISIONS or revision == REVISION:
        return
    if not readonly or readable > READER_VERSION:
        raise SchemaTooNew(
            f"{name} has schema {revision}, this version knows {REVISION}: install a newer "
            "traininglog" + ("" if readable > READER_VERSION else ", or open it with readonly=True")
        )


def refuse_older(name: str, revision: str) -> None:
    """Raise `SchemaTooOld`, for who may not change a file, unless its revision is today's."""
    if is_old(revision):
        raise SchemaTooOld(
            f"{name} has schema {revision}, this version reads {REVISION}; upgrade it first: "
            f"traininglog upgrade --store {shlex.quote(name)}"
        )
