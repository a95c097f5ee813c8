"""`FileLog`: a training log in the JSON document, in memory while it is open.

What is assigned goes at once to the run's tail, a file beside the document, so that it survives the
process; a flush puts it into the document. See `traininglog.jsonfile.tail` for who may write it.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from time import time as wall_now
from typing import Any, Literal
from uuid import UUID

from traininglog.base import TrainingLogBase
from traininglog.callers import level_of_caller
from traininglog.encoding import HIDDEN
from traininglog.errors import (
    ForkedLog,
    LogClosed,
    ReadOnlyLog,
    RunNotFound,
    StoreFailed,
    TrainingLogWarning,
)
from traininglog.imported import Ending, Imported
from traininglog.jsonfile.cells import from_json, hides, to_json
from traininglog.jsonfile.changes import apply
from traininglog.jsonfile.document import Contents, Document
from traininglog.jsonfile.reading import Stamp
from traininglog.jsonfile.tail import Tail, read_changes
from traininglog.lineage import new_status, new_uuid
from traininglog.memory.layers import Layer, log_of
from traininglog.values import check_uuid
from traininglog.wrapping import LogAround

Rows = dict[int, dict[str, Any]]


class FileLog(LogAround):
    """A run in the document.

    Args:
        document: The document.
        uuid: The run to open; by default a new one.
        readonly: Never write.
        created: When a new run began, if it happened elsewhere; see `SQLiteLog`.
        host: Where it ran.
        outcome: How it ended.

    Raises `RunNotFound`.

    """

    def __init__(
        self, document: Document, uuid: UUID | str | None = None, *, readonly: bool = False,
        created: float | datetime | None = None, host: str | None = None,
        outcome: Ending | None = None,
    ) -> None:  # fmt: skip
        imported = Imported.of(created, host, outcome)
        if imported is not None and uuid is not None:
            raise ValueError("created, host and outcome are said of a new run: leave out the UUID")
        self._document = document
        self._readonly = readonly
        self._pid = os.getpid()
        self._lock = threading.RLock()
        if uuid is None:
            run = new_uuid()
            with document.changing() as contents:
                contents["logs"][run.hex] = _new_run(None, None, new_status(), imported)
        else:
            run = check_uuid(uuid)
            if not (readonly or document.readonly):
                _take_over_left(document, run.hex)
        self._load(run)

    def _load(self, run: UUID) -> None:
        """Read a run and its ancestors, tails included, and be a log of it."""
        document = self._document
        said: list[str] = []
        with document.locked():
            self._stamp: Stamp | None = document.stamp()
            contents = document.read()
            layers = layers_of(document, contents, run.hex, said)
        self._tail = Tail.of(document.path, run.hex)
        self._memory = log_of(layers)
        LogAround.__init__(self, self._memory)
        self._walls = dict(layers[-1].walls)
        self._claimed = False
        _warn(said)

    # -- writing ------------------------------------------------------------------------------

    def _check_writable(self) -> None:
        if self.closed:
            raise LogClosed("the log is closed; open the run again by its UUID to go on")
        if self._readonly:
            raise ReadOnlyLog(f"run {self.h_uuid} was opened for reading only")
        if os.getpid() != self._pid:
            raise ForkedLog("this log was opened before the process was forked; open it anew")

    def _claim(self) -> None:
        """Become the writer of the run: this is the first assignment.

        Raises `RunBusy` if another process is. One may have been since the log was opened; then
        what it wrote is read first.
        """
        tail = self._tail
        tail.claim()
        if tail.is_held and (not tail.is_empty or self._document.stamp() != self._stamp):
            if not tail.users:
                _put(self._document, tail)
            self._load(self.uuid)
        self._claimed = True
        tail.users[id(self)] = self

    def _append(self, change: Mapping[str, Any]) -> None:
        if not self._claimed:
            self._claim()
        self._tail.append(dict(change))

    def _write(self, rows: Rows) -> None:
        self._check_writable()
        with self._lock:
            now = wall_now()
            cells = {t: {k: to_json(v) for k, v in row.items()} for t, row in rows.items()}
            self._append({"wall": now, "rows": cells})
            self._inner._write(rows)
            walls = {time: self._walls.setdefault(time, now) for time in rows}
            self._memory._run.set_walls(walls)
        self._tell()

    def _write_status(self, values: dict[str, Any]) -> None:
        self._check_writable()
        with self._lock:
            self._append({"status": {key: to_json(value) for key, value in values.items()}})
            self._inner._write_status(values)
        self._tell()

    def _write_mark(self, time: int, wall: float) -> None:
        self._check_writable()
        with self._lock:
            self._append({"wall": wall, "mark": str(time)})
            self._inner._write_mark(time, wall)
        self._tell()

    def _tell(self) -> None:
        """Warn of what went wrong, once what was to be done is done."""
        said = self._tail.said
        if said:
            self._tail.said = []
            _warn(said)

    # -- flushing and closing -----------------------------------------------------------------

    def flush(self) -> None:
        """Put into the document what was assigned."""
        self._inner.flush()
        if self._claimed:
            self._check_writable()
            with self._lock:
                _put(self._document, self._tail)
            self._tell()

    commit = flush

    def _close(self, outcome: Literal["finished", "failed"]) -> None:
        if self.closed:
            return
        if os.getpid() == self._pid:
            self.flush()
            self._leave()
        self._inner._close(outcome)

    def _leave(self) -> None:
        """Write the run no more, which was flushed: others may."""
        with self._lock:
            if self._claimed:
                self._claimed = False
                self._tail.users.pop(id(self), None)
                if not self._tail.users:
                    self._tail.let_go(remove=self._tail.is_empty)

    def _fork(self, parent: UUID, at: int, status: dict[str, Any]) -> None:
        self._check_writable()
        self.flush()
        run = new_uuid()
        with self._document.changing() as contents:
            if parent.hex not in contents["logs"]:
                raise RunNotFound(f"{self._location()} holds no run {parent.hex}")
            contents["logs"][run.hex] = _new_run(parent.hex, at, status)
        self._leave()
        self._inner.close()
        self._load(run)

    def _location(self) -> str:
        return f"file:{self._document.path}"

    def __reduce__(self) -> Any:
        return _restored, (str(self._document.path), self.state_dict())


def _restored(path: str, state: dict[str, Any]) -> FileLog:
    log = FileLog(Document(Path(path)), state["uuid"], readonly=True)
    log._readonly = False
    log.load_state_dict(state)
    return log


def _new_run(
    parent: str | None, at: int | None, status: Mapping[str, Any], imported: Imported | None = None
) -> dict[str, Any]:
    created, more = wall_now(), {}
    if imported is not None:
        created = created if imported.created is None else imported.created
        more = {"imported": {"host": imported.host, "outcome": imported.outcome}}
    return more | {
        "resumed_from": parent,
        "resumed_at": at,
        "status": {key: to_json(value) for key, value in status.items()},
        "created": created,
        "columns": {},
        "walls": {},
    }


def run_of(log: TrainingLogBase) -> dict[str, Any]:
    """Return what a log sees as a run of a document."""
    clock = log._read_clock(lineage=True)
    own = {key: value for key, value in log.status.items() if key != "resumed_from"}
    # Its rows were logged when its marks say so, and not now.
    imported = Imported(clock.created, None, None)
    found = _new_run(None, None, own | {"resumed_from": None}, imported)
    for column in log._read_columns(None, None, None, lineage=True):
        cells = zip(column.times, column.values, strict=True)
        found["columns"][column.key] = {str(int(time)): to_json(value) for time, value in cells}
    found["marks"] = {
        str(time): wall
        for run in clock.runs
        for time, wall in zip(run.times, run.walls, strict=True)
        if 0 <= time <= run.cut and wall >= 0
    }
    return found


# -- tails and the document -------------------------------------------------------------------


def _take_over_left(document: Document, uuid: str) -> None:
    """Put into the document what a process that is gone left in the tail of a run."""
    tail = Tail.of(document.path, uuid)
    try:
        left = not tail.users and tail.take(create=False)
    except OSError:  # it is read all the same, if it can be; who assigns is told
        return
    if left:
        try:
            _put(document, tail)
        finally:
            if not tail.users:
                tail.let_go(remove=tail.is_empty)
        said, tail.said = tail.said, []
        _warn(said)


def _put(document: Document, tail: Tail) -> None:
    """Put what is in a tail of ours into the document, and only then empty it.

    If the process is killed in between, it is done again, to no effect. Raises `StoreFailed`,
    besides what `Document.changing` and `Tail.require` raise; the tail is as it was then.
    """
    with document.locked():
        if tail.is_empty or document.is_changing:  # the latter: it is done at the next flush
            return
        tail.require()
        changes = tail.changes()
        with document.changing() as contents:
            run = contents["logs"].get(tail.uuid)
            if run is None:
                raise StoreFailed(
                    f"{document.path} does not hold run {tail.uuid} any more: it was replaced "
                    f"while the run is being written. What was assigned last is in {tail.path}; "
                    "put the document back, and flush again"
                )
            apply(run, changes.changes)
        if changes.flaw is not None:
            tail.said.append(changes.flaw)
        tail.clear(damaged=changes.flaw is not None)


def layers_of(
    document: Document, contents: Contents, uuid: str, said: list[str] | None = None
) -> list[Layer]:
    """Return what a run and its ancestors wrote, the root first, tails included.

    Args:
        document: The document, which is locked.
        contents: What is in it; the tails are applied to it.
        uuid: The run.
        said: Gets what could not be read, for people.

    Raises `RunNotFound`, also for an ancestor that is missing.
    """
    logs = contents["logs"]
    chain: list[str] = []
    following: str | None = uuid
    while following is not None:
        if following not in logs:
            raise RunNotFound(f"file:{document.path} holds no run {following}")
        chain.append(following)
        following = logs[following]["resumed_from"]
    layers = []
    for one in reversed(chain):
        changes = read_changes(document.path, one)
        apply(logs[one], changes.changes)
        if changes.flaw is not None and said is not None:
            said.append(changes.flaw)
        layers.append(_layer(one, logs[one]))
    return layers


def _layer(uuid: str, run: dict[str, Any]) -> Layer:
    rows: Rows = {}
    for key, column in run["columns"].items():
        for time, cell in column.items():
            rows.setdefault(int(time), {})[key] = HIDDEN if hides(cell) else from_json(cell)
    status = {key: from_json(cell) for key, cell in run["status"].items()}
    walls, marked = (
        {int(time): wall for time, wall in run.get(name, {}).items()} for name in ("walls", "marks")
    )
    said = run.get("imported")
    imported = None if said is None else Imported(None, said.get("host"), said.get("outcome"))
    return Layer(
        UUID(uuid), run["resumed_at"], list(run["columns"]), rows, status, run["created"], walls,
        marked, imported,
    )  # fmt: skip


def _warn(said: Iterable[str]) -> None:
    """Warn whoever called this package."""
    level = level_of_caller()
    for message in said:
        warnings.warn(message, TrainingLogWarning, stacklevel=level)
