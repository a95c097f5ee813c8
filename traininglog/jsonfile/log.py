"""`FileLog`: a training log in the JSON document, in memory while it is open.

What is assigned goes at once to a file beside the document, ``report.json-tail-<uuid>``, a line of
JSON each, so that it survives the process; a flush takes it over into the document. Whoever opens
the run next reads what a killed process left there.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from time import time as wall_now
from typing import Any, Literal
from uuid import UUID

from traininglog.encoding import HIDDEN
from traininglog.errors import CorruptLog, ForkedLog, LogClosed, ReadOnlyLog, RunNotFound
from traininglog.jsonfile.cells import from_json, to_json
from traininglog.jsonfile.document import Contents, Document
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

    Raises `RunNotFound`.

    """

    def __init__(
        self, document: Document, uuid: UUID | str | None = None, *, readonly: bool = False
    ) -> None:
        self._document = document
        self._readonly = readonly
        self._pid = os.getpid()
        self._tail: int | None = None
        self._lock = threading.RLock()
        if uuid is None:
            run = new_uuid()
            with document.changing() as contents:
                contents["logs"][run.hex] = _new_run(None, None, new_status())
        else:
            run = check_uuid(uuid)
            if not readonly:
                _take_over(document, run.hex)
        self._load(run)

    def _load(self, run: UUID) -> None:
        with self._document.locked():
            contents = self._document.read()
            chain = _chain(contents, run.hex, self._location())
            for uuid in chain:
                _apply(contents["logs"][uuid], _tail_lines(self._document.path, uuid))
        layers = [_layer(uuid, contents["logs"][uuid]) for uuid in chain]
        self._memory = log_of(layers)
        LogAround.__init__(self, self._memory)
        self._walls = dict(layers[-1].walls)

    def _append(self, change: Mapping[str, Any]) -> None:
        if self._tail is not None and not os.fstat(self._tail).st_nlink:
            os.close(self._tail)  # another log here has taken it over meanwhile
            self._tail = None
        if self._tail is None:
            path = tail_path(self._document.path, self.h_uuid)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._tail = os.open(path, flags, 0o666)
        line = json.dumps(change, allow_nan=False, separators=(",", ":")) + "\n"
        os.write(self._tail, line.encode())  # at once, so that a kill leaves whole lines

    def _check_writable(self) -> None:
        if self.closed:
            raise LogClosed("the log is closed; open the run again by its UUID to go on")
        if self._readonly:
            raise ReadOnlyLog(f"run {self.h_uuid} was opened for reading only")
        if os.getpid() != self._pid:
            raise ForkedLog("this log was opened before the process was forked; open it anew")

    def _write(self, rows: Rows) -> None:
        self._check_writable()
        with self._lock:
            now = wall_now()
            cells = {t: {k: to_json(v) for k, v in row.items()} for t, row in rows.items()}
            self._append({"wall": now, "rows": cells})
            self._inner._write(rows)
            walls = {time: self._walls.setdefault(time, now) for time in rows}
            self._memory._run.set_walls(walls)

    def _write_status(self, values: dict[str, Any]) -> None:
        self._check_writable()
        with self._lock:
            self._append({"status": {key: to_json(value) for key, value in values.items()}})
            self._inner._write_status(values)

    def flush(self) -> None:
        """Take over into the document what was assigned."""
        self._inner.flush()
        if not self._readonly and self._tail is not None:
            self._check_writable()
            with self._lock:
                _take_over(self._document, self.h_uuid)
                os.close(self._tail)
                self._tail = None

    commit = flush

    def _close(self, outcome: Literal["finished", "failed"]) -> None:
        if self.closed:
            return
        if os.getpid() == self._pid:
            self.flush()
        self._inner._close(outcome)

    def _fork(self, parent: UUID, at: int, status: dict[str, Any]) -> None:
        self._check_writable()
        self.flush()
        run = new_uuid()
        with self._document.changing() as contents:
            if parent.hex not in contents["logs"]:
                raise RunNotFound(f"{self._location()} holds no run {parent.hex}")
            contents["logs"][run.hex] = _new_run(parent.hex, at, status)
        self._inner.close()
        self._load(run)

    def _location(self) -> str:
        return f"file:{self._document.path}"

    def __reduce__(self) -> Any:
        return _restored, (str(self._document.path), self.state_dict())

    def __del__(self) -> None:
        if getattr(self, "_tail", None) is not None:
            os.close(self._tail)  # type: ignore[arg-type]


def _restored(path: str, state: dict[str, Any]) -> FileLog:
    log = FileLog(Document(Path(path)), state["uuid"], readonly=True)
    log._readonly = False
    log.load_state_dict(state)
    return log


def tail_path(document: Path, uuid: str) -> Path:
    """Return where that is written first which is assigned to a run."""
    return document.with_name(f"{document.name}-tail-{uuid}")


def _new_run(parent: str | None, at: int | None, status: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "resumed_from": parent,
        "resumed_at": at,
        "status": {key: to_json(value) for key, value in status.items()},
        "created": wall_now(),
        "columns": {},
        "walls": {},
    }


def _take_over(document: Document, uuid: str) -> None:
    """Put what is in a run's tail into the document, and remove that once it is written.

    If the process is killed in between, it is done again, to no effect.
    """
    path = tail_path(document.path, uuid)
    with document.locked():
        if not path.exists():
            return
        with document.changing() as contents:
            if uuid in contents["logs"]:
                _apply(contents["logs"][uuid], _tail_lines(document.path, uuid))
        path.unlink()


def _tail_lines(document: Path, uuid: str) -> list[dict[str, Any]]:
    try:
        lines = tail_path(document, uuid).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    try:
        return [json.loads(line) for line in lines[:-1]]  # the last one is empty, or was cut
    except ValueError as error:
        raise CorruptLog(f"{tail_path(document, uuid)} is damaged: {error}") from error


def _apply(run: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    columns, status, walls = run["columns"], run["status"], run["walls"]
    root = run["resumed_from"] is None
    for line in lines:
        for time, row in line.get("rows", {}).items():
            walls.setdefault(time, line["wall"])
            for key, cell in row.items():
                if root and _hides(cell):
                    columns.get(key, {}).pop(time, None)
                else:
                    columns.setdefault(key, {})[time] = cell
        for key, cell in line.get("status", {}).items():
            if _hides(cell):
                status.pop(key, None)
            else:
                status[key] = cell


def _hides(cell: Any) -> bool:
    return isinstance(cell, dict) and cell["kind"] == 0


def _chain(contents: Contents, uuid: str, where: str) -> list[str]:
    """Return a run and its ancestors, the root first."""
    chain: list[str] = []
    following: str | None = uuid
    while following is not None and following not in chain:
        if following not in contents["logs"]:
            raise RunNotFound(f"{where} holds no run {following}")
        chain.insert(0, following)
        following = contents["logs"][following]["resumed_from"]
    return chain


def _layer(uuid: str, run: dict[str, Any]) -> Layer:
    rows: Rows = {}
    for key, column in run["columns"].items():
        for time, cell in column.items():
            rows.setdefault(int(time), {})[key] = HIDDEN if _hides(cell) else from_json(cell)
    status = {key: from_json(cell) for key, cell in run["status"].items()}
    walls = {int(time): wall for time, wall in run["walls"].items()}
    return Layer(
        UUID(uuid), run["resumed_at"], list(run["columns"]), rows, status, run["created"], walls
    )
