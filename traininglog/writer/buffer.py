"""The write buffer: it takes assignments to a run, and keeps them until a flush saves them.

Most assignments take the hot path, one call that appends to the open region of the journal. Any
thread takes it, and goes on to the next region by itself. What the hot path refuses goes to the
owner thread: it gives a new key its number, opens regions, and makes the journal at the first
assignment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from traininglog.errors import InvalidKey, StoreFailed, StoreUnwritable
from traininglog.journal.bulk import MOST_KEYS
from traininglog.journal.gaps import DROPPED, Gaps
from traininglog.journal.journal import Journal
from traininglog.journal.record import (
    COUNT_HEAD,
    FLOAT_HEAD,
    INT_HEAD,
    pack_birth,
    pack_counter,
    pack_entries,
    pack_float,
    pack_int,
    pack_key,
    pack_mark,
    pack_status,
)
from traininglog.journal.region import Region
from traininglog.journal.tail import ASLEEP, NO_ROW, Tail
from traininglog.writer.health import Health
from traininglog.writer.lifetimes import close_with_worker
from traininglog.writer.sink import Birth, Start

Rows = dict[int, dict[str, Any]]

#: Returns how many values an assignment has, and its first and last time.
Span = Callable[[], tuple[int, int | None, int | None]]

#: Makes an assignment in the owner thread, as the writer of the run.
Ask = Callable[[Callable[[], None], Span], None]

# The most regions that are open in advance, in a run that fills them faster than they are flushed.
_MOST_AHEAD = 6

#: Whether one call into C is atomic. Without the interpreter lock it is not: then the owner thread
#: makes each assignment.
ATOMIC = bool(getattr(sys, "_is_gil_enabled", lambda: True)())


class Place(NamedTuple):
    """Where the journals of a store are."""

    beside: Path  #: the file whose mode and owner a journal gets
    path: Callable[[UUID, int], Path]  #: of the journal of a run, in an epoch


class Snapshot(NamedTuple):
    """The regions and the status at one moment. A new snapshot replaces it; it never changes."""

    regions: tuple[Region, ...]  #: the oldest first; the last ones may be open
    status: Mapping[str, Any] | None  #: the status that the store has; None: it is not known here


class Undelivered(NamedTuple):
    """The rest of a run that this log no longer writes, and that its store does not have whole."""

    uuid: UUID
    epoch: int
    journal: Journal | None  #: None: nothing was assigned to the run
    names: Mapping[int, str]
    gaps: list[dict[str, int]] | None
    birth: Birth | None  #: None: the store has heard of it


class Buffer:
    """The assignments of one log that its store does not have yet.

    Args:
        name: The name of the store, for people.
        health: The errors and warnings that an assignment raises.
        ask: Makes an assignment in the owner thread.
        nudge: Tells the owner thread that there is much to flush.
        place: Where the journal is. None: in memory, so that it dies with the process.
        most_bytes: The most bytes of the journal.

    """

    def __init__(
        self, name: str, health: Health, *, ask: Ask, nudge: Callable[[], None],
        place: Place | None, most_bytes: int,
    ) -> None:  # fmt: skip
        self.tail = ASLEEP
        self.numbers: dict[str, int] = {}  #: the keys of the run -> heads of their records
        self.names: dict[int, str] = {}  #: their numbers -> the keys
        self.gaps = Gaps()
        self.snapshot = Snapshot((), None)
        self.position = 0  #: the position up to which the store has everything
        self.used = False  #: whether this log has assigned anything to the run
        self.uuid = UUID(int=0)  #: of the run
        self.epoch = 0  #: the fencing epoch of its writer
        self._name = name
        self._health = health
        self._ask = ask
        self._nudge = nudge
        self._place = place
        self._most_bytes = most_bytes
        self._ahead = 1
        self._last_number = 0
        self._journal: Journal | None = None  # made with the first assignment

    # -- assignments: any thread, any signal handler ----------------------------------------

    def assign(self, at: int, key: str, value: Any) -> None:
        """Write one value."""
        if self._health.notice is not None:
            self._health.tell(self.uuid)
        tail: Tail | None = self.tail
        while tail is not None:
            head = tail.numbers.get(key)
            if head is None:
                break
            with suppress(ValueError):
                tail.write(_pack_one(head, at, value, next(tail.tags)))
                return
            tail = self._after(tail)
        self._ask(lambda: self._put({at: {key: value}}), lambda: (1, at, at))

    def write(self, rows: Rows) -> None:
        """Write values as one record; `HIDDEN` removes the value at its place."""
        if any(rows.values()):
            self._ask(lambda: self._put(rows), lambda: _span(rows))

    def write_row(self, at: int, row: dict[str, Any]) -> None:
        """Write the values of one time as one record: faster than `write`, same effect."""
        if not row:
            return
        tail: Tail | None = self.tail
        with suppress(KeyError):
            while tail is not None:
                with suppress(ValueError):
                    if tail.write_row(at, row):
                        return
                    break
                tail = self._after(tail)
        self.write({at: row})

    def write_status(self, values: dict[str, Any]) -> None:
        """Write values of the status; `HIDDEN` removes one."""
        if self._health.notice is not None:
            self._health.tell(self.uuid)
        pack = partial(pack_status, values)
        if not self._append(pack):
            self._ask(lambda: self._force(pack), lambda: (1, None, None))

    def write_mark(self, at: int, wall: float) -> None:
        """Write a mark: when the run had got to a time."""
        pack = partial(pack_mark, at, wall)
        if not self._append(pack):
            self._ask(lambda: self._force(pack), lambda: (1, at, at))

    def write_count(self, key: str, value: int) -> None:
        """Write an int of the status that changes often, as a counter does."""
        if self._health.notice is not None:
            self._health.tell(self.uuid)
        if not self._append_count(key, value):
            self._ask(lambda: self._put_count(key, value), lambda: (1, None, None))

    def _append(self, pack: Callable[[int], bytes]) -> bool:
        """Append a record to the journal; return whether there was room."""
        tail: Tail | None = self.tail
        while tail is not None:
            record = pack(next(tail.tags))
            with suppress(ValueError):
                tail.write(record)
                return True
            tail = self._after(tail)
        return False

    def _append_count(self, key: str, value: int) -> bool:
        """Append a count, whose key has a number of its own in each region; see `_append`."""
        tail: Tail | None = self.tail
        while tail is not None:
            with suppress(ValueError):
                head = tail.counters.get(key)
                if head is None:
                    number = next(tail.new_counters)
                    # There may be room for the name only. A name without a count is harmless.
                    tail.write(pack_counter(number, key, next(tail.tags)))
                    head = tail.counters[key] = number + COUNT_HEAD
                tail.write(pack_int(head, 0, value, value, 0, head, next(tail.tags)))
                return True
            tail = self._after(tail)
        return False

    def _after(self, tail: Tail) -> Tail | None:
        """Return the tail after one that has no room, or None if the owner thread has to be asked.

        The full tail is stopped first. Else a small record would still fit into it, and would count
        as older than what other threads have written to the next one by then.
        """
        following = tail.next
        if following is None:
            newest = self.tail
            return None if newest is tail else newest
        tail.stop()
        self.tail = following  # another thread may set it back; then it comes here again
        if not tail.rests:
            self._nudge()
        return following

    # -- assignments: the owner thread ------------------------------------------------------

    def begin(self, uuid: UUID, start: Start, status: Mapping[str, Any] | None) -> None:
        """Start over for a run that this log begins to write."""
        names = {number: name for name, number in start.keys.items()}
        self.names = names
        self.numbers = {name: number + FLOAT_HEAD for number, name in names.items()}
        self.gaps = Gaps(start.status)
        self.position = start.position
        self.used = False
        self.uuid, self.epoch = uuid, start.epoch
        self._last_number = max(names, default=0)
        self._publish(dict(start.status) if status is None else status)

    def note_birth(self, birth: Birth) -> None:
        """Write the facts of a run into its journal, for a store that has not heard of it yet."""
        if self._place is not None:
            self._force(partial(pack_birth, birth.facts()))
            self._force(partial(pack_status, birth.status or {}))

    def _put(self, rows: Rows) -> None:
        self._go_there()
        entries = [
            (at, self._number(key), value) for at, row in rows.items() for key, value in row.items()
        ]
        if len(entries) == 1:
            at, number, value = entries[0]
            self._add(partial(_pack_one, number + FLOAT_HEAD, at, value))
        else:
            self._add(partial(pack_entries, entries))

    def _put_count(self, key: str, value: int) -> None:
        if not ATOMIC:
            self._force(partial(pack_status, {key: value}))
            return
        self._go_there()
        while not self._append_count(key, value):
            self._open_region(0)

    def _number(self, key: str) -> int:
        """Return the number of a key, and give a new key one."""
        head = self.numbers.get(key)
        if head is not None:
            return head & MOST_KEYS
        number = self._last_number + 1
        if number > MOST_KEYS:
            raise InvalidKey(f"a run may have {MOST_KEYS} keys: put what differs into the value")
        self._add(partial(pack_key, number, key))
        self._last_number, self.names[number] = number, key
        self.numbers[key] = number + FLOAT_HEAD  # last: from now on other threads use the number
        return number

    def _force(self, pack: Callable[[int], bytes]) -> None:
        """Append a record to the journal, and open regions until one has room."""
        self._go_there()
        self._add(pack)

    def _add(self, pack: Callable[[int], bytes]) -> None:
        """Append a record as `_force` does, once `_go_there` was called for the same request."""
        while not (self._append(pack) if ATOMIC else self._append_here(pack)):
            self._open_region(len(pack(0)))

    def _go_there(self) -> None:
        """Set the tail to the open region: another thread may have set it back to an older one."""
        if self._journal is not None and self._journal.open:
            self._publish_tail(self._journal.tail)

    def _append_here(self, pack: Callable[[int], bytes]) -> bool:
        """Append a record where no other thread appends."""
        for region in [] if self._journal is None else self._journal.open:
            with suppress(ValueError):
                region.tail.write(pack(next(region.tail.tags)))
                return True
        return False

    def _open_region(self, need: int) -> None:
        """Open a region with room for a record of `need` bytes, and mostly more in advance."""
        journal = self._journal
        first = journal is None
        if journal is None:
            journal = self._journal = self._make_journal()
            self._ahead = 1
        elif journal.open:  # the assignments are faster than the flushes
            self._ahead = min(_MOST_AHEAD, 2 * self._ahead)
        for region in journal.open:
            region.tail.stop()
        tail = journal.begin(need)
        self.used = True
        if self.gaps.current is not None:
            told = {DROPPED: self.gaps.described(self.gaps.current)}
            tail.write(pack_status(told, next(tail.tags)))
            self.gaps.end()
        if journal.in_memory and journal.path is not None:
            self._warn_of_memory(journal.path)
        self._publish(self.snapshot.status)
        if not first:  # else the next flush does it; a run that ends before needs none
            self.open_ahead()
        self._publish_tail(tail)

    def open_ahead(self) -> None:
        """Open regions behind the current one, where there is room."""
        journal = self._journal
        if journal is None or not ATOMIC:
            return
        with suppress(StoreFailed, OSError, MemoryError):  # an assignment that needs one asks
            while journal.open and len(journal.open) <= self._ahead:
                journal.begin()
                self._publish(self.snapshot.status)

    def close_at(self, moment: float) -> None:
        """Make assignments ask from a moment on, where no owner thread flushes by itself."""
        if self._journal is not None:
            for region in self._journal.open:
                region.tail.close_at(moment)

    def _publish_tail(self, tail: Tail) -> None:
        if ATOMIC:
            self.tail = tail  # last: the hot path does not ask the owner thread

    def _publish(self, status: Mapping[str, Any] | None) -> None:
        journal = self._journal
        regions = () if journal is None else (*journal.waiting, *journal.open)
        self.snapshot = Snapshot(tuple(each for each in regions if not each.gone), status)

    def _warn_of_memory(self, path: Path) -> None:
        if self._health.may_warn_of("memory"):
            self._health.warn_of("memory", (
                f"{path} has no room for what is assigned (is the disk full, or `ulimit -n` too "
                "low?): it is kept in memory, where a kill would lose it, until it is in "
                f"{self._name}"
            ))  # fmt: skip

    def _make_journal(self) -> Journal:
        close_with_worker()
        path = beside = None
        if self._place is not None:
            beside, path = self._place.beside, self._place.path(self.uuid, self.epoch)
        try:
            return Journal(
                path, beside, self.uuid, self.epoch, self.position, self.numbers,
                self._most_bytes,
            )  # fmt: skip
        except OSError as error:
            kind = StoreUnwritable if isinstance(error, PermissionError) else StoreFailed
            reason = error.strerror or error
            raise kind(
                f"{path} cannot be made ({reason}); it keeps what is assigned until it is "
                f"in {self._name}. Make its folder writable, or use durability='buffered'"
            ) from error

    def leave_out(self, count: int, first: int | None, last: int | None) -> None:
        """Record assignments as dropped, in the gap that the status will tell."""
        begins = self.gaps.current is None
        gap = self.gaps.add(count, first, last)
        journal = self._journal
        regions = [] if journal is None else [*journal.waiting, *journal.open]
        if regions:
            regions[-1].note_gap(gap)
        if begins:
            self._health.warn_of("gap", (
                f"{self._name} cannot be written and the journal is full: values are left out from "
                f"time {gap[1]} on (on_full='drop'); status['{DROPPED}'] will tell which"
            ))  # fmt: skip

    # -- flushing: the owner thread ---------------------------------------------------------

    @property
    def has_records(self) -> bool:
        """Whether there is anything to flush."""
        return self._journal is not None and not self._journal.idle

    @property
    def is_urgent(self) -> bool:
        """Whether more than the current region waits for a flush."""
        journal = self._journal
        if journal is None:
            return False
        return bool(journal.waiting) or any(region.has_records for region in journal.open[1:])

    @property
    def waiting(self) -> list[Region]:
        """The regions at rest, the oldest first."""
        return [] if self._journal is None else self._journal.waiting

    @property
    def volatile(self) -> bool:
        """Whether some of the journal would not outlive the process."""
        return self._journal is not None and self._journal.volatile

    def take(self) -> list[Region]:
        """Close the written regions, and return all regions to flush, the oldest first."""
        journal = self._journal
        if journal is None:
            return []
        self.open_ahead()  # first: assignments go on there
        journal.rest()
        self._publish_tail(journal.tail)
        self._publish(self.snapshot.status)
        return journal.waiting

    def be_slow(self) -> None:
        """Open few regions in advance from now on: there are few assignments."""
        self._ahead = 1

    def forget_rows(self) -> None:
        """Drop the rows in the tails: a row refers to its log, and would keep it alive."""
        if self._journal is not None:
            for region in self._journal.open:
                region.tail.row = NO_ROW

    def saved(self, regions: list[Region], status: Mapping[str, Any] | None) -> None:
        """Free the oldest regions, which the store now has; `status` is the one it has."""
        journal = self._journal
        if regions:
            self.position = max(self.position, regions[-1].end)
        if journal is None:
            self._publish(status)
            return
        gone = {id(region) for region in regions}
        kept = (*(each for each in journal.waiting if id(each) not in gone), *journal.open)
        self.snapshot = Snapshot(kept, status)  # first: readers find the others in the store by now
        journal.recycle(regions)
        if journal.vanished and not journal.waiting:
            self._replace(journal)
            return
        if journal.idle:
            journal.trim()
        if not journal.open:
            self.tail = ASLEEP
        self.open_ahead()

    def _replace(self, journal: Journal) -> None:
        """Replace a journal whose file was deleted; the next assignment makes another."""
        journal.rest(whole=True)
        self.tail = ASLEEP
        if journal.waiting:  # another thread has assigned meanwhile: that is flushed first
            self._publish(self.snapshot.status)
            return
        self._journal = None
        journal.leave()
        self._publish(self.snapshot.status)
        self._health.warn_of("deleted", (
            f"somebody deleted {journal.path}, which keeps what is assigned until it is in "
            f"{self._name}: nothing is lost, and another one is made"
        ))  # fmt: skip

    def shut(self) -> None:
        """Close all regions, so that the next assignment has to ask the owner thread."""
        self.tail = ASLEEP
        if self._journal is not None:
            self._journal.rest(whole=True)
            self._publish(self.snapshot.status)

    # -- the end: the owner thread ----------------------------------------------------------

    def end(self) -> None:
        """Remove the journal: all of it is in the store."""
        journal = self._drop()
        if journal is not None:
            journal.remove()

    def detach(self, birth: Birth | None) -> Undelivered:
        """Return what is left to save of a run that this log stops writing; it was shut before."""
        gap = self.gaps.current
        told = None if gap is None else self.gaps.described(gap)
        journal = self._drop()
        return Undelivered(self.uuid, self.epoch, journal, self.names, told, birth)

    def leave(self) -> None:
        """Leave the journal behind: the next process that opens the store recovers it."""
        journal = self._drop()
        if journal is not None:
            journal.leave()

    def forget(self) -> None:
        """Drop everything in a forked child: the journal is the parent's."""
        journal = self._drop()
        if journal is not None:
            journal.forget()

    def _drop(self) -> Journal | None:
        journal, self._journal = self._journal, None
        self.tail, self.snapshot = ASLEEP, Snapshot((), None)
        return journal


def _pack_one(head: int, at: int, value: Any, tag: int) -> bytes:
    """Pack one value, under a key whose records of floats have this head."""
    if type(value) is float:
        return pack_float(head, at, value, value, at, head, tag)
    if type(value) is int:
        head += INT_HEAD - FLOAT_HEAD
        return pack_int(head, at, value, value, at, head, tag)
    return pack_entries([(at, head & MOST_KEYS, value)], tag)


def _span(rows: Rows) -> tuple[int, int, int]:
    return sum(map(len, rows.values())), min(rows), max(rows)
