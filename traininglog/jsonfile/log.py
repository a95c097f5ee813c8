"""`FileLog`: a training log in the JSON document, journaled beside it like any other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Unpack
from uuid import UUID

from traininglog.base import TrainingLogBase
from traininglog.callers import warn_caller
from traininglog.config import settings
from traininglog.identity import About
from traininglog.imported import Ending, Imported, Outcome
from traininglog.journaled.log import JournaledLog
from traininglog.journaled.view import StoredView
from traininglog.jsonfile.cells import to_json
from traininglog.jsonfile.document import Document
from traininglog.jsonfile.store import DocumentStore, new_run
from traininglog.values import check_uuid


class FileLog(JournaledLog):
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

    _store: DocumentStore
    _waits = True

    def __init__(
        self, document: Document, uuid: UUID | str | None = None, *, readonly: bool = False,
        created: float | datetime | None = None, host: str | None = None,
        outcome: Ending | None = None, **about: Unpack[About],
    ) -> None:  # fmt: skip
        store = DocumentStore(document)
        readonly = readonly or document.readonly
        if uuid is not None and not readonly:
            store.put_back(check_uuid(uuid))
        super().__init__(
            store, uuid, readonly=readonly, created=created, host=host, outcome=outcome, **about
        )
        if uuid is not None:
            self._view()  # warns at once of what cannot be read

    @staticmethod
    def _name_of(store: Any) -> str:
        return str(store.document.path)

    @staticmethod
    def _may_wait(store: Any) -> Callable[[], bool] | None:
        document = store.document
        return lambda: not document.is_held_here

    def _view(self) -> StoredView:
        with self._store.still():
            view = super()._view()
        self._tell()
        return view

    def flush(self) -> None:
        """Write all pending assignments into the document."""
        super().flush()
        self._tell()

    def _close(self, outcome: Outcome) -> None:
        super()._close(outcome)
        self._tell()

    def _tell(self) -> None:
        """Emit the warnings that the store has collected during an operation."""
        said, self._store.said = self._store.said, []
        for message in said:
            warn_caller(message)

    def __reduce__(self) -> Any:
        return _restored, (str(self._store.document.path), self.state_dict())


def _restored(path: str, state: dict[str, Any]) -> FileLog:
    options = settings(durability=None, max_pending_bytes=None, on_full=None, max_value_bytes=None)
    return FileLog._restored(DocumentStore(Document(Path(path))), state, options)


def run_of(log: TrainingLogBase) -> dict[str, Any]:
    """Return the rows that a log sees as one run of a document."""
    clock = log._read_clock(lineage=True)
    own = {key: value for key, value in log.status.items() if key != "resumed_from"}
    # The marks tell when its rows were logged: not now.
    created = 0.0 if clock.created is None else clock.created
    imported = Imported(None, None, None)
    found = new_run(None, None, own | {"resumed_from": None}, created, imported)
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
