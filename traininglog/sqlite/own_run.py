"""The run of an open log in its file: found or added there, taken from others, and let go.

Who writes a run has the lock of its epoch (`owners`), and each who begins to write it begins an
epoch. So a writer from whom the run was taken is told by its next flush: the epoch is not its own.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

from sqlalchemy import Connection

from traininglog.callers import level_of_caller
from traininglog.errors import CorruptLog, RunBusy, RunNotFound, RunTakenOver, TrainingLogWarning
from traininglog.imported import Imported
from traininglog.sql import reading, sound, writing
from traininglog.sqlite.database import Database
from traininglog.sqlite.left import journal_path
from traininglog.sqlite.origin import ended
from traininglog.sqlite.origin import writing as now_writing
from traininglog.sqlite.owners import Owners, writer_byte
from traininglog.sqlite.recovery import changing, displace, mark_displaced, recover_run


class Start(NamedTuple):
    """A run whose lock we have, as it is when we begin to write it."""

    run_id: int
    uuid: UUID
    status: Mapping[str, Any]
    epoch: int = 1
    high_water: int = 0
    keys: Mapping[str, int] | None = None  #: to their numbers
    last: int = -1  #: the last time at which it has anything
    importing: Imported | None = None  #: what was said of it, if it happened elsewhere


class OwnRun:
    """A run, as the log sees it that reads it, and may write it.

    Args:
        database: The file.
        uuid: Of the run.
        takeover: Take the run even from a writer that is alive.
        durable: Wait for the disk with every transaction.

    """

    def __init__(self, database: Database, uuid: UUID, *, takeover: bool, durable: bool) -> None:
        self.database = database
        self.uuid = uuid
        self.run_id: int | None = None  #: None: not in the file yet
        self.parent: tuple[UUID, int] | None = None  #: of a child that is not in the file yet
        self.held = False  #: whether it is this log that writes it
        self.epoch = 0
        self.kept = False  #: whether something names it: if we made it, it must not vanish again
        self.durable = durable
        self.imported: Imported | None = None  #: what is said of the next run that is added
        self.importing: Imported | None = None  #: what was said of this one, if it was added so
        self._until: float | None = None  # its latest mark, or when it began
        self.owners = None if database.path is None else Owners.of(database.path)
        self._takeover = takeover
        self._new_locks: list[int] = []

    def write(self, patience: float | None = None) -> AbstractContextManager[Connection]:
        """Give a connection for a transaction that changes the run."""
        return self.database.write(durable=self.durable, patience=patience)

    # -- becoming its writer ----------------------------------------------------------------

    @contextmanager
    def locking(self) -> Iterator[None]:
        """Keep, of the locks that are taken in here, that of the run we then write."""
        self._new_locks = []
        try:
            yield
        finally:
            for byte in self._new_locks:
                mine = self.held and byte == writer_byte(self.run_id or 0, self.epoch)
                if self.owners is not None and not mine:
                    self.owners.release(byte)
            self._new_locks = []

    def add(
        self, connection: Connection, uuid: UUID, status: Mapping[str, Any],
        parent: tuple[UUID, int] | None,
    ) -> Start:  # fmt: skip
        """Add a run to the file; nobody ever sees it without its writer."""
        said = self.imported
        number = writing.add_run(connection, uuid, status, parent, self._origin(said))
        if said is not None:
            writing.begin_import(connection, number, said.created)
        self._lock(writer_byte(number, 1))
        return Start(number, uuid, status, importing=said)

    def be_born(self, connection: Connection, status: Mapping[str, Any]) -> Start:
        """Put a child that is not in the file yet there."""
        assert self.parent is not None  # noqa: S101
        require_run(connection, self.database, self.parent[0])
        return self.add(connection, self.uuid, status, self.parent)

    def take(self) -> Start:
        """Begin an epoch of the run. Raises `RunBusy`, `RunNotFound`."""
        run_id = self.run_id
        assert run_id is not None  # noqa: S101
        if self.owners is None:
            return self._begin_epoch(run_id, None)
        if not self._takeover:
            # At once, and not only once nobody else is changing whose the run is.
            with self.database.read() as connection:
                row = require_run(connection, self.database, self.uuid)
            if self.owners.is_written(row):
                self._refuse_busy(row)
        with changing(self.owners, run_id):
            # Another process may have written the run, and been killed, since this log opened.
            recover_run(self.database, self.owners, run_id)
            return self._begin_epoch(run_id, self.owners)

    def _begin_epoch(self, run_id: int, owners: Owners | None) -> Start:
        with self.write() as connection:
            row = require_run(connection, self.database, self.uuid)
            epoch = row.epoch + 1
            if not sound.is_epoch(epoch):
                raise CorruptLog(
                    f"run {self.uuid.hex} is said to have been opened {row.epoch} times, and can "
                    "be opened no more; see `traininglog check`, or resume it as a new run"
                )
            displaced = None
            if owners is not None:
                if owners.is_written(row):
                    if not self._takeover:
                        self._refuse_busy(row)
                    assert self.database.path is not None  # noqa: S101
                    tail = journal_path(self.database.path, self.uuid, row.epoch)
                    displaced = displace(connection, run_id, tail, row.high_water)
                    row = require_run(connection, self.database, self.uuid)
                self._lock(writer_byte(run_id, epoch))
            now = {"epoch": epoch, "outcome": None, "opened": time.time()}
            writing.update_run(connection, run_id, now | self._origin(self.importing))
            if self.importing is None:
                writing.end_import(connection, run_id, row.last_time)
            else:  # another log of this process may have written it meanwhile
                writing.begin_import(connection, run_id, None)
            keys = reading.read_run_keys(connection, run_id)
            status = reading.read_status(connection, run_id)
        if displaced is not None:
            mark_displaced(*displaced)
        last = -1 if row.last_time is None else row.last_time
        return Start(
            run_id, self.uuid, status, epoch, row.high_water, keys, last, self.importing
        )  # fmt: skip

    def _origin(self, said: Imported | None) -> dict[str, Any]:
        found = now_writing(None if self.owners is None else self.owners.identity)
        return found if said is None or said.host is None else found | {"host": said.host}

    def updated(self, now: float, marks: Mapping[int, float]) -> dict[str, Any]:
        """Return what the table of runs says of when it was written last, with some more marks."""
        if self.importing is None:
            return {"updated": now}
        known = [*marks.values(), *([] if self._until is None else [self._until])]
        self._until = max(known, default=None)
        return {"epoch": self.epoch} if self._until is None else {"updated": self._until}

    def ended(self, outcome: str) -> dict[str, Any]:
        """Return what the table of runs says once it has ended: as it ended where it happened."""
        found, said = ended(outcome), self.importing
        if said is None:
            return found
        if outcome == "finished" and said.outcome is not None:
            found["outcome"] = None if said.outcome == "lost" else said.outcome
        if said.host is not None:  # there is no such process there
            found |= {"pid": None, "boot_id": None, "command": None, "versions": None}
        return found

    def _lock(self, byte: int) -> None:
        if self.owners is None:
            return
        self._new_locks.append(byte)
        if not self.owners.hold(byte):
            warnings.warn(
                f"another process holds the lock of a run in {self.database.name}-owners: until it "
                "lets go of it, processes that cannot see this one (in other containers) take the "
                "run for lost",
                TrainingLogWarning,
                stacklevel=level_of_caller(),
            )

    def renew(self) -> None:
        """Hold the lock, if it was lost: somebody may have deleted the file that has it."""
        if self.held and self.owners is not None:
            self.owners.renew()

    def _refuse_busy(self, row: Any) -> NoReturn:
        raise RunBusy(
            f"run {self.uuid.hex} is being written by process {row.pid} on {row.host} since "
            f"{_moment(row.opened)} (last flush {_moment(row.updated)}): look at it with "
            "readonly=True, or go on from it as a new run, with resume(); if that process hangs, "
            "takeover=True takes the run from it"
        )

    def become(self, start: Start) -> None:
        """Be a run whose lock we have; it is `held` once all is ready to write it."""
        self.run_id, self.uuid, self.parent = start.run_id, start.uuid, None
        if start.importing is not self.importing:
            self.importing = start.importing
            self._until = None if start.importing is None else start.importing.created
        self.imported = None
        self.epoch = start.epoch

    # -- being it, and no longer ------------------------------------------------------------

    def taken_over(self, connection: Connection) -> RunTakenOver:
        """Return what to raise where the run is at an epoch that is not ours."""
        row = require_run(connection, self.database, self.uuid)
        return RunTakenOver(
            f"run {self.uuid.hex} was taken over by process {row.pid} on {row.host} at "
            f"{_moment(row.opened)}: what this log had assigned and not flushed becomes a run "
            "of its own when it is closed; open the run anew, or resume it, to go on"
        )

    def let_go(self) -> None:
        """Be its writer no longer."""
        assert self.run_id is not None  # noqa: S101
        if self.owners is not None:
            self.owners.release(writer_byte(self.run_id, self.epoch))
        self.held = False


def require_run(connection: Connection, database: Database, uuid: UUID) -> Any:
    """Return the row of a run. Raises `RunNotFound`, and `CorruptLog` for one nobody wrote."""
    row = writing.find_run(connection, uuid.hex)
    if row is None:
        raise RunNotFound(f"{database.name} holds no run {uuid.hex}; was it deleted?")
    return sound.require_run(row)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "seconds")
