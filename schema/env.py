"""Alembic's environment: runs migrations on the connection that it is given.

`traininglog.sqlite.file.migrations` gives one, inside its transaction. From the command line, for
the people who write revisions, name a file: ``alembic -x store=runs.db current``.
"""

import os
from pathlib import Path

from alembic import context
from sqlalchemy import create_engine

from traininglog.sql.tables import VERSION_TABLE, metadata


def migrate(connection):
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        compare_type=True,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    store = context.get_x_argument(as_dictionary=True).get("store")
    if store is None:
        raise SystemExit("name the file to work on: alembic -x store=runs.db ...")
    engine = create_engine(f"sqlite:///{Path(os.fspath(store)).absolute()}")
    with engine.begin() as connection:
        migrate(connection)
