"""What a run is to another: it continues it, is a variant of it, or accompanies it.

A revision is frozen: it imports nothing from the package and says in full what it makes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "relations",
        sa.Column(
            "run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("role", sa.String(8), nullable=False, comment="continue, variant, or part"),
        sa.Column(
            "other", sa.String(32), nullable=False, comment="uuid of a run, maybe of another file"
        ),
        sa.Column(
            "position",
            sa.BigInteger,
            nullable=False,
            comment="the high_water of the other run when this one began; 2**62: not known",
        ),
        comment="what a run is to another: it continues it, is a variant of it, or accompanies it",
    )
    # No one said what was meant. A run goes on from one that had not finished, or from its very
    # end. Who goes back to an earlier time of a finished run tries something else.
    op.execute(
        "INSERT INTO relations (run_id, role, other, position)"
        " SELECT runs.id,"
        " CASE WHEN parents.outcome = 'finished' AND runs.resumed_at < parents.last_time"
        " THEN 'variant' ELSE 'continue' END,"
        " runs.resumed_from, coalesce(parents.high_water, 4611686018427387904)"
        " FROM runs LEFT JOIN runs AS parents ON parents.uuid = runs.resumed_from"
        " WHERE runs.resumed_from IS NOT NULL"
    )


def downgrade():
    raise NotImplementedError("a backup of the file as it was is beside it")
