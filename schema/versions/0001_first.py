"""The first schema: runs, their keys, entries and status, time marks, and the view for SQL users.

A revision is frozen: it imports nothing from the package and says in full what it makes.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import UserDefinedType

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


class Untyped(UserDefinedType):
    cache_ok = True

    def get_col_spec(self, **_):
        return ""


def upgrade():
    op.create_table(
        "runs",
        sa.Column(
            "id", sa.Integer, primary_key=True, comment="short name of the run within this file"
        ),
        sa.Column("uuid", sa.String(32), nullable=False, unique=True, comment="32 hex digits"),
        sa.Column(
            "resumed_from",
            sa.String(32),
            comment="uuid of the parent, which may be in another file",
        ),
        sa.Column(
            "resumed_at", sa.BigInteger, comment="last time of the parent that is seen; -1: none"
        ),
        sa.Column("created", sa.Float, nullable=False, comment="unix seconds"),
        sa.Column("updated", sa.Float, nullable=False, comment="unix seconds of the last flush"),
        sa.Column("opened", sa.Float, comment="unix seconds since when who wrote last could write"),
        sa.Column(
            "outcome",
            sa.String(16),
            comment="finished or failed; NULL while open, and if it was lost",
        ),
        sa.Column("host", sa.Text, comment="of the process that wrote last"),
        sa.Column("pid", sa.Integer, comment="of the process that wrote last"),
        sa.Column("boot_id", sa.Text, comment="of the host when it wrote"),
        sa.Column("command", sa.Text, comment="its command line"),
        sa.Column("versions", sa.Text, comment="of Python, this package and the platform"),
        sa.Column(
            "epoch", sa.BigInteger, nullable=False, comment="how often a writer has opened the run"
        ),
        sa.Column(
            "high_water",
            sa.BigInteger,
            nullable=False,
            comment="how much was assigned, in bytes of its journals; all of it is in here",
        ),
        sa.Column("first_time", sa.BigInteger, comment="no entry of the run is before"),
        sa.Column("last_time", sa.BigInteger, comment="no entry of the run is after"),
        sa.Column(
            "deletions", sa.BigInteger, nullable=False, comment="0: none of its entries has kind 0"
        ),
        sqlite_autoincrement=True,
        comment="one training run each; a resumed run is a child of the run that it continues",
    )
    op.create_index("runs_by_parent", "runs", ["resumed_from"])
    op.create_table(
        "keys",
        sa.Column(
            "run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column(
            "id", sa.Integer, primary_key=True, comment="counts a run's keys in first-written order"
        ),
        sa.Column("name", sa.Text, nullable=False),
        sa.UniqueConstraint("run_id", "name"),
        sqlite_with_rowid=False,
        comment="the keys of a run",
    )
    op.create_table(
        "entries",
        sa.Column(
            "run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("time", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key_id", sa.Integer, primary_key=True, comment="keys.id of the same run"),
        sa.Column(
            "kind",
            sa.SmallInteger,
            nullable=False,
            comment="see the view log; 0 hides an older value",
        ),
        sa.Column("value", Untyped(), comment="NULL for None and for a NaN"),
        sqlite_with_rowid=False,
        comment="what was logged: log[time][key] = value",
    )
    op.create_table(
        "status",
        sa.Column("id", sa.Integer, primary_key=True, comment="in first-written order"),
        sa.Column(
            "run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False, comment="as in entries"),
        sa.Column("value", Untyped()),
        sa.UniqueConstraint("run_id", "key"),
        comment="what is known of a run and not bound to a time: log.status[key] = value",
    )
    op.create_table(
        "marks",
        sa.Column(
            "run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("time", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("wall", sa.Float, nullable=False, comment="unix seconds"),
        sqlite_with_rowid=False,
        comment="when a run had got to a time: one a flush",
    )
    if op.get_context().dialect.name == "sqlite":
        op.execute(sa.text(VIEW))
        op.execute("PRAGMA application_id = 1953263463")
        op.execute("PRAGMA user_version = 1")


def downgrade():
    raise NotImplementedError("there is nothing before the first schema")


VIEW = """\
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
