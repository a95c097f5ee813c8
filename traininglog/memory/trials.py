"""Projects, groups and trials in this process's memory, and the logs of the trials."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from traininglog.base import TrainingLogBase
from traininglog.memory.log import TrainingLog
from traininglog.plain_json import compact
from traininglog.selection import Mode
from traininglog.trial_records import in_order, made_of

Record = dict[str, Any]


class MemoryTrials:
    """Records in memory; see `traininglog.trials.records.Records` for the methods.

    It keeps records as JSON, as a store on disk does, so that it shares no object with its callers.
    The logs of its trials live as long as it does.
    """

    location = "memory:"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._newest: dict[str, float] = {}  # the moment by which the last record is ordered
        self._logs: dict[UUID, TrainingLog] = {}
        self._folder: Path | None = None

    @property
    def artifacts(self) -> Path:
        """A temporary folder, which is removed with the store."""
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="traininglog-artifacts-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            return self._folder

    def close(self) -> None:
        """Release nothing: the records live as long as this object."""

    def insert(self, kind: str, record: Record) -> bool:
        """Add a record; return False if another one has its UID."""
        with self._lock:
            found = self._kinds[kind].get(record["uid"])
            if found is not None:
                return bool(json.loads(found)["token"] == record["token"])
            ordered = in_order(record, self._newest.get(kind))
            self._kinds[kind][record["uid"]] = compact(ordered)
            self._newest[kind] = made_of(ordered)
            return True

    def replace(self, kind: str, record: Record, edit: int) -> bool:
        """Replace a record if it still is at `edit`; return whether the store now has this one."""
        with self._lock:
            found = self._kinds[kind].get(record["uid"])
            if found is None:
                return False
            now = json.loads(found)
            if now["edit"] != edit:
                return bool(now["token"] == record["token"])
            self._kinds[kind][record["uid"]] = compact(record)
            return True

    def get(self, kind: str, uid: str) -> Record | None:
        """Return the record with a UID, or None."""
        found = self._kinds[kind].get(uid)
        return None if found is None else json.loads(found)

    def select(self, kind: str, where: Mapping[str, Sequence[object]]) -> Iterator[Record]:
        """Return all records, the oldest first."""
        with self._lock:
            texts = list(self._kinds[kind].values())
        return map(json.loads, texts)

    def new_log(self) -> TrainingLog:
        """Return a new log."""
        log = TrainingLog()
        self._keep(log)
        return log

    def open_log(self, uuid: UUID | str, *, readonly: bool = False) -> TrainingLog:
        """Return the log of a run. Raises `RunNotFound`."""
        log = TrainingLog(uuid)
        self._keep(log)
        return log

    def resume_log(self, uuid: UUID | str, at: int | None = None) -> TrainingLog:
        """Return a new log that continues a run. Raises `RunNotFound`."""
        log = TrainingLog(uuid)
        log.resume(at)
        self._keep(log)
        return log

    def _keep(self, log: TrainingLog) -> None:
        # By another log object on the same run, because the caller closes the one that it got.
        with self._lock:
            if log.uuid not in self._logs:
                self._logs[log.uuid] = TrainingLog(log.uuid)

    def ends(
        self, uuids: Sequence[str], best: Mapping[str, Mode]
    ) -> dict[str, dict[str, tuple[Any, Any]]]:
        """Return, by the UUID of runs, the last value of every key and the best of some."""
        found: dict[str, dict[str, tuple[object, object]]] = {}
        for uuid in uuids:
            log = self._logs.get(UUID(uuid))
            if log is not None:
                found[uuid] = ends_of(log, best)
        return found


def ends_of(log: TrainingLogBase, best: Mapping[str, Mode]) -> dict[str, tuple[Any, Any]]:
    """Return the last value of every key of a log, and the best of some."""
    ends = {}
    for column in log._read_columns(None, None, None, lineage=True):
        mode = best.get(column.key)
        extreme = None if mode is None else column.best(mode)
        ends[column.key] = (column.last.value, None if extreme is None else extreme.value)
    return ends
