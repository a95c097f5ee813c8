"""The records of projects, groups and trials in the JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from traininglog.base import TrainingLogBase
from traininglog.journaled.view import view_of
from traininglog.jsonfile.document import Document
from traininglog.jsonfile.log import FileLog, run_of
from traininglog.jsonfile.store import DocumentStore
from traininglog.kept import folder_of
from traininglog.lineage import new_uuid
from traininglog.selection import Mode
from traininglog.trial_records import in_order
from traininglog.values import StoredRow

Record = StoredRow


class FileTrials:
    """Records in one JSON document; see `traininglog.trials.records.Records`.

    Every change of a record and every flush writes the whole document, but a metric does not. It
    suits experiments of some thousand values that one can read with any editor. Each trial takes
    longer than the one before; from some hundred on a warning says how to move them.

    Args:
        path: The document, which the first write makes.
        readonly: Never write.

    Raises the errors of `Document`.

    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self._document = Document(path, readonly=readonly)
        self.location = f"file:{self._document.path}"
        self.artifacts = folder_of(path.absolute())

    def close(self) -> None:
        """Release nothing: this object holds no resource between two calls."""

    def insert(self, kind: str, record: Record) -> bool:
        """Add a record; return False if another one has its UID."""
        known = self._document.get(kind, record["uid"])
        if known is not None:
            return bool(known["token"] == record["token"])
        with self._document.changing() as contents:
            kept = contents[kind]
            found = kept.setdefault(record["uid"], in_order(record, kept.newest()))
            return bool(found["token"] == record["token"])

    def replace(self, kind: str, record: Record, edit: int) -> bool:
        """Replace a record if it still is at `edit`; return whether the store now has this one."""
        with self._document.changing() as contents:
            found = contents[kind].get(record["uid"])
            if found is None:
                return False
            if found["edit"] != edit:
                return bool(found["token"] == record["token"])
            contents[kind][record["uid"]] = record
            return True

    def get(self, kind: str, uid: str) -> Record | None:
        """Return the record with a UID, or None."""
        record: Record | None = self._document.get(kind, uid)
        return record

    def select(self, kind: str, where: Mapping[str, Sequence[Any]]) -> Iterator[Record]:
        """Yield all records, the oldest first."""
        yield from self._document.read()[kind].values()

    def new_log(self, **options: Any) -> FileLog:
        """Return a new log, with the options of `FileLog`."""
        return FileLog(self._document, **options)

    def open_log(self, uuid: str, *, readonly: bool = False) -> FileLog:
        """Return the log of a run. Raises `RunNotFound`."""
        return FileLog(self._document, uuid, readonly=readonly)

    def resume_log(self, uuid: str, at: int | None = None) -> FileLog:
        """Return a new log that continues a run. Raises `RunNotFound`."""
        log = FileLog(self._document, uuid)
        log.resume(at)
        return log

    def fill(self, items: Iterable[tuple[str, Record, TrainingLogBase | None]]) -> None:
        """Add many records, each with its log or None, and write them all at once.

        It skips a record whose UID is already there.
        """
        with self._document.changing() as contents:
            for kind, record, log in items:
                if record["uid"] in contents[kind]:
                    continue
                if log is not None:
                    uuid = new_uuid().hex
                    contents["logs"][uuid] = run_of(log)
                    record = record | {"log": uuid}  # noqa: PLW2901 - its UUID in this document
                contents[kind][record["uid"]] = record

    def ends(
        self, uuids: Sequence[str], best: Mapping[str, Mode]
    ) -> dict[str, dict[str, tuple[Any, Any]]]:
        """Return, by the UUID of runs, the last value of every key and the best of some."""
        from traininglog.memory.trials import ends_of

        found = {}
        store = DocumentStore(self._document)
        with self._document.locked():
            for uuid in uuids:
                run = UUID(uuid)
                if any(store.runs(run)):
                    found[uuid] = ends_of(view_of(store, run).log, best)
        return found
