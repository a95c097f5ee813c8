"""Schema migrations. Only this module imports Alembic; it is imported when a migration is due."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import traininglog


def schema_folder() -> Path:
    """Return the folder of the Alembic environment: in an installed package, or beside a checkout.

    It is found by path, not as a package: PyPI has an unrelated package named `schema`.
    """
    package = Path(traininglog.__file__).parent
    for folder in (package / "schema", package.parent / "schema"):
        if (folder / "env.py").is_file():
            return folder
    raise FileNotFoundError(f"the migrations are missing beside {package}; reinstall traininglog")


def configuration(connection: Connection | None = None) -> Config:
    """Return the Alembic configuration, for an open connection."""
    config = Config()
    config.set_main_option("script_location", str(schema_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Upgrade the schema to a revision, inside the caller's transaction."""
    command.upgrade(configuration(connection), revision)


def check(connection: Connection) -> None:
    """Raise if the tables in the database differ from the metadata."""
    command.check(configuration(connection))


def revisions() -> list[str]:
    """Return all revisions, oldest first."""
    scripts = ScriptDirectory.from_config(configuration())
    return [script.revision for script in scripts.walk_revisions()][::-1]
