"""When to seal what of a run, and how its writer does so with what it has at hand."""

from __future__ import annotations

import mmap
import os
import sqlite3
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from traininglog.journal.bulk import MOST_KEYS, Arrays, Numbers
from traininglog.sql import compaction, segments, writing
from traininglog.sql.runs.totals import total_up
from traininglog.sql.segments import RunKeys

if TYPE_CHECKING:
    from traininglog.journal.record import Batch
    from traininglog.packing import Points

#: A writer seals once it has so many numbers for each key of the run, ...
ENOUGH = 1024

#: ... but not before it has so many, and not later than when it has so many, in all.
FEWEST, MOST = 8_192, 131_072

# As long as a program does without NumPy, only so many numbers are worth the import.
_WORTH_IMPORTING = 50_000

# In a run that is closed, for good perhaps, fewer are.
_WORTH_IMPORTING_LAST = 5_000

# After sealing so many times, small segments are gathered.
_MANY = 16

# A key with fewer numbers than this waits: later it will have more.
_LEAST = 128

# What an import of NumPy needs, by far: so many file descriptors, and so many bytes.
_DESCRIPTORS_TO_IMPORT = 8
_BYTES_TO_IMPORT = 2**27


def attempt(connection: Connection, act: Callable[[], object]) -> Exception | None:
    """Do something in the midst of a transaction; if it fails, undo that alone, and return why.

    Errors of the database itself are raised: they are those of the transaction.
    """
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - an open connection has one
    raw.execute("SAVEPOINT attempt")
    try:
        act()
    except (DBAPIError, sqlite3.Error):
        raise
    except Exception as error:
        if not raw.in_transaction:  # SQLite had no memory, and has undone all of it
            raise
        raw.execute("ROLLBACK TO attempt")
        raw.execute("RELEASE attempt")
        return error
    raw.execute("RELEASE attempt")
    return None


def require_room_to_import() -> None:
    """Raise `OSError` if an import of NumPy would fail for want of descriptors or memory.

    One that fails halfway cannot always be done again: NumPy refuses to be loaded twice. The
    program that logs would then be without NumPy until it ends.
    """
    if "numpy" in sys.modules:
        return
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    mmap.mmap(-1, _BYTES_TO_IMPORT, flags=flags, prot=mmap.PROT_READ).close()  # touches none of it
    probes: list[int] = []
    try:
        probes.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(_DESCRIPTORS_TO_IMPORT))
    finally:
        for probe in probes:
            os.close(probe)


def seal_run(connection: Connection, row: Any) -> int:
    """Seal a run, given as its row, and note its totals; return how many values were moved."""
    require_room_to_import()
    moved = compaction.seal(connection, row.id, row.uuid)
    total_up(connection, row.id)
    return moved


def seal_in_the_end(connection: Connection, row: Any) -> None:
    """Seal a run whose writer leaves it, unless there is so little that it is not worth NumPy."""
    if "numpy" in sys.modules or compaction.has_numbers(connection, row.id, _WORTH_IMPORTING_LAST):
        seal_run(connection, row)
    elif not segments.spans(connection, row.id):
        total_up(connection, row.id)


class Sealer:
    """Decides which numbers of a run become entries as they are flushed, and which segments.

    A flush of many becomes segments at once. Those of smaller ones become entries, so that others
    see them, and are kept at hand, packed, until there are enough of them: to read them back out
    of the database would take ten times as long as all the rest. Only what comes after everything
    that was in the run before is sealed so; the rest waits for the end of the run.

    Args:
        last: The last time at which the run has anything already; -1 if it has nothing.

    """

    def __init__(self, last: int) -> None:
        self._floor = last  # up to here, anything may be anywhere
        self._held = Numbers()  # after it: the numbers that are entries
        self._others = -1  # after it: the last time of an entry that is no number
        self._sealed = 0  # times, since small segments were gathered
        self._next: tuple[int, Numbers, int, int] | None = None

    def save(
        self, connection: Connection, owner: RunKeys, batch: Batch, *, final: bool = False
    ) -> None:
        """Write the numbers of a batch; with `final`, those at hand will not become more.

        What it did counts when `committed` is called.
        """
        numbers = batch.numbers
        times = [time for time, _ in batch.others if time > self._floor]
        others = max([self._others, *times])
        if len(self._held) + len(numbers) < self._enough(len(owner.names), final=final):
            held = Numbers()
            held.extend(self._held)
            held.extend(numbers)
            writing.save_numbers(connection, owner.run_id, numbers.flat())
            self._next = (self._floor, held, others, self._sealed)
        else:
            floor = self._seal(connection, owner, numbers, over=others >= 0, final=final)
            sealed = self._sealed + 1
            if sealed == _MANY:
                compaction.gather(connection, owner)
                sealed = 0
            self._next = (max(floor, others), Numbers(), -1, sealed)

    def committed(self) -> None:
        """Take what `save` did last for done."""
        if self._next is not None:
            self._floor, self._held, self._others, self._sealed = self._next
            self._next = None

    def leave(self, batch: Batch) -> None:
        """Take it that all so far, and a batch, became entries: to seal them has failed.

        Counts when `committed` is called. They are sealed in the end, or by whoever asks for it.
        """
        spans = [span for span in (self._held.span(), batch.times()) if span is not None]
        last = max(self._floor, self._others, *(last for _, last in spans))
        self._next = (last, Numbers(), -1, self._sealed)

    def _enough(self, keys: int, *, final: bool) -> int:
        loaded = "numpy" in sys.modules
        if final:
            return compaction.LEAST if loaded else _WORTH_IMPORTING_LAST
        enough = min(max(keys * ENOUGH, FEWEST), MOST)
        return enough if loaded else max(enough, _WORTH_IMPORTING)

    def _seal(
        self,
        connection: Connection,
        owner: RunKeys,
        fresh: Numbers,
        *,
        over: bool,
        final: bool,
    ) -> int:
        """Move what is at hand to segments; return up to which time anything may be anywhere."""
        require_room_to_import()
        import numpy as np

        whole = Numbers()
        whole.extend(self._held)
        whole.extend(fresh)
        before = len(self._held)
        arrays = whole.arrays()
        codes, times = arrays.codes, arrays.times
        after = times > self._floor
        found = _by_key(arrays.part(after), compaction.LEAST if final else _LEAST)
        # What stays, or may have to take the place of something that is no number, is an entry.
        chosen = after & np.isin(codes & MOST_KEYS, list(found))
        stays = np.ones(len(codes), bool) if over else ~chosen
        stays[:before] = False  # those are entries already
        if stays.any():
            writing.save_numbers(connection, owner.run_id, arrays.part(stays).flat())
        if found and (over or before):
            low, high = self._floor + 1, int(times.max())
            # Bools are not among those at hand.
            segments.delete_numbers(connection, owner.run_id, low, high, found, bools=False)
        if final:
            there = compaction.outline(connection, owner.run_id)
            for key_id, points in found.items():
                compaction.lay(connection, owner, key_id, points, there.get(key_id, []))
        else:
            segments.save_points(connection, owner, found.items())
        return max(self._floor, int(times.max(initial=-1)))


def _by_key(numbers: Arrays, least: int) -> dict[int, Points]:
    """Return numbers by key, ascending, of those keys that have enough of them."""
    import numpy as np

    from traininglog.packing import Points, joined

    keys = numbers.codes & MOST_KEYS
    order = np.argsort(keys, kind="stable")
    keys, (codes, times, words) = keys[order], numbers.part(order)
    borders = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    found = {}
    for start, stop in pairwise([0, *borders.tolist(), len(keys)]):
        if stop - start >= least:
            part = slice(start, stop)
            kinds = (codes[part] >> 24).astype(np.uint8)
            found[int(keys[start])] = joined([Points(times[part], kinds, words[part])])
    return found
