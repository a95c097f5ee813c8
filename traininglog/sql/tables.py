"""The tables: the one description of the schema.

A new file gets the tables of `metadata`. The revisions in ``schema/versions`` upgrade an older file
to the same tables, and a test compares the two. What only SQLite needs (a column without affinity,
tables without a rowid, comments inside the statements) is declared here, and has no effect
elsewhere.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn, CreateTable
from sqlalchemy.types import UserDefinedType

#: The Alembic revisions, oldest first; `metadata` describes the last. Listed here so that opening
#: an up-to-date file need not import Alembic.
REVISIONS = ("0001", "0002", "0003", "0004", "0005")
REVISION = REVISIONS[-1]

#: The table in which Alembic keeps a file's revision. Its name is ours, as the database may have
#: other users.
VERSION_TABLE = "traininglog_schema"

#: Counts the changes of the schema that readers must know to read a file. A revision that older
#: readers can still read does not change it. The file has it in SQLite's user_version.
READER_VERSION = 2


#: The position of a run that was not in the file when another run began to continue it.
UNKNOWN_POSITION = 2**62


class Untyped(UserDefinedType[Any]):
    """A column without a type, in which SQLite stores every value unchanged.

    With a type, SQLite would turn -0.0 into 0, integers past 2**53 into floats, or digits into
    numbers.
    """

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Return the empty type."""
        return ""


@compiles(CreateTable, "sqlite")
def _comment_table(element: CreateTable, compiler: Any, **options: Any) -> str:
    text: str = compiler.visit_create_table(element, **options)
    comment = element.element.comment
    return text.strip().replace("(\n", f"( -- {comment}\n", 1) if comment else text.strip()


@compiles(CreateColumn, "sqlite")
def _comment_column(element: CreateColumn, compiler: Any, **options: Any) -> str:
    text: str = compiler.visit_create_column(element, **options)
    comment = element.element.comment
    return f"-- {comment}\n\t{text.strip()}" if comment else text.strip()


metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True, comment="short name of the run within this file"),
    Column("uuid", String(32), nullable=False, unique=True, comment="32 hex digits"),
    Column("resumed_from", String(32), comment="uuid of the parent, which may be in another file"),
    Column("resumed_at", BigInteger, comment="last time of the parent that is seen; -1: none"),
    Column("created", Float, nullable=False, comment="unix seconds"),
    Column("updated", Float, nullable=False, comment="unix seconds of the last flush"),
    Column("opened", Float, comment="unix seconds since when who wrote last could write"),
    Column(
        "outcome", String(16), comment="finished or failed; NULL while open, and if it was lost"
    ),
    Column("host", Text, comment="of the process that wrote last"),
    Column("pid", Integer, comment="of the process that wrote last"),
    Column("boot_id", Text, comment="of the host when it wrote"),
    Column("command", Text, comment="its command line"),
    Column("versions", Text, comment="of Python, this package and the platform"),
    Column("epoch", BigInteger, nullable=False, comment="how often a writer has opened the run"),
    Column(
        "high_water",
        BigInteger,
        nullable=False,
        comment="how much was assigned, in bytes of its journals; all of it is in here",
    ),
    Column("first_time", BigInteger, comment="no entry of the run is before"),
    Column("last_time", BigInteger, comment="no entry of the run is after"),
    Column("deletions", BigInteger, nullable=False, comment="0: none of its entries has kind 0"),
    Index("runs_by_parent", "resumed_from"),
    sqlite_autoincrement=True,  # an id is never reused: others may still know a deleted run's id
    comment="one training run each; a resumed run is a child of the run that it continues",
)

relations = Table(
    "relations",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(8), nullable=False, comment="continue, variant, or part"),
    Column("other", String(32), nullable=False, comment="uuid of a run, maybe of another file"),
    Column(
        "position",
        BigInteger,
        nullable=False,
        comment="the high_water of the other run when this one began; 2**62: not known",
    ),
    comment="what a run is to another: it continues it, is a variant of it, or accompanies it",
)

keys = Table(
    "keys",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Integer, primary_key=True, comment="counts a run's keys in first-written order"),
    Column("name", Text, nullable=False),
    UniqueConstraint("run_id", "name"),
    sqlite_with_rowid=False,
    comment="the keys of a run",
)

entries = Table(
    "entries",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("time", BigInteger, primary_key=True, autoincrement=False),
    Column("key_id", Integer, primary_key=True, comment="keys.id of the same run"),
    Column(
        "kind", SmallInteger, nullable=False, comment="see the view log; 0 hides an older value"
    ),
    Column("value", Untyped(), comment="NULL for None and for a NaN"),
    sqlite_with_rowid=False,
    comment="what was logged: log[time][key] = value",
)

segments = Table(
    "segments",
    metadata,
    Column("id", Integer, primary_key=True, comment="never used again"),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("key_id", Integer, nullable=False, comment="keys.id of the same run"),
    Column("first", BigInteger, nullable=False, comment="time of the first value"),
    Column("last", BigInteger, nullable=False, comment="time of the last value"),
    Column("step", BigInteger, nullable=False, comment="between times; 0: these are packed, too"),
    Column("size", Integer, nullable=False, comment="how many values"),
    Column("kind", SmallInteger, nullable=False, comment="of all values, as in entries; 0: packed"),
    Column("codec", SmallInteger, nullable=False, comment="how they are packed"),
    Column("checksum", BigInteger, nullable=False, comment="crc32 of run, key, and the others"),
    Column("times", LargeBinary, comment="packed; NULL where they are regular"),
    Column("data", LargeBinary, nullable=False, comment="the values, packed"),
    UniqueConstraint("run_id", "key_id", "first"),
    sqlite_autoincrement=True,
    comment="numbers of one key that were sealed; those of a key do not overlap in time",
)

totals = Table(
    "totals",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("high_water", BigInteger, nullable=False, comment="of the run; when it differs: old"),
    Column("rows", BigInteger, nullable=False, comment="times that have a value"),
    Column("count", BigInteger, nullable=False, comment="of values"),
    Column("first", BigInteger, comment="time of the first value"),
    Column("last", BigInteger, comment="time of the last value"),
    comment="how much a run logged itself, as it was when it was sealed",
)

summaries = Table(
    "summaries",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("key_id", Integer, primary_key=True, comment="keys.id of the same run"),
    Column("count", BigInteger, nullable=False, comment="of values"),
    Column("last", BigInteger, nullable=False, comment="time of the last value"),
    Column("kind", SmallInteger, nullable=False, comment="of the last value, as in entries"),
    Column("value", Untyped(), comment="the last value, as in entries"),
    Column("least", Untyped(), comment="of the numbers among the values"),
    Column("greatest", Untyped(), comment="of the numbers among the values"),
    sqlite_with_rowid=False,
    comment="what a run logged of each key, as old as its totals",
)

status = Table(
    "status",
    metadata,
    Column("id", Integer, primary_key=True, comment="in first-written order"),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False, comment="as in entries"),
    Column("value", Untyped()),
    UniqueConstraint("run_id", "key"),
    comment="what is known of a run and not bound to a time: log.status[key] = value",
)

marks = Table(
    "marks",
    metadata,
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("time", BigInteger, primary_key=True, autoincrement=False),
    Column("wall", Float, nullable=False, comment="unix seconds"),
    sqlite_with_rowid=False,
    comment="when a run had got to a time: one a flush",
)


def _records(
    name: str, uid: str, *more: Column[object] | Index, record: str = "JSON", comment: str
) -> Table:
    """Return a table of records; the fields that are searched also have columns."""
    columns = [one for one in more if isinstance(one, Column)]
    return Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True, comment="in the order in which they were made"),
        Column("uid", Text, nullable=False, unique=True, comment=uid),
        *columns,
        Column("edit", BigInteger, nullable=False, comment="counts the changes of the record"),
        Column("created", Float, nullable=False, comment="unix seconds"),
        Column("record", Text, nullable=False, comment=record),
        *(one for one in more if isinstance(one, Index)),
        comment=comment,
    )


projects = _records("projects", "its name", comment="what groups and trials belong to")

trial_groups = _records(
    "trial_groups",
    "hash of name and project",
    Column("project_id", Text, nullable=False, comment="projects.uid"),
    Column("name", Text, nullable=False),
    Index("trial_groups_by_project", "project_id"),
    comment="sets of trials of one project",
)

trials = _records(
    "trials",
    "hash and revision",
    Column("hash", Text, nullable=False, comment="of project, name, version and parameters"),
    Column("revision", Integer, nullable=False, comment="counts trials of the same hash from 0"),
    Column("project_id", Text, nullable=False, comment="projects.uid"),
    Column("group_id", Text, comment="trial_groups.uid"),
    Column("name", Text),
    Column("status", Integer, nullable=False, comment="the number of the status"),
    Column("log", String(32), comment="uuid of the run that it writes, or wrote last"),
    Index("trials_by_hash", "hash"),
    Index("trials_by_project", "project_id"),
    Index("trials_by_group", "group_id"),
    Index("trials_by_name", "name"),
    Index("trials_by_status", "status"),
    record="JSON; the columns before are taken from it",
    comment="experiments, each the description of a run",
)

group_members = Table(
    "group_members",
    metadata,
    Column("kind", String(8), primary_key=True, comment="of the member: trial, or run"),
    Column("member", Text, primary_key=True, comment="trials.uid, or runs.uuid"),
    Column("group_id", Text, primary_key=True, comment="trial_groups.uid"),
    Index("group_members_by_group", "group_id"),
    sqlite_with_rowid=False,
    comment="what is in which groups; of a trial its record says so, too",
)

environments = _records(
    "environments",
    "hash of the record",
    comment="in which trials ran: software, machine; each once, however many share it",
)

LOG_VIEW = """\
CREATE VIEW log AS -- what each run itself logged, for people who use SQL
SELECT runs.uuid AS run, entries.time AS time, keys.name AS key,
  CASE WHEN entries.kind = 4 AND entries.value IS NULL THEN 'NaN' ELSE entries.value END AS value,
  CASE entries.kind WHEN 1 THEN 'none' WHEN 2 THEN 'bool' WHEN 3 THEN 'int' WHEN 4 THEN 'float'
    WHEN 5 THEN 'text' WHEN 6 THEN 'bytes' WHEN 7 THEN 'json' WHEN 8 THEN 'array'
    WHEN 9 THEN 'datetime' WHEN 10 THEN 'uuid' WHEN 11 THEN 'path' WHEN 12 THEN 'enum' END AS type
FROM entries
JOIN runs ON runs.id = entries.run_id
JOIN keys ON keys.run_id = entries.run_id AND keys.id = entries.key_id
WHERE entries.kind <> 0"""

# A "%" would have to be doubled in a DDL; the view has none.
_view = DDL(LOG_VIEW)  # type: ignore[no-untyped-call]
event.listen(metadata, "after_create", _view.execute_if(dialect="sqlite"))

VERSION_TABLE_DDL = f"""\
CREATE TABLE {VERSION_TABLE} (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num)
)"""
