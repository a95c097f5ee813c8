"""The schema revision of a file: making today's schema, and refusing others.

The header of a file says that it is ours, and which readers can read it. A table has its revision.
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

APPLICATION_ID = 0x746C6F67  # "tlog"; in the file's header, where the tool `file` can see it
READ_REVISION = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant of ours

_STAMP = f"INSERT INTO {VERSION_TABLE} VALUES (?)"  # noqa: S608 - a constant of ours


def is_blank(connection: Connection) -> bool:
    """Return whether a file has no tables or other contents."""
    return not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()


def create_schema(connection: Connection) -> None:
    """Create today's tables in an empty database, and mark it as ours."""
    metadata.create_all(connection, checkfirst=False)  # a check would query each table
    connection.exec_driver_sql(VERSION_TABLE_DDL)
    connection.exec_driver_sql(_STAMP, (REVISION,))
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {READER_VERSION}")


def read_revision(connection: Connection, name: str) -> str:
    """Return the revision of a file. Raises `CorruptLog` if it has none."""
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
    """Return whether a value may be a revision, even of a newer version; else it is damaged."""
    return isinstance(value, str) and len(value) == 4 and value.isdecimal() and value.isascii()


def current() -> str:
    """Return today's revision."""
    return REVISION


def is_old(revision: str) -> bool:
    """Return whether a revision is an older one, which can be upgraded to today's."""
    return revision in REVISIONS and revision != REVISION


def refuse_newer(name: str, revision: str | None, readable: int, *, readonly: bool) -> None:
    """Raise `SchemaTooNew` for a revision that this version does not know and cannot read.

    A revision of None, from a look that failed, decides nothing: the look did not lock the file,
    and is repeated.
    """
    if revision is None or revision in REVISIONS or revision == REVISION:
        return
    if not readonly or readable > READER_VERSION:
        raise SchemaTooNew(
            f"{name} has schema {revision}, this version knows {REVISION}: install a newer "
            "traininglog" + ("" if readable > READER_VERSION else ", or open it with readonly=True")
        )


def refuse_older(name: str, revision: str) -> None:
    """Raise `SchemaTooOld` for an older revision, in a process that may not upgrade the file."""
    if is_old(revision):
        raise SchemaTooOld(
            f"{name} has schema {revision}, this version reads {REVISION}; upgrade it first: "
            f"traininglog upgrade --store {shlex.quote(name)}"
        )
