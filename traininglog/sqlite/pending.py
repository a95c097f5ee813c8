"""What was assigned to a run and is not in the file yet: how it is taken in and waits for a flush.

An assignment goes to the tail journal, and counts as made. Most take the short way, one call that
writes to the open region. What that refuses is done as the writer of the run: a new key gets its
number, a new region is opened, the first assignment makes the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from traininglog.errors import InvalidKey, StoreFailed, StoreUnwritable
from traininglog.sqlite.flusher import INTERVAL
from traininglog.sqlite.gaps import DROPPED, Gaps
from traininglog.sqlite.journal import Journal
from traininglog.sqlite.left import journal_path
from traininglog.sqlite.locks import Locks
from traininglog.sqlite.numbers import MOST_KEYS
from traininglog.sqlite.own_run import OwnRun, Start
from traininglog.sqlite.processes import close_with_worker
from traininglog.sqlite.records import (
    COUNT_HEAD,
    FLOAT_HEAD,
    INT_HEAD,
    pack_counter,
    pack_entries,
    pack_float,
    pack_int,
    pack_key,
    pack_mark,
    pack_status,
)
from traininglog.sqlite.regions import Region
from traininglog.sqlite.tail import ASLEEP
from traininglog.sqlite.troubles import Troubles

# How long a region is open, in seconds, while nobody flushes and nothing can be flushed.
_LONG = 5.0

Rows = dict[int, dict[str, Any]]

#: Assigns something. It may raise `JournalFull`, having done nothing.
Act = Callable[[], None]

#: Tells what that would assign: how much, from which to which time.
Span = Callable[[], tuple[int, int | None, int | None]]


class Pending:
    """What one log has assigned to its run and is not in the file yet.

    Args:
        run: The run.
        locks: Of the open run.
        troubles: What to tell those who assign.
        act_as_writer: Does something as the writer of the run, at once or later.
        wake: Told when there is something to flush; whether that is urgent, by `now`. Returns
            whether somebody will.
        in_file: Whether the journal is to be a file; else what is assigned dies with the process.
        most_bytes: How large the journal may become.

    """

    def __init__(
        self, run: OwnRun, locks: Locks, troubles: Troubles, *,
        act_as_writer: Callable[[Act, Span], None], wake: Callable[..., bool], in_file: bool,
        most_bytes: int,
    ) -> None:  # fmt: skip
        self.tail = ASLEEP
        self.numbers: dict[str, int] = {}  #: the keys of the run -> heads of their records
        self.names: dict[int, str] = {}  #: their numbers -> the keys
        self.gaps = Gaps()
        self._run = run
        self._locks = locks
        self._troubles = troubles
        self._act_as_writer = act_as_writer
        self._wake = wake
        self._in_file = in_file
        self._most_bytes = most_bytes
        self._last_number = 0
        self._named: tuple[int, str] | None = None  # a key that may be in the journal already
        self._high_water = 0
        self._journal: Journal | None = None  # made with the first assignment

    def begin(self, start: Start) -> None:
        """Be that of a run that we begin to write. In `Locks.state`."""
        self.names = {number: name for name, number in (start.keys or {}).items()}
        self._last_number, self._named = max(self.names, default=0), None
        self.numbers = {name: number + FLOAT_HEAD for number, name in self.names.items()}
        self.gaps = Gaps(start.status)
        self._high_water = start.high_water

    # -- assignments ------------------------------------------------------------------------

    def assign(self, at: int, key: str, value: Any) -> None:
        """Take one value."""
        if self._troubles.notice is not None:
            self._troubles.tell(self._run.uuid)
        tail = self.tail
        head = tail.numbers.get(key)
        if head is not None:
            if type(value) is float:
                record = pack_float(head, at, value, value, at, head, next(tail.tags))
            elif type(value) is int:
                head += INT_HEAD - FLOAT_HEAD
                record = pack_int(head, at, value, value, at, head, next(tail.tags))
            else:
                record = pack_entries([(at, head & MOST_KEYS, value)], next(tail.tags))
            with suppress(ValueError):
                tail.write(record)
                return
        self._act_as_writer(lambda: self._put({at: {key: value}}), lambda: (1, at, at))

    def write(self, rows: Rows) -> None:
        """Take values, as one step; `HIDDEN` removes what is seen at its place."""
        if any(rows.values()):
            self._act_as_writer(lambda: self._put(rows), lambda: _span(rows))

    def write_row(self, at: int, row: dict[str, Any]) -> None:
        """Take the values of one time, as one step: what `write` does, in a hurry."""
        if not row:
            return
        with suppress(KeyError, ValueError):
            if self.tail.write_row(at, row):
                return
        self.write({at: row})

    def write_status(self, values: dict[str, Any]) -> None:
        """Take values of the status; `HIDDEN` removes one."""
        if self._troubles.notice is not None:
            self._troubles.tell(self._run.uuid)
        tail = self.tail
        if tail is not ASLEEP:
            with suppress(ValueError):
                tail.write(pack_status(values, next(tail.tags)))
                return
        self._act_as_writer(
            lambda: self._append(lambda tag: pack_status(values, tag)), lambda: (1, None, None)
        )

    def write_mark(self, at: int, wall: float) -> None:
        """Take when the run had got to a time."""
        self._act_as_writer(
            lambda: self._append(lambda tag: pack_mark(at, wall, tag)), lambda: (1, at, at)
        )

    def write_count(self, key: str, value: int) -> None:
        """Take an int for the status, which will be set to others soon, as counters are."""
        self._act_as_writer(lambda: self._put_count(key, value), lambda: (1, None, None))

    def _put_count(self, key: str, value: int) -> None:
        while True:
            tail = self.tail
            head = tail.counters.get(key)
            if head is None and tail is not ASLEEP:
                number = len(tail.counters) + 1
                # There may be room for the count alone, which says little.
                with suppress(ValueError):
                    tail.write(pack_counter(number, key, next(tail.tags)))
                    head = tail.counters[key] = number + COUNT_HEAD
            if head is not None:
                with suppress(ValueError):
                    tail.write(pack_int(head, 0, value, value, 0, head, next(tail.tags)))
                    return
            self._open_region(0)

    def _put(self, rows: Rows) -> None:
        entries = [
            (at, self._number(key), value) for at, row in rows.items() for key, value in row.items()
        ]
        if len(entries) == 1:
            at, number, value = entries[0]
            head = number + (FLOAT_HEAD if type(value) is float else INT_HEAD)
            if type(value) is float:
                self._append(lambda tag: pack_float(head, at, value, value, at, head, tag))
                return
            if type(value) is int:
                self._append(lambda tag: pack_int(head, at, value, value, at, head, tag))
                return
        self._append(lambda tag: pack_entries(entries, tag))

    def _number(self, key: str) -> int:
        """Return the number of a key, which may be new."""
        while (head := self.numbers.get(key)) is None:
            # The last one first, if an exception of a signal handler came after it was written.
            number, name = self._named = self._named or (self._last_number + 1, key)
            if number > MOST_KEYS:
                self._named = None
                raise InvalidKey(
                    f"a run may have {MOST_KEYS} keys: put what differs into the value"
                )
            try:
                self._append(partial(pack_key, number, name))
            except StoreFailed:  # there is no room for it
                self._named = None
                raise
            self._last_number, self.names[number], self._named = number, name, None
            self.numbers[name] = number + FLOAT_HEAD
        return head & MOST_KEYS

    def _append(self, pack: Callable[[int], bytes]) -> None:
        """Put a record where it outlives this process; only then is an assignment made."""
        while True:
            tail = self.tail
            record = pack(next(tail.tags))
            if tail is not ASLEEP:
                with suppress(ValueError):
                    tail.write(record)
                    return
            self._open_region(len(record))

    def _open_region(self, need: int) -> None:
        journal = self._journal
        if journal is None:
            journal = self._journal = self._make_journal()
        journal.rest()
        self.tail = ASLEEP
        journal.begin(need)
        if self.gaps.current is not None:
            told = {DROPPED: self.gaps.described(self.gaps.current)}
            journal.tail.write(pack_status(told, next(journal.tail.tags)))
            self.gaps.end()
        self._run.kept = True
        if not self._wake(now=bool(journal.waiting)):
            # So that who assigns soon comes by here again, flushes and asks for a thread.
            seconds = INTERVAL if self._troubles.current is None else _LONG
            journal.tail.close_at(monotonic() + seconds)
        if journal.in_memory and journal.path is not None:
            self._warn_of_memory(journal.path)
        self.tail = journal.tail  # last: the short way leads past all this

    def _warn_of_memory(self, path: Path) -> None:
        if self._troubles.may_warn_of("memory"):
            self._troubles.warn_of("memory", (
                f"{path} has no room for what is assigned (is the disk full, or `ulimit -n` too "
                "low?): it is kept in memory, where a kill would lose it, until it is in "
                f"{self._run.database.name}"
            ))  # fmt: skip

    def _make_journal(self) -> Journal:
        close_with_worker()
        run, database = self._run, self._run.database
        path = None
        if self._in_file and database.path is not None:
            path = journal_path(database.path, run.uuid, run.epoch)
        try:
            return Journal(
                path,
                database.path,
                run.uuid,
                run.epoch,
                self._high_water,
                self.numbers,
                self._most_bytes,
            )
        except OSError as error:
            kind = StoreUnwritable if isinstance(error, PermissionError) else StoreFailed
            reason = error.strerror or error
            raise kind(
                f"{path} cannot be made ({reason}); it keeps what is assigned until it is "
                f"in {database.name}. Make its folder writable, or use durability='buffered'"
            ) from error

    def leave_out(self, count: int, first: int | None, last: int | None) -> None:
        """Leave assignments out, and see to it that this can be seen."""
        with self._locks.state, self._locks.changing:
            begins = self.gaps.current is None
            gap = self.gaps.add(count, first, last)
            journal = self._journal
            if journal is not None and journal.waiting:
                journal.waiting[-1].note_gap(gap)
            if begins:
                self._troubles.warn_of("gap", (
                    f"{self._run.database.name} cannot be written and the journal is full: values "
                    f"are left out from time {gap[1]} on (on_full='drop'); status['{DROPPED}'] "
                    "will tell which"
                ))  # fmt: skip
        self._troubles.tell(self._run.uuid)

    # -- flushing it ------------------------------------------------------------------------

    def sleep(self) -> None:
        """Let the next assignment look at how things are."""
        with self._locks.state, self._locks.changing:
            self.tail = ASLEEP  # first, whatever else can be done
            if self._journal is not None:
                self._journal.rest()

    def take(self) -> list[Region]:
        """Let what was assigned rest, and return all that is to be flushed."""
        if self._journal is None:
            return []
        with self._locks.state, self._locks.changing:
            self.sleep()
            return self.waiting

    def regions(self) -> list[tuple[Region, int]]:
        """Return all there is, the oldest first, each with how many bytes of it are written."""
        journal = self._journal
        if journal is None:
            return []
        with self._locks.state:
            regions = journal.waiting[:]
            if journal.current is not None:
                regions.append(journal.current)
            return [(region, region.written) for region in regions]

    @property
    def waiting(self) -> list[Region]:
        """What is at rest, the oldest first."""
        return [] if self._journal is None else self._journal.waiting[:]

    @property
    def volatile(self) -> bool:
        """Whether some of it would not outlive the process."""
        journal = self._journal
        return journal is not None and (journal.path is None or journal.volatile)

    def recycle(self, regions: list[Region]) -> None:
        """Forget the oldest regions, which were committed. In `Locks.changing`."""
        if regions and self._journal is not None:
            self._high_water = max(self._high_water, regions[-1].end)
            self._journal.recycle(sum(region in regions for region in self._journal.waiting))
            if self._journal.vanished and self._journal.idle:
                self._troubles.warn_of("deleted", (
                    f"somebody deleted {self._journal.path}, which keeps what is assigned until it "
                    f"is in {self._run.database.name}: nothing is lost, and another one is made"
                ))  # fmt: skip
                self._drop().leave()

    # -- the end ----------------------------------------------------------------------------

    def end(self) -> bool:
        """Remove the journal if all of it is in the file; tell whether. In `Locks.changing`."""
        if self._journal is not None:
            self._journal.rest()
            if self._journal.idle:
                self._drop().remove()
        self.tail = ASLEEP
        return self._journal is None

    def leave(self) -> None:
        """Leave the journal to whoever opens the file next. In `Locks.changing`."""
        if self._journal is not None:
            self._drop().leave()

    def _drop(self) -> Journal:
        """Have no journal any more, and return it to be closed.

        First: once it is closed, the number of its descriptor may be that of any file.
        """
        journal = self._journal
        assert journal is not None  # noqa: S101
        self.tail, self._journal = ASLEEP, None
        return journal

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return self._journal is not None and not self._journal.idle

    def forget(self) -> None:
        """Have nothing, in a forked child: it is the parent's."""
        if self._journal is not None:
            self._drop().forget()


def _span(rows: Rows) -> tuple[int, int, int]:
    return sum(map(len, rows.values())), min(rows), max(rows)
