"""The interface between a writer and a store: what a store must implement for logs to write to it.

A writer keeps assignments in the journal of its run. From there they go to a *sink*, one batch at a
time. A `Sink` has four methods, and a writer knows nothing else of a store. A `Reader` has four
more, and reading needs nothing else. One object may be both, for all logs of a store: see
`traininglog.journaled`. Each call names its run.

Every error of a sink is one of three:

* *later*: it may pass, as a store that cannot be reached or a disk that is full. The batch stays in
  the journal and is saved again. Every error that is none of the other two counts as this one.
* *fenced*: `RunTakenOver`. Another writer has begun a later epoch of the run.
* *refused*: the store will never take the batch (`RunNotFound`, `CorruptLog`, `SchemaTooNew`, ...).

A sink runs in the owner thread of its store, and may block there. A sink that waits for longer than
some 50 ms sleeps by `traininglog.waiting.pause`, so that assignments do not wait for it.
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
    """The right of one writer to write a run."""

    run: UUID
    epoch: int  #: the fencing epoch: a later one ends the lease


class Birth(NamedTuple):
    """The beginning of a run, or of an epoch of an existing run."""

    uuid: UUID
    #: The first status of a new run. None: the store already has the run.
    status: Mapping[str, Any] | None = None
    parent: UUID | None = None
    at: int | None = None  #: the last time of its parent that it sees
    #: The facts of a run that happened elsewhere. None also if a writer begins it again: from now
    #: on its rows are written as they happen, and the wall times of its earlier rows stay unknown.
    imported: Imported | None = None
    #: Whether the store may remove the run that this writer wrote before, if it was not used.
    replaces: bool = False
    #: The lease of the run that this writer wrote before. It ends as finished in the same step.
    ends: Lease | None = None
    #: When it began, in unix seconds, if its store hears of it only later. None: now.
    began: float | None = None
    #: Whether its parent goes on beside it. Else it stands for its parent from now on.
    variant: bool = False
    #: The run that it accompanies, if it is no experiment of its own.
    part_of: UUID | None = None

    @property
    def created(self) -> float:
        """When the run was made, in unix seconds."""
        said = None if self.imported is None else self.imported.created
        return next((each for each in (said, self.began) if each is not None), wall_now())

    def facts(self) -> dict[str, Any]:
        """Return the facts that its journal keeps until the store knows it, without the status."""
        said = self.imported or Imported(None, None, None)
        return {
            "parent": self.parent and self.parent.hex, "at": self.at, "began": self.began,
            "created": said.created, "host": said.host, "outcome": said.outcome,
            "variant": self.variant, "part_of": self.part_of and self.part_of.hex,
        }  # fmt: skip

    @classmethod
    def of(cls, uuid: UUID, facts: Mapping[str, Any], status: Mapping[str, Any]) -> Birth:
        """Return the birth that a journal describes by `facts`.

        Raises `ValueError`, `TypeError` or `LookupError` for facts that no writer can have written.
        """
        parent, at, began = facts["parent"], facts["at"], facts["began"]
        variant, part_of = facts.get("variant", False), facts.get("part_of")  # younger than others
        if not (at is None or at == BEFORE_ALL):
            check_time(at)
        if began is not None:
            check_moment(began, "began")
        imported = Imported.of(facts["created"], facts["host"], facts["outcome"])
        return cls(
            uuid, dict(status), None if parent is None else UUID(parent), at, imported,
            began=began, variant=variant is True,
            part_of=None if part_of is None else UUID(part_of),
        )  # fmt: skip


class Start(NamedTuple):
    """The state of a run as its writer begins an epoch of it."""

    epoch: int  #: the fencing epoch: one more than that of the writer before, and 1 at first
    position: int  #: the position up to which the store has the journal, in bytes of records
    keys: Mapping[str, int]  #: keys to their numbers
    status: Mapping[str, Any]


class Saving:
    """A batch, and everything that a store saves with it in one atomic step.

    Args:
        run: The run.
        epoch: The epoch of its writer. A store that knows of a later one raises `RunTakenOver`.
        position: The position up to which the store has everything afterwards. None: unchanged.
        read: Reads the batch out of the journal.
        names: The keys of the run, by their numbers.
        gap: What the status says of dropped values. None: nothing.
        final: Whether no other batch follows soon.
        outcome: How the run ends with the batch.
        wall: When the last value was assigned, in unix seconds. None: just now.
        imported: Whether the run happened elsewhere, so that only its marks tell when.

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

        The first access reads it, so a sink that has to wait for its store should wait before that.
        """
        return self._read()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to save."""
        return self.position is None and self.gap is None and self.outcome is None

    def rows(self) -> dict[int, dict[str, Any]]:
        """Return the values of the batch by time and key, `HIDDEN` where one was deleted."""
        return self.batch.values(self.names)

    def marks(self) -> dict[int, float]:
        """Return the marks of the batch by time, in unix seconds.

        Unless the run is imported, the last time of the batch gets a mark of `wall`.
        """
        times = self.batch.times()
        if times is None or self.imported:
            return self.batch.marks
        return {times[1]: wall_now() if self.wall is None else self.wall} | self.batch.marks

    def changed(self, status: Mapping[str, Any]) -> dict[str, Any]:
        """Return the status of the run after the batch, given the one before it."""
        found = changed_status(status, [self.batch])
        return found if self.gap is None else found | {DROPPED: self.gap}

    def without_batch(self) -> Saving:
        """Return the same without the batch and the position, for a store that has the batch."""
        return Saving(
            self.run, self.epoch, None, Batch, self.names, self.gap, final=self.final,
            outcome=self.outcome, wall=self.wall, imported=self.imported,
        )  # fmt: skip


class Sink(Protocol):
    """The half of a store to which a writer saves the runs of one log, one run at a time.

    Every method is idempotent: a writer calls it again after an error, or after its answer was
    lost. A run is known by its UUID, a batch by the position at which it ends. `patience` is the
    most seconds to wait for other writers; None leaves that to the store.
    """

    #: The most bytes of journal that go into one batch.
    most_bytes: int

    def begin(self, birth: Birth, *, takeover: bool, patience: float | None) -> Start:
        """Begin an epoch of a run, and make the run first if it is new.

        If a new run is already there, an earlier call made it and its answer was lost. Its epoch is
        still the first.

        Args:
            birth: The run.
            takeover: Take the run even from a writer that lives.
            patience: The most seconds to wait for other writers.

        Raises `RunBusy` if another writer that lives has the run, and `RunNotFound` if the run or
        its parent is not there.

        """

    def save(self, saving: Saving, *, patience: float | None) -> None:
        """Save a batch in one atomic step that also moves the position of the run."""

    def renew(self, lease: Lease | None, *, durable: bool) -> float | None:
        """Renew the lease of the run that this log writes.

        Args:
            lease: The lease. None: this log writes no run.
            durable: Wait until everything that was saved survives a power cut.

        Returns:
            In how many seconds to call this again, if nothing is saved by then. None: never.

        """

    def end(self, lease: Lease, outcome: Outcome, *, patience: float | None) -> None:
        """Release the lease of a run, and record how the run ended, if it did."""


class StoredRun(NamedTuple):
    """A run, as its store has it."""

    uuid: UUID
    parent: UUID | None
    at: int | None  #: the last time of its parent that it sees; None at a root
    epoch: int  #: of the writer that saved last, or has begun to write it
    position: int  #: the position up to which the store has the journal of that epoch
    keys: Mapping[str, int] = {}  #: its own keys to their numbers


class Reader(Protocol):
    """The half of a store that reads runs. It sees what sinks have saved."""

    def runs(self, run: UUID | None = None) -> Iterable[StoredRun]:
        """Return the runs in the order in which they were made, or one run, if it is there."""

    def columns(self, run: UUID, keys: Iterable[str] | None = None) -> list[Column]:
        """Return what a run itself wrote under some keys (None: all), in the order of its keys.

        The values of its ancestors are left out. A value that the run inherits and deleted is
        `HIDDEN`.
        """

    def status(self, run: UUID) -> dict[str, Any]:
        """Return the status of a run, in the order in which its keys were first set."""

    def clock(self, run: UUID) -> Clock:
        """Return when a run was made, and its marks, as one `Marks`.

        The last mark of a run that happened elsewhere says `UNKNOWN`. It is at `MAX_TIME` while the
        run is imported, and at its last time once a writer begins it again as one of this machine.
        """


class LogStore(Sink, Reader, Protocol):
    """A store that third parties implement: the eight methods, and two attributes.

    A store may have one more method, ``version(run)``. It returns a value that changes whenever
    something was saved of the run or of the runs that it was resumed from. With it, a log does not
    read again what it has read, until a writer saves something.

    The owner thread, which writes, and any thread that reads call these methods.
    """

    #: Its URL, without credentials.
    location: str
    #: The file beside which journals lie, see `traininglog.journaled.spool_of`. None: in memory.
    spool: Path | None
