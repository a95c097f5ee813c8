"""The seam between a writer and a store: what a store has to do so that logs can write to it.

A writer keeps what is assigned in the journal of its run. From there it goes to a *sink*, a batch
at a time. A `Sink` has four methods, and is all that a writer knows of a store. A `Reader` has four
more, and is all that a reader needs. Both are bound to one store, and a sink to one log.

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
from traininglog.imported import Imported
from traininglog.journal.record import Batch

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


class Birth(NamedTuple):
    """A run that a writer begins to write."""

    uuid: UUID
    #: Of a new run, what it begins with; None: the run is there already.
    status: Mapping[str, Any] | None = None
    parent: UUID | None = None
    at: int | None = None  #: up to which time it sees its parent
    #: What is said of it, if it happened elsewhere.
    imported: Imported | None = None
    #: Whether the run that was written before may vanish, if nobody has used it.
    replaces: bool = False


class Start(NamedTuple):
    """A run as it is when its writer begins an epoch of it."""

    epoch: int  #: the fencing epoch: greater than that of any writer before
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

    """

    def __init__(
        self, run: UUID, epoch: int, position: int | None, read: Callable[[], Batch],
        names: Mapping[int, str], gap: list[dict[str, int]] | None = None, *,
        final: bool = False, outcome: Outcome = None,
    ) -> None:  # fmt: skip
        self.run = run
        self.epoch = epoch
        self.position = position
        self.names = names
        self.gap = gap
        self.final = final
        self.outcome = outcome
        self._read = read

    @cached_property
    def batch(self) -> Batch:
        """Keys, columns of numbers, other entries, changes of the status, marks.

        It is read when it is asked for: a sink that has to wait for its store does so first.
        """
        return self._read()

    def without_batch(self) -> Saving:
        """Return the rest of it, for a store that has the batch already."""
        return Saving(
            self.run, self.epoch, None, Batch, self.names, self.gap, final=self.final,
            outcome=self.outcome,
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

        The run that this sink wrote before, if there is one, ends as finished in the same step.

        Args:
            birth: The run.
            takeover: Take it even from a writer that lives.
            patience: How long to wait for others.

        Raises `RunBusy` if another writer that lives has it, and `RunNotFound`, also for a parent.

        """

    def save(self, saving: Saving, *, patience: float | None) -> None:
        """Save a batch in one atomic step that also moves the position of the run."""

    def renew(self, *, durable: bool) -> float | None:
        """Hold the lease of the run that is being written.

        Args:
            durable: Wait until all that was saved survives a power cut.

        Returns:
            In how many seconds to call this again, if nothing is saved by then; None: never.

        """

    def end(self, outcome: Outcome, *, patience: float | None) -> None:
        """End writing the run: note how it ended, and let go of its lease."""


class Reader(Protocol):
    """What is read of the runs of a store. It sees what sinks have saved."""

    def runs(self) -> list[UUID]:
        """Return the runs, in the order in which they were made."""

    def columns(self, run: UUID, keys: Iterable[str] | None = None) -> list[Column]:
        """Return what a run itself has under some keys (None: all), in the order of its keys."""

    def status(self, run: UUID) -> dict[str, Any]:
        """Return the status of a run."""

    def clock(self, run: UUID) -> Clock:
        """Return when a run had got to which time."""
