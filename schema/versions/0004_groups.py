"""Several groups a trial: what is in which groups.

A revision is frozen: it imports nothing from the package and says in full what it makes. Readers of
the revision before see of each trial its first group.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "group_members",
        sa.Column("kind", sa.String(8), primary_key=True, comment="of the member: trial, or run"),
        sa.Column("member", sa.Text, primary_key=True, comment="trials.uid, or runs.uuid"),
        sa.Column("group_id", sa.Text, primary_key=True, comment="trial_groups.uid"),
        sqlite_with_rowid=False,
        comment="what is in which groups; of a trial its record says so, too",
    )
    op.create_index("group_members_by_group", "group_members", ["group_id"])
    op.execute(
        "INSERT INTO group_members (kind, member, group_id)"
        " SELECT 'trial', uid, group_id FROM trials WHERE group_id IS NOT NULL"
    )


def downgrade():
    raise NotImplementedError("a backup of the file as it was is beside it")
