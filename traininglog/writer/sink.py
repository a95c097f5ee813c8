"""The seam between a writer and a store: what a store has to do so that logs can write to it.

A writer keeps what is assigned in the journal of its run. From there it goes to a *sink*, a batch
at a time. A `Sink` has four methods, and is all that a writer knows of a store. A `Reader` has four
more, and is all that a reader needs. One object may be both, for all logs of a store: see
`traininglog.journaled`. Each call names the run that it is about.

Every error of a sink is one of three:

* *later*: it may pass, as a store that cannot be reached or a disk that is full. The batch stays in
  the journal and is saved again. Whatever is none of the other two counts as such.
* *fenced*: `RunTakenOver`. Another writer has begun a later epoch of the run.
* *refused*: the store will never take it (`RunNotFound`, `CorruptLog`, `SchemaTooNew`, ...).

A sink runs in the owner thread of its store, and may block there. One that waits for longer than
some 50 ms sleeps by `traininglog.waiting.pause`, so that those who assign do not wait with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from time import time as wall_now
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from traininglog.clock import Clock
from traininglog.columns import Column
from traininglog.encoding import from_cell
from traininglog.errors import (
    CorruptLog,
    ForkedLog,
    LogClosed,
    NotATrainingLog,
    RunNotFound,
    RunTakenOver,
    SchemaTooNew,
    SchemaTooOld,
)
from traininglog.imported import Imported, check_moment
from traininglog.journal.gaps import DROPPED
from traininglog.journal.record import Batch, changed_status
from traininglog.lineage import BEFORE_ALL
from traininglog.values import check_time

#: How a run ended; None: its writer only stops, and it may be written again.
Outcome = Literal["finished", "failed"] | None

Verdict = Literal["later", "fenced", "refused"]

_REFUSED = (
    RunNotFound, CorruptLog, NotATrainingLog, SchemaTooNew, SchemaTooOld, ForkedLog, LogClosed,
)  # fmt: skip


def verdict(error: BaseException) -> Verdict:
    """Return which of the three kinds an error of a sink is."""
    if isinstance(error, RunTakenOver):
        return "fenced"
    return "refused" if isinstance(error, _REFUSED) else "later"


class Lease(NamedTuple):
    """The right to write a run, as it was given to one writer."""

    run: UUID
    epoch: int  #: the fencing epoch: a later one ends the lease


class Birth(NamedTuple):
    """A run that a writer begins to write."""

    uuid: UUID
    #: Of a new run, what it begins with; None: the run is there already.
    status: Mapping[str, Any] | None = None
    parent: UUID | None = None
    at: int | None = None  #: up to which time it sees its parent
    #: What is said of it, if it happened elsewhere. None where such a run is begun again: from now
    #: on it is written as it happens, and when its earlier rows were logged stays unknown.
    imported: Imported | None = None
    #: Whether the run that was written before may vanish, if nobody has used it.
    replaces: bool = False
    #: Of the run that was written before by this writer. It ends as finished in the same step.
    ends: Lease | None = None
    #: When it began, in unix seconds, if its store hears of it only later; None: now.
    began: float | None = None

    @property
    def created(self) -> float:
        """When the run was made, in unix seconds."""
        said = None if self.imported is None else self.imported.created
        return next((each for each in (said, self.began) if each is not None), wall_now())

    def facts(self) -> dict[str, Any]:
        """Return what its journal says of it until the store knows it, without the status."""
        said = self.imported or Imported(None, None, None)
        return {
            "parent": self.parent and self.parent.hex, "at": self.at, "began": self.began,
            "created": said.created, "host": said.host, "outcome": said.outcome,
        }  # fmt: skip

    @classmethod
    def of(cls, uuid: UUID, facts: Mapping[str, Any], status: Mapping[str, Any]) -> Birth:
        """Return what a journal told of by `facts`.

        Raises `ValueError`, `TypeError` or `LookupError` for what no writer can have said.
        """
        parent, at, began = facts["parent"], facts["at"], facts["began"]
        if not (at is None or at == BEFORE_ALL):
            check_time(at)
        if began is not None:
            check_moment(began, "began")
        imported = Imported.of(facts["created"], facts["host"], facts["outcome"])
        return cls(
            uuid, dict(status), None if parent is None else UUID(parent), at, imported, began=began
        )


class Start(NamedTuple):
    """A run as it is when its writer begins an epoch of it."""

    epoch: int  #: the fencing epoch: one more than that of the writer before, and 1 at first
    position: int  #: up to where the store has what is in its journal, in bytes of records
    keys: Mapping[str, int]  #: to their numbers
    status: Mapping[str, Any]


class Saving:
    """A batch, and what goes with it in one atomic step.

    Args:
        run: The run.
        epoch: Of its writer; a store that knows of a later one raises `RunTakenOver`.
        position: Up to where the store has everything after it; None: as before.
        read: Reads the batch out of the journal.
        names: The keys of the run, by their numbers.
        gap: What to say in the status of values that had to be left out; None: nothing.
        final: Whether no other batch follows soon.
        outcome: How the run ends with it.
        wall: When the last of it was assigned, in unix seconds; None: just now.
        imported: Whether it happened elsewhere, at a time that only its marks tell.

    """

    def __init__(
        self, run: UUID, epoch: int, position: int | None, read: Callable[[], Batch],
        names: Mapping[int, str], gap: list[dict[str, int]] | None = None, *,
        final: bool = False, outcome: Outcome = None, wall: float | None = None,
        imported: bool = False,
    ) -> None:  # fmt: skip
        self.run = run
        self.epoch = epoch
        self.position = position
        self.names = names
        self.gap = gap
        self.final = final
        self.outcome = outcome
        self.wall = wall
        self.imported = imported
        self._read = read

    @cached_property
    def batch(self) -> Batch:
        """Keys, columns of numbers, other entries, changes of the status, marks.

        It is read when it is asked for: a sink that has to wait for its store does so first.
        """
        return self._read()

    def rows(self) -> dict[int, dict[str, Any]]:
        """Return what was assigned, by time and key, `HIDDEN` where it was deleted."""
        names = self.names
        return {
            time: {names[number]: from_cell(cell) for number, cell in row.items()}
            for time, row in self.batch.rows.items()
        }

    def marks(self) -> dict[int, float]:
        """Return when the run had got to which time, in unix seconds: to the last one by now."""
        times = self.batch.times()
        if times is None or self.imported:
            return self.batch.marks
        return {times[1]: wall_now() if self.wall is None else self.wall} | self.batch.marks

    def changed(self, status: Mapping[str, Any]) -> dict[str, Any]:
        """Return the status that the run has with the batch, given the one that it had before."""
        found = changed_status(status, [self.batch])
        return found if self.gap is None else found | {DROPPED: self.gap}

    def without_batch(self) -> Saving:
        """Return the rest of it, for a store that has the batch already."""
        return Saving(
            self.run, self.epoch, None, Batch, self.names, self.gap, final=self.final,
            outcome=self.outcome, wall=self.wall, imported=self.imported,
        )  # fmt: skip


class Sink(Protocol):
    """Where a writer saves the runs of one log, one run at a time.

    Each method can be called again after it raised an error, or after its answer was lost, and does
    nothing twice: a run is known by its UUID, a batch by the position at which it ends. `patience`
    is how many seconds to wait for others at the most; None is as long as the store sees fit.
    """

    #: The most bytes of journal that go into one batch.
    most_bytes: int

    def begin(self, birth: Birth, *, takeover: bool, patience: float | None) -> Start:
        """Begin an epoch of a run, which is made first if it is new.

        A run that is there already though it is to be made was made by the same call before, whose
        answer was lost. Its epoch is still the first.

        Args:
            birth: The run.
            takeover: Take it even from a writer that lives.
            patience: How long to wait for others.

        Raises `RunBusy` if another writer that lives has it, and `RunNotFound`, also for a parent.

        """

    def save(self, saving: Saving, *, patience: float | None) -> None:
        """Save a batch in one atomic step that also moves the position of the run."""

    def renew(self, lease: Lease | None, *, durable: bool) -> float | None:
        """Hold the lease of a run that is being written.

        Args:
            lease: Of the run; None: this log writes none.
            durable: Wait until all that was saved survives a power cut.

        Returns:
            In how many seconds to call this again, if nothing is saved by then; None: never.

        """

    def end(self, lease: Lease, outcome: Outcome, *, patience: float | None) -> None:
        """End writing a run: note how it ended, if it did, and let go of its lease."""


class StoredRun(NamedTuple):
    """A run, as its store has it."""

    uuid: UUID
    parent: UUID | None
    at: int | None  #: up to which time it sees its parent; None at a root
    epoch: int  #: of the writer that saved last, or has begun to write it
    position: int  #: up to where the store has what is in the journal of that epoch
    keys: Mapping[str, int] = {}  #: those it has itself, to their numbers


class Reader(Protocol):
    """What is read of the runs of a store. It sees what sinks have saved."""

    def runs(self, run: UUID | None = None) -> Iterable[StoredRun]:
        """Give the runs, in the order in which they were made; or one run, if it is there."""

    def columns(self, run: UUID, keys: Iterable[str] | None = None) -> list[Column]:
        """Return what a run itself wrote under some keys (None: all), in the order of its keys.

        Ancestors are left out. A value is `HIDDEN` where the run deleted what it inherits.
        """

    def status(self, run: UUID) -> dict[str, Any]:
        """Return the status of a run, in the order in which its keys were first set."""

    def clock(self, run: UUID) -> Clock:
        """Return when a run was made, and when it had got to which time, as one `Marks`.

        A run that happened elsewhere has a last mark that says `UNKNOWN`: at `MAX_TIME` while it is
        written so, and at its last time once it is begun again as a run that happens here.
        """


class LogStore(Sink, Reader, Protocol):
    """A store of one's own: the eight methods, and two attributes.

    A store may have one method more, ``version(run)``: something that differs from before whenever
    anything was saved of a run or of those that it was resumed from. With it, what was read once is
    not read again as long as nobody has written.

    Its methods are called by the owner thread, which writes, and by any thread that reads.
    """

    #: Its URL, without credentials.
    location: str
    #: The file beside which journals lie, see `traininglog.journaled.spool_of`; None: in memory.
    spool: Path | None
