"""Projects, groups and trials: the description of experiments around runs.

A revision is frozen: it imports nothing from the package and says in full what it makes. Readers of
the revision before can read the runs all the same.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def create_records(name, uid, *columns, record="JSON", comment):
    op.create_table(
        name,
        sa.Column(
            "id", sa.Integer, primary_key=True, comment="in the order in which they were made"
        ),
        sa.Column("uid", sa.Text, nullable=False, unique=True, comment=uid),
        *columns,
        sa.Column(
            "edit", sa.BigInteger, nullable=False, comment="counts the changes of the record"
        ),
        sa.Column("created", sa.Float, nullable=False, comment="unix seconds"),
        sa.Column("record", sa.Text, nullable=False, comment=record),
        comment=comment,
    )


def upgrade():
    create_records("projects", "its name", comment="what groups and trials belong to")
    create_records(
        "trial_groups",
        "hash of name and project",
        sa.Column("project_id", sa.Text, nullable=False, comment="projects.uid"),
        sa.Column("name", sa.Text, nullable=False),
        comment="sets of trials of one project",
    )
    op.create_index("trial_groups_by_project", "trial_groups", ["project_id"])
    create_records(
        "trials",
        "hash and revision",
        sa.Column(
            "hash", sa.Text, nullable=False, comment="of project, name, version and parameters"
        ),
        sa.Column(
            "revision", sa.Integer, nullable=False, comment="counts trials of the same hash from 0"
        ),
        sa.Column("project_id", sa.Text, nullable=False, comment="projects.uid"),
        sa.Column("group_id", sa.Text, comment="trial_groups.uid"),
        sa.Column("name", sa.Text),
        sa.Column("status", sa.Integer, nullable=False, comment="the number of the status"),
        sa.Column("log", sa.String(32), comment="uuid of the run that it writes, or wrote last"),
        record="JSON; the columns before are taken from it",
        comment="experiments, each the description of a run",
    )
    op.create_index("trials_by_hash", "trials", ["hash"])
    op.create_index("trials_by_project", "trials", ["project_id"])
    op.create_index("trials_by_group", "trials", ["group_id"])
    op.create_index("trials_by_name", "trials", ["name"])
    op.create_index("trials_by_status", "trials", ["status"])
    create_records(
        "environments",
        "hash of the record",
        comment="in which trials ran: software, machine; each once, however many share it",
    )


def downgrade():
    raise NotImplementedError("a backup of the file as it was is beside it")
