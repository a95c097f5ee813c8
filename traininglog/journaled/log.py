"""`JournaledLog`: a log in any store that has the eight methods of a `Sink` and a `Reader`.

The store saves batches and returns what it has. This log does the rest: the journal, the flushes,
the recovery after a kill, the lineage and all of reading. A store can derive from it and override
some of the reading with something faster.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from time import time as wall_now
from typing import Any, Self, Unpack
from uuid import UUID

from traininglog.clock import Clock, Marks
from traininglog.columns import Column, layer_of_rows, overlay
from traininglog.config import Durability, OnFull, settings
from traininglog.encoding import HIDDEN
from traininglog.errors import RunNotFound
from traininglog.identity import About, described
from traininglog.imported import Ending, Imported
from traininglog.journal.reader import journal_path
from traininglog.journaled.recovery import recover
from traininglog.journaled.view import StoredView, ancestry, view_of
from traininglog.lineage import Ancestor, Descent, new_status, new_uuid
from traininglog.selection import bounds
from traininglog.values import MAX_TIME
from traininglog.writer.buffer import Place
from traininglog.writer.log import WriterLog, check_opening, why_readonly
from traininglog.writer.owner import Owner
from traininglog.writer.sink import Birth, LogStore
from traininglog.writer.writer import Writer


class JournaledLog(WriterLog):
    """A training log in a third-party store.

    This object sees an assignment at once. All others see it after a flush, which a thread does
    every quarter of a second. Until then a journal keeps it, also if the process is killed: the
    next log that opens the store on this machine, and may write, puts it into the store. While the
    store cannot be reached, assigning and resuming still work.

    Reading loads what the store has of the run and its ancestors into memory.

    Args:
        store: The store.
        uuid: The run to open; by default a new one.
        resume: Resume the run on opening, at its last time or at `at`.
        at: The resume point; implies `resume`.
        durability: ``"process"``: every assignment survives, also ``kill -9``. ``"buffered"``:
            without the journal that ensures this. ``"power"`` is the same as ``"process"``: more is
            up to the store.
        readonly: Never write.
        takeover: Take the run from a process that is writing it.
        max_value_bytes: The size that one text, bytes, array or container may have.
        max_pending_bytes: The most bytes that may wait while the store cannot be written.
        on_full: What to do with an assignment beyond that: ``"raise"``, or ``"drop"`` it and record
            in ``status["_dropped"]`` how many were dropped, from which to which time.
        created: When the new run began, if it happened elsewhere; see `SQLiteLog`.
        host: Where it ran.
        outcome: How it ended.
        about: ``name``, ``config``, ``tags``, ``notes``, ``groups``; see `SQLiteLog`.

    Raises:
        RunNotFound: The store does not hold the run.
        RunBusy: At the first assignment: another process is writing the run.

    """

    #: Whether a new run waits until the store has it. If not, the journal takes it at once.
    _waits = False

    def __init__(
        self,
        store: LogStore,
        uuid: UUID | str | None = None,
        *,
        resume: bool = False,
        at: int | None = None,
        durability: Durability | None = None,
        readonly: bool = False,
        takeover: bool = False,
        max_value_bytes: int | None = None,
        max_pending_bytes: int | None = None,
        on_full: OnFull | None = None,
        created: float | datetime | None = None,
        host: str | None = None,
        outcome: Ending | None = None,
        **about: Unpack[About],
    ) -> None:
        imported = Imported.of(created, host, outcome)
        wanted, point = check_opening(
            uuid, at, resume=resume, readonly=readonly, takeover=takeover, imported=imported
        )
        options = settings(
            durability=durability, max_pending_bytes=max_pending_bytes, on_full=on_full,
            max_value_bytes=max_value_bytes,
        )  # fmt: skip
        self._about = described(about, options["max_value_bytes"]) if about else {}
        if readonly and self._about:
            raise ValueError(f"{next(iter(self._about))} is written: leave out readonly=True")
        self._start(store, wanted or new_uuid(), options, readonly=readonly, takeover=takeover)
        if wanted is None:
            status = new_status() | self._about
            self._writer.create(Birth(self.uuid, status, imported=imported))
        else:
            self._require(wanted)
            self._writer.open()
        if resume or at is not None:
            self._imported = imported
            self.resume(point)
        if wanted is not None and self._about:
            self.status.update(self._about)

    def _start(
        self, store: LogStore, uuid: UUID, options: dict[str, Any], *, readonly: bool = False,
        takeover: bool = False,
    ) -> None:  # fmt: skip
        self._store = store
        self._options = options
        self._max_value_bytes = options["max_value_bytes"]
        place, spool = None, store.spool
        if spool is not None and not readonly:
            recover(store, spool)
            if options["durability"] != "buffered":
                place = Place(spool, functools.partial(journal_path, spool))
        self._write_through(Writer(
            Owner.of(store.location, store.location), store, uuid, name=self._name_of(store),
            place=place, why_readonly=why_readonly(uuid) if readonly else None, takeover=takeover,
            max_pending_bytes=options["max_pending_bytes"], on_full=options["on_full"],
            waits=self._waits, may_wait=self._may_wait(store),
        ))  # fmt: skip
        self._seen: tuple[object, StoredView] | None = None

    def _require(self, uuid: UUID) -> None:
        if next(iter(self._store.runs(uuid)), None) is None:
            raise RunNotFound(f"{self._store.location} holds no run {uuid.hex}")

    @staticmethod
    def _name_of(store: Any) -> str:
        """Return the name of the store, for people."""
        return str(store.location)

    @staticmethod
    def _may_wait(store: object) -> Callable[[], bool] | None:
        """Return a check that this thread may wait for the owner thread; None: every thread may."""
        return None

    # -- lineage ----------------------------------------------------------------------------

    def lineage(self) -> list[Ancestor]:
        """Return the runs from this one to the root, each with its resume point in its parent.

        A parent that is not in the store is the last one.
        """
        born = self._unstored()
        found = [] if born is None else [Ancestor(self.uuid, born.at)]
        following = self.uuid if born is None else born.parent
        if following is not None:
            for run in ancestry(self._store, following):
                found.append(Ancestor(run.uuid, run.at))
                following = run.parent
        if following is not None:
            found.append(Ancestor(following, None))
        return found

    def _unstored(self) -> Birth | None:
        """Return the birth of the run if the store does not have it."""
        writer = self._writer
        writer.check_readable()
        if writer.is_behind:  # the store lacks rows that this run inherits
            writer.flush()
        return writer.unborn or writer.late

    def _descend(self, descent: Callable[[], Descent]) -> None:
        super()._descend(descent)
        self._seen = None

    # -- reading: the values of the store, and over them the pending ones --------------------
    # The pending ones are read first: a value saved in between is then there twice, not missing.

    def _view(self) -> StoredView:
        """Return the run and its ancestors as the store has them."""
        birth, uuid = self._unstored(), self.uuid
        ask = getattr(self._store, "version", None)
        stored = uuid if birth is None else birth.parent
        version = (uuid, birth, None if ask is None or stored is None else ask(stored))
        if self._seen is None or ask is None or self._seen[0] != version:
            self._seen = version, view_of(self._store, uuid, birth)
        return self._seen[1]

    def _order(self, view: StoredView) -> dict[str, int]:
        """Return the places of all keys in the order in which the log first saw them."""
        keys = dict.fromkeys([*view.log._run.places(), *self._buffer.numbers])
        return {key: place for place, key in enumerate(keys)}

    def _read_status(self) -> dict[str, Any]:
        self._writer.check_readable()
        status = self._read_back.status()
        return self._store.status(self.uuid) if status is None else status

    def _stored_status_value(self, key: str) -> Any:
        return self._store.status(self.uuid).get(key, HIDDEN)

    def _stored_value(self, time: int, key: str) -> Any:
        try:
            return self._view().log._read_value(time, key)
        except KeyError:
            return HIDDEN

    def _read_row(self, time: int) -> dict[str, Any]:
        pending = self._read_back.row(time)
        view = self._view()
        seen = view.log._read_row(time) | pending
        order = self._order(view)
        return {key: seen[key] for key in sorted(seen, key=order.__getitem__)
                if seen[key] is not HIDDEN}  # fmt: skip

    def _read_times(self, start: int | None, stop: int | None) -> list[int]:
        columns = self._read_columns(None, start, stop, lineage=True)
        return sorted({time for column in columns for time in column.times})

    def _read_columns(
        self, keys: list[str] | None, start: int | None, stop: int | None, *, lineage: bool
    ) -> list[Column]:
        pending = layer_of_rows(self._read_back.rows(*bounds(start, stop)).items())
        if keys is not None:
            pending = {key: pending[key] for key in keys if key in pending}
        view = self._view()
        if not lineage and self._writer.unborn is not None:
            return []  # a run that was not made yet has no values
        stored = view.log._read_columns(keys, start, stop, lineage=lineage)
        if not pending:
            return stored
        below = {column.key: (column.raw_times, column.raw_values) for column in stored}
        return overlay([below, pending], self._order(view))

    def _read_clock(self, *, lineage: bool) -> Clock:
        read_back = self._read_back
        pending, marks = read_back.rows(0, MAX_TIME), read_back.marks()
        unborn = self._writer.unborn is not None
        if unborn and not lineage:
            return Clock(None, [])
        clock = self._view().clock
        own = clock.runs[-1]
        created = clock.created if lineage or len(clock.runs) == 1 else self._own_created()
        clock = Clock(created, clock.runs[:] if lineage else [own])
        known = dict(zip(own.times, own.walls, strict=True)) | marks
        last = -1 if self._writer.is_imported else max(pending, default=-1)
        if last > max((time for time in known if time < MAX_TIME), default=-1):
            known[last] = wall_now()
        times = sorted(known)
        if not unborn:
            clock.runs[-1] = Marks(own.cut, times, [known[time] for time in times])
        return clock

    def _own_created(self) -> float | None:
        birth = self._writer.late
        return self._store.clock(self.uuid).created if birth is None else birth.created

    def _read_keys(self) -> list[str]:
        return [column.key for column in self._read_columns(None, None, None, lineage=True)]

    def _last_time(self) -> int | None:
        return max(self._read_times(None, None), default=None)

    # -- elsewhere --------------------------------------------------------------------------

    def _location(self) -> str:
        return self._store.location

    def __reduce__(self) -> Any:
        return type(self)._restored, (self._store, self.state_dict(), self._options)

    @classmethod
    def _restored(cls, store: LogStore, state: dict[str, Any], options: dict[str, Any]) -> Self:
        """Unpickle a log at the point of a state, as a child that is made when first written."""
        log = cls.__new__(cls)
        log._max_value_bytes = options["max_value_bytes"]
        uuid, at, status = log._checked_state(state)
        log._start(store, new_uuid(), options)
        log._require(uuid)
        log._writer.descend_later(Birth(log.uuid, status | {"resumed_from": uuid.hex}, uuid, at))
        return log
