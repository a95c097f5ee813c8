"""Compaction policy: when a writer seals which numbers of its run, from those it has at hand."""

from __future__ import annotations

import mmap
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from traininglog.journal.bulk import MOST_KEYS, Arrays, Numbers
from traininglog.sql import compaction, segments, writing
from traininglog.sql.runs.totals import total_up
from traininglog.sql.segments import RunKeys

if TYPE_CHECKING:
    from traininglog.journal.record import Batch
    from traininglog.packing import Points

#: A writer seals once it has this many numbers for each key of the run, ...
ENOUGH = 1024

#: ... but at least the first and at most the second number of them in all.
FEWEST, MOST = 8_192, 131_072

# While NumPy is not imported, only this many numbers are worth its import.
_WORTH_IMPORTING = 50_000

# At the end of a run, perhaps its last, fewer numbers are worth it.
_WORTH_IMPORTING_LAST = 5_000

# After this many seals, the writer merges small segments.
_MANY = 16

# A key with fewer numbers than this waits: later it will have more.
_LEAST = 128

# Far more file descriptors and bytes than an import of NumPy needs.
_DESCRIPTORS_TO_IMPORT = 8
_BYTES_TO_IMPORT = 2**27


def attempt(connection: Connection, act: Callable[[], object]) -> Exception | None:
    """Call `act` within a transaction; if it fails, undo only that, and return the error.

    Errors of the database itself are raised: they concern the whole transaction.
    """
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - an open connection has one
    raw.execute("SAVEPOINT attempt")
    try:
        act()
    except (DBAPIError, sqlite3.Error):
        raise
    except Exception as error:
        if not raw.in_transaction:  # SQLite ran out of memory, and has rolled back all of it
            raise
        raw.execute("ROLLBACK TO attempt")
        raw.execute("RELEASE attempt")
        return error
    raw.execute("RELEASE attempt")
    return None


def require_room_to_import() -> None:
    """Raise `OSError` if an import of NumPy would fail for want of descriptors or memory.

    An import that fails halfway cannot always be repeated: NumPy refuses to be loaded twice. The
    program would then be without NumPy until it ends.
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


def seal_run(connection: Connection, run_id: int, uuid: str) -> int:
    """Seal a run and note its totals; return how many values were moved."""
    require_room_to_import()
    moved = compaction.seal(connection, run_id, uuid)
    total_up(connection, run_id)
    return moved


def seal_in_the_end(connection: Connection, run_id: int, uuid: str) -> None:
    """Seal a run at its end, unless it has too few numbers to be worth an import of NumPy."""
    if compaction.has_numbers(connection, run_id, _WORTH_IMPORTING_LAST):
        seal_run(connection, run_id, uuid)
    elif "numpy" in sys.modules or not segments.spans(connection, run_id):
        seal_small(connection, run_id, uuid)


def seal_small(connection: Connection, run_id: int, uuid: str) -> None:
    """Seal a small run at its end, for which NumPy is not imported, and note its totals."""
    if "numpy" in sys.modules:
        seal_run(connection, run_id, uuid)
    else:
        total_up(connection, run_id)


class Sealer:
    """Decides which numbers of a flush become entries, and which become segments.

    The numbers of a large flush become segments at once. The numbers of a smaller flush become
    entries, so that other processes see them. The sealer also keeps them at hand, packed, until
    there are enough to seal: reading them back from the database would take ten times as long as
    all the rest. It seals only numbers at times after everything that was in the run before. The
    rest waits for the end of the run.

    Args:
        last: The last time at which the run has anything already; -1 if it has nothing.

    """

    def __init__(self, last: int) -> None:
        if "numpy" in sys.modules:
            # Now, while the caller waits. A signal that interrupts an import of the main thread can
            # leave the lock of all imports held, and a flush that imports would wait for good.
            with suppress(Exception):  # without descriptors, say: sealing then tries it again
                import traininglog.arrays
                import traininglog.packing  # noqa: F401
        self._floor = last  # up to this time, the run may have any entries and segments
        self._held = Numbers()  # the numbers after the floor that are entries
        self._others = -1  # the last time after the floor of an entry that is not a number
        self._sealed = 0  # how often it has sealed since it merged small segments
        self._next: tuple[int, Numbers, int, int] | None = None

    def save(
        self, connection: Connection, owner: RunKeys, batch: Batch, *, final: bool = False
    ) -> None:
        """Write the numbers of a batch; with `final`, no batch follows soon.

        The sealer takes over its new state when `committed` is called.
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

    @property
    def holds_numbers(self) -> bool:
        """Whether it has numbers at hand that are not sealed yet."""
        return len(self._held) > 0

    def committed(self) -> None:
        """Take over the state that `save` or `leave` prepared: the transaction was committed."""
        if self._next is not None:
            self._floor, self._held, self._others, self._sealed = self._next
            self._next = None

    def leave(self, batch: Batch) -> None:
        """Note that all numbers at hand and a batch became entries, because sealing failed.

        The sealer takes over this state when `committed` is called. The end of the run or
        `Store.seal` seals these numbers.
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
        """Move the numbers at hand to segments; return the new floor."""
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
        # A number becomes an entry if it is not sealed, or if it may replace one that is no number.
        chosen = after & np.isin(codes & MOST_KEYS, list(found))
        stays = np.ones(len(codes), bool) if over else ~chosen
        stays[:before] = False  # the held numbers are entries already
        if stays.any():
            writing.save_numbers(connection, owner.run_id, arrays.part(stays).flat())
        if found and (over or before):
            low, high = self._floor + 1, int(times.max())
            # The numbers at hand include no bools.
            segments.delete_numbers(connection, owner.run_id, low, high, found, bools=False)
        if final:
            there = compaction.outline(connection, owner.run_id)
            for key_id, points in found.items():
                compaction.lay(connection, owner, key_id, points, there.get(key_id, []))
        else:
            segments.save_points(connection, owner, found.items())
        return max(self._floor, int(times.max(initial=-1)))


def _by_key(numbers: Arrays, least: int) -> dict[int, Points]:
    """Return the numbers of the keys that have at least `least` of them, by key, ascending."""
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
