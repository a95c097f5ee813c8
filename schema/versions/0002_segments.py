"""Segments of sealed numbers, and what a list of runs tells of each.

A revision is frozen: it imports nothing from the package and says in full what it makes.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import UserDefinedType

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


class Untyped(UserDefinedType):
    cache_ok = True

    def get_col_spec(self, **_):
        return ""


def run_id(**options):
    return sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="CASCADE"), **options)


def upgrade():
    op.create_table(
        "segments",
        sa.Column("id", sa.Integer, primary_key=True, comment="never used again"),
        run_id(nullable=False),
        sa.Column("key_id", sa.Integer, nullable=False, comment="keys.id of the same run"),
        sa.Column("first", sa.BigInteger, nullable=False, comment="time of the first value"),
        sa.Column("last", sa.BigInteger, nullable=False, comment="time of the last value"),
        sa.Column(
            "step",
            sa.BigInteger,
            nullable=False,
            comment="between times; 0: these are packed, too",
        ),
        sa.Column("size", sa.Integer, nullable=False, comment="how many values"),
        sa.Column(
            "kind",
            sa.SmallInteger,
            nullable=False,
            comment="of all values, as in entries; 0: packed",
        ),
        sa.Column("codec", sa.SmallInteger, nullable=False, comment="how they are packed"),
        sa.Column(
            "checksum", sa.BigInteger, nullable=False, comment="crc32 of run, key, and the others"
        ),
        sa.Column("times", sa.LargeBinary, comment="packed; NULL where they are regular"),
        sa.Column("data", sa.LargeBinary, nullable=False, comment="the values, packed"),
        sa.UniqueConstraint("run_id", "key_id", "first"),
        sqlite_autoincrement=True,
        comment="numbers of one key that were sealed; those of a key do not overlap in time",
    )
    op.create_table(
        "totals",
        run_id(primary_key=True),
        sa.Column(
            "high_water",
            sa.BigInteger,
            nullable=False,
            comment="of the run; when it differs: old",
        ),
        sa.Column("rows", sa.BigInteger, nullable=False, comment="times that have a value"),
        sa.Column("count", sa.BigInteger, nullable=False, comment="of values"),
        sa.Column("first", sa.BigInteger, comment="time of the first value"),
        sa.Column("last", sa.BigInteger, comment="time of the last value"),
        comment="how much a run logged itself, as it was when it was sealed",
    )
    op.create_table(
        "summaries",
        run_id(primary_key=True),
        sa.Column("key_id", sa.Integer, primary_key=True, comment="keys.id of the same run"),
        sa.Column("count", sa.BigInteger, nullable=False, comment="of values"),
        sa.Column("last", sa.BigInteger, nullable=False, comment="time of the last value"),
        sa.Column(
            "kind", sa.SmallInteger, nullable=False, comment="of the last value, as in entries"
        ),
        sa.Column("value", Untyped(), comment="the last value, as in entries"),
        sa.Column("least", Untyped(), comment="of the numbers among the values"),
        sa.Column("greatest", Untyped(), comment="of the numbers among the values"),
        sqlite_with_rowid=False,
        comment="what a run logged of each key, as old as its totals",
    )
    if op.get_context().dialect.name == "sqlite":
        # Who does not know of segments would miss what is in them.
        op.execute("PRAGMA user_version = 2")


def downgrade():
    raise NotImplementedError("a backup of the file as it was is beside it")
