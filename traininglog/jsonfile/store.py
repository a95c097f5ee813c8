"""The JSON document as a store of logs: it saves their batches, and reads their runs.

Each batch rewrites the document, which has the journal position of a run beside its values. Values
that are in a journal and not in the document yet are read from the journal, whichever process
writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from traininglog.clock import Clock, Marks
from traininglog.columns import Column
from traininglog.encoding import HIDDEN
from traininglog.errors import RunBusy, RunNotFound, RunTakenOver, StoreFailed, StoreUnwritable
from traininglog.imported import UNKNOWN, Imported
from traininglog.journal.reader import FolderNotListed, journal_path, journals_beside, read_journal
from traininglog.journal.record import Batch
from traininglog.journal.region import REGION
from traininglog.journal.rest import read_rest
from traininglog.journaled.view import ancestry
from traininglog.jsonfile.cells import from_json, hides, to_json
from traininglog.jsonfile.changes import apply, put_row
from traininglog.jsonfile.document import Contents, Document
from traininglog.jsonfile.lease import RunLease
from traininglog.jsonfile.old_tail import OldTail, old_tails, read_old_tail
from traininglog.values import MAX_TIME
from traininglog.writer.sink import Birth, Lease, Saving, Start, StoredRun

Run = dict[str, Any]


class DocumentStore:
    """The runs of a document, for one log; see `traininglog.writer.sink.LogStore`.

    Args:
        document: The document.

    """

    most_bytes = 64 * REGION

    def __init__(self, document: Document) -> None:
        self.document = document
        self.location = f"file:{document.path}"
        self.spool: Path | None = document.path
        #: Warnings for the log to emit.
        self.said: list[str] = []
        self._told: set[str] = set()  # flaws that were already put there
        self._lease: RunLease | None = None  # of the run that this log writes
        self._held: Contents | None = None  # the contents that were read last, never changed
        self._held_stamp: object = None
        self._looked_at: dict[UUID, Run] | None = None  # in a `still` block, the runs read there
        self._lineages: dict[UUID, frozenset[str]] = {}  # the lineages in these contents

    def __reduce__(self) -> Any:
        return _made, (self.document.path, self.document.readonly)

    # -- the sink -----------------------------------------------------------------------------

    def begin(self, birth: Birth, *, takeover: bool, patience: float | None) -> Start:
        """Begin an epoch of a run; see `Sink.begin`. Nobody takes one from a process that lives."""
        lease = RunLease(self.document.path, birth.uuid.hex)
        tail = OldTail(self.document.path, birth.uuid.hex)
        lease.take()
        try:
            tail.take()
            with self.document.changing() as contents:
                run = self._made(contents, birth)
                old = tail.changes()
                if run is None:
                    run = self._required(contents, birth.uuid)
                    apply(run, old.changes)
                    _begin_epoch(run, birth)
                start = Start(run["epoch"], run["position"], _keys(run), _status(run))
            self.said += tail.remove(old)
        except BaseException:
            tail.let_go()
            lease.let_go()
            raise
        if self._lease is not None:
            self._lease.let_go()
        self._lease = lease
        return start

    def _made(self, contents: Contents, birth: Birth) -> Run | None:
        """Make a new run and return it, or the one that an earlier call of this kind has made."""
        if birth.status is None:
            return None
        parent = None if birth.parent is None else birth.parent.hex
        if parent is not None and parent not in contents["logs"]:
            raise RunNotFound(f"{self.location} holds no run {parent}")
        made = new_run(parent, birth.at, birth.status, birth.created, birth.imported)
        found: Run = contents["logs"].setdefault(birth.uuid.hex, made)
        return found

    def _required(self, contents: Contents, run: UUID) -> Run:
        found: Run | None = contents["logs"].get(run.hex)
        if found is None:
            raise RunNotFound(f"{self.location} holds no run {run.hex}")
        return found

    def save(self, saving: Saving, *, patience: float | None) -> None:
        """Save a batch; see `Sink.save`."""
        self.renew(None, durable=False)
        with self.document.changing() as contents:
            run = contents["logs"].get(saving.run.hex)
            if run is None:
                raise StoreFailed(
                    f"{self.document.path} does not hold run {saving.run.hex} any more: it was "
                    "replaced while the run is being written. What was assigned last is in its "
                    "journal; put the document back, and flush again"
                )
            if run.get("epoch", 0) != saving.epoch:
                raise RunTakenOver(f"run {saving.run.hex} is written by another process")
            if saving.position is None or saving.position > run["position"]:
                _put(run, saving)

    def renew(self, lease: Lease | None, *, durable: bool) -> float | None:
        """Renew the lease of a run. Everything that was saved is already on the disk."""
        if self._lease is not None:
            self._lease.renew()
        return None

    def end(self, lease: Lease, outcome: str | None, *, patience: float | None) -> None:
        """Release the lease of a run."""
        held, self._lease = self._lease, None
        if held is not None:
            held.let_go()
        else:  # a dead writer may have left the file of its lease
            RunLease(self.document.path, lease.run.hex).sweep()

    def put_back(self, run: UUID) -> None:
        """Put into the document what an older version left in the tail of a run.

        Also removes the file of a lease that a killed writer has left.
        """
        RunLease(self.document.path, run.hex).sweep()
        tail = OldTail(self.document.path, run.hex)
        with suppress(RunBusy, StoreUnwritable, StoreFailed):  # the first assignment raises that
            tail.take()
        try:
            old = tail.changes()
            if old.changes or old.flaw is not None:
                with self.document.changing() as contents:
                    apply(self._required(contents, run), old.changes)
            self.said += tail.remove(old)
        finally:
            tail.let_go()

    # -- the reader ---------------------------------------------------------------------------

    def runs(self, run: UUID | None = None) -> Iterator[StoredRun]:
        """Yield the runs, or one of them; see `Reader.runs`."""
        logs = self._contents()["logs"]
        for uuid in logs if run is None else [run.hex]:
            found = logs.get(uuid)
            if found is not None:
                parent = found["resumed_from"]
                yield StoredRun(
                    UUID(uuid), None if parent is None else UUID(parent),
                    None if parent is None else found["resumed_at"],
                    found.get("epoch", 0), found.get("position", 0), _keys(found),
                )  # fmt: skip

    def columns(self, run: UUID, keys: Iterable[str] | None = None) -> list[Column]:
        """Return the columns that a run itself wrote; see `Reader.columns`."""
        found = self._seen(run)["columns"]
        columns = []
        for key in found if keys is None else keys:
            cells = sorted((int(time), cell) for time, cell in found.get(key, {}).items())
            if cells:
                values = [HIDDEN if hides(cell) else from_json(cell) for _, cell in cells]
                columns.append(Column(key, [time for time, _ in cells], values))
        return columns

    def status(self, run: UUID) -> dict[str, Any]:
        """Return the status of a run; see `Reader.status`."""
        return _status(self._seen(run))

    def clock(self, run: UUID) -> Clock:
        """Return the marks of a run; see `Reader.clock`."""
        found = self._seen(run)
        said = found.get("imported")
        marks = {int(time): wall for time, wall in found.get("marks", {}).items()}
        if said is None:
            # Older versions have a mark for each row.
            marks = {int(time): wall for time, wall in found.get("walls", {}).items()} | marks
        else:
            until = said.get("until", MAX_TIME)
            marks.setdefault(until, UNKNOWN)
        times = sorted(marks)
        return Clock(found["created"], [Marks(MAX_TIME, times, [marks[time] for time in times])])

    def version(self, run: UUID) -> object:
        """Return a value that changes if any process has written to a run or to an ancestor."""
        try:
            others = {left.uuid.hex for left in journals_beside(self.document.path)}
        except FolderNotListed:
            return object()  # there may be journals
        others |= set(old_tails(self.document.path))
        if self._lease is not None:
            others.discard(self._lease.uuid)
        if others and not others.isdisjoint(self._lineage(run)):
            return object()  # another process may be writing to a journal or an old tail
        return self.document.stamp() or object()

    def _lineage(self, run: UUID) -> frozenset[str]:
        found = self._lineages.get(run)
        if found is None:
            self._contents()  # first: it may forget those of the contents before
            found = self._lineages[run] = frozenset(one.uuid.hex for one in ancestry(self, run))
        return found

    def _contents(self) -> Contents:
        """Return the contents of the document, which the caller must not change."""
        stamp = self.document.stamp()
        if self._held is None or stamp is None or stamp != self._held_stamp:
            self._held, self._held_stamp = self.document.read(), stamp
            self._lineages.clear()
        return self._held

    @contextmanager
    def still(self) -> Iterator[None]:
        """Read each run once in this block, so that its columns, status and clock agree."""
        self._looked_at = {}
        try:
            yield
        finally:
            self._looked_at = None

    def _seen(self, run: UUID) -> Run:
        """Return a run as the document has it, together with the rest of its journal."""
        looked_at = self._looked_at
        if looked_at is None:
            return self._look_at(run)
        if run not in looked_at:
            looked_at[run] = self._look_at(run)
        return looked_at[run]

    def _look_at(self, run: UUID) -> Run:
        if self._lease is not None and self._lease.uuid == run.hex:
            return self._required(self._contents(), run)
        with self.document.locked():
            found = self._required(self._contents(), run)
            old = read_old_tail(self.document.path, run.hex)
            batch, names = self._journaled(run, found)
            self._say_once(old.flaw)
            if not old.changes and not batch.size:
                return found
            mine: Run = _copied(found)
        apply(mine, old.changes)
        # Imported: when the journal was written is not known, but for its own marks.
        _put(mine, Saving(run, mine.get("epoch", 0), None, lambda: batch, names, imported=True))
        return mine

    def _say_once(self, flaw: str | None) -> None:
        if flaw is not None and flaw not in self._told:
            self._told.add(flaw)
            self.said.append(flaw)

    def _journaled(self, run: UUID, found: Run) -> tuple[Batch, Mapping[int, str]]:
        """Return the part of a run's journal that the document lacks, and the names of keys."""
        path = journal_path(self.document.path, run, found.get("epoch", 0))
        try:
            contents = read_journal(path)
        except OSError:
            return Batch(), {}
        rest = read_rest(contents, found.get("position", 0))
        names = {number: key for key, number in _keys(found).items()} | rest.batch.names
        return rest.credible(names).batch, names


def new_run(
    parent: str | None, at: int | None, status: Mapping[str, Any], created: float,
    imported: Imported | None = None,
) -> Run:  # fmt: skip
    """Return a new run as a document has it."""
    more = {}
    if imported is not None:
        more = {"imported": {"host": imported.host, "outcome": imported.outcome}}
    return more | {
        "resumed_from": parent,
        "resumed_at": at,
        "status": {key: to_json(value) for key, value in status.items()},
        "created": created,
        "columns": {},
        "marks": {},
        "epoch": 1,
        "position": 0,
    }


def _made(path: Path, readonly: bool) -> DocumentStore:
    return DocumentStore(Document(path, readonly=readonly))


def _begin_epoch(run: Run, birth: Birth) -> None:
    run["epoch"] = run.get("epoch", 0) + 1
    run.setdefault("position", 0)
    said = run.get("imported")
    if said is not None and birth.imported is None:
        said.setdefault("until", _last_time(run))


def _put(run: Run, saving: Saving) -> None:
    """Put a batch into a run of the document."""
    for _, key in sorted(saving.batch.names.items()):
        run["columns"].setdefault(key, {})
    for time, row in saving.rows().items():
        put_row(run, str(time), {key: to_json(value) for key, value in row.items()})
    status = saving.changed(_status(run))
    run["status"] = {key: to_json(value) for key, value in status.items()}
    run.setdefault("marks", {}).update({str(time): wall for time, wall in saving.marks().items()})
    if saving.position is not None:
        run["position"] = saving.position


def _copied(run: Run) -> Run:
    """Return a copy of a run of a document that the caller may change."""
    columns = {key: dict(column) for key, column in run["columns"].items()}
    parts = {name: dict(run[name]) for name in ("status", "walls", "marks") if name in run}
    return run | parts | {"columns": columns}


def _keys(run: Run) -> dict[str, int]:
    return {key: number for number, key in enumerate(run["columns"], 1)}


def _status(run: Run) -> dict[str, Any]:
    return {key: from_json(cell) for key, cell in run["status"].items()}


def _last_time(run: Run) -> int:
    return max((int(time) for column in run["columns"].values() for time in column), default=0)
