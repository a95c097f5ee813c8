"""Projects, groups and trials in a SQLite file, beside the runs that the trials write."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from traininglog.config import setting
from traininglog.errors import StoreNotFound
from traininglog.kept import folder_of
from traininglog.selection import Mode
from traininglog.sql.trials import records
from traininglog.sql.trials.records import Record
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.database.looker import steady
from traininglog.sqlite.file.header import locate
from traininglog.sqlite.log import SQLiteLog
from traininglog.sqlite.sink.recovery import recover


class SQLiteTrials:
    """The records of one file; `traininglog.trials.records.Records` says what each method does.

    Args:
        database: The path of the file, or ``sqlite:///path``; by default the configured store.
        readonly: Never write.
        options: The options of the logs that are opened here; see `SQLiteLog`.

    Raises what `Store` raises for a file that cannot be used.

    """

    def __init__(
        self, database: str | Path | None = None, *, readonly: bool = False, **options: Any
    ) -> None:
        path = database if isinstance(database, Path) else locate(setting("store", database))
        if path is None:
            raise StoreNotFound("a database in memory holds one log: use memory: for trials")
        self.path = path.absolute()
        self.location = f"sqlite:///{self.path}"
        self.artifacts = folder_of(self.path)
        self._options = options
        self._database = Database(
            self.path,
            readonly=readonly,
            create=not readonly,
            allow_network=options.get("allow_network"),
            follows=True,
        )
        try:
            recover(self._database)
        except BaseException:
            self._database.close()
            raise
        self._finalizer = weakref.finalize(self, self._database.close)

    def close(self) -> None:
        """Close the file. Closing it twice does nothing."""
        self._finalizer()

    # -- records ----------------------------------------------------------------------------

    def insert(self, kind: str, record: Record) -> bool:
        """Add a record. Returns False if another one has its UID."""
        with self._database.write() as connection:
            return records.insert_record(connection, kind, record)

    def replace(self, kind: str, record: Record, edit: int) -> bool:
        """Replace a record if it is still at `edit`; return whether it was.

        This is optimistic concurrency: the caller reads the record again after False.
        """
        with self._database.write() as connection:
            return records.replace_record(connection, kind, record, edit)

    @steady
    def get(self, kind: str, uid: str) -> Record | None:
        """Return the record with a UID, or None."""
        with self._database.read() as connection:
            return records.get_record(connection, kind, uid)

    def select(self, kind: str, where: Mapping[str, Sequence[Any]]) -> Iterator[Record]:
        """Yield the records that `where` allows, and perhaps others, the oldest first."""
        with self._database.read(lasting=True) as connection:
            yield from records.select_records(connection, kind, where)

    # -- logs -------------------------------------------------------------------------------

    def new_log(self, **options: Any) -> SQLiteLog:
        """Return a new log, with further options of `SQLiteLog`, such as `created`."""
        return SQLiteLog(self.path, **self._options, **options)

    def open_log(self, uuid: UUID | str, *, readonly: bool = False) -> SQLiteLog:
        """Return the log of a run. Raises `RunNotFound`."""
        if readonly:
            return SQLiteLog(self.path, uuid, readonly=True)
        return SQLiteLog(self.path, uuid, **self._options)

    def resume_log(self, uuid: UUID | str, at: int | None = None) -> SQLiteLog:
        """Return a new log that continues a run. Raises `RunNotFound`."""
        return SQLiteLog(self.path, uuid, resume=True, at=at, **self._options)

    @steady
    def ends(
        self, uuids: Sequence[str], best: Mapping[str, Mode]
    ) -> dict[str, dict[str, tuple[Any, Any]]]:
        """Return the last value of every key, and the best of some, of runs by UUID."""
        if not uuids:
            return {}
        recover(self._database)
        with self._database.read() as connection:
            return records.ends_of_runs(connection, uuids, best)
