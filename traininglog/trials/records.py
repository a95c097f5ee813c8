"""The protocol between trials and what stores them: records by UID, and logs.

A *record* is a dict that strict JSON can hold. It has a ``uid``, an ``edit`` that counts its
changes from 0, a ``token`` that is new with every change, and the time at which it was
``created``. There are four kinds: ``project``, ``group``, ``trial`` and ``environment``.

Made so that a server can do it: no call needs a lock to be held between calls; who changes a record
reads it, and replaces it if it is still at the same edit, or else begins again. A call that is
repeated, as its answer got lost, is known by its token and answered as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from traininglog.base import TrainingLogBase
from traininglog.selection import Mode
from traininglog.values import StoredRow

Record = StoredRow


@contextmanager
def going_through(records: Iterable[Record]) -> Iterator[Iterator[Record]]:
    """Give selected records, and let go of what they come from, also if not all were taken."""
    each = iter(records)
    try:
        yield each
    finally:
        close = getattr(each, "close", None)  # of a generator, which may hold a transaction
        if close is not None:
            close()


class Records(Protocol):
    """What a store for trials is asked for. It may be used by several threads."""

    @property
    def location(self) -> str:
        """The URL of the store, without credentials."""

    @property
    def artifacts(self) -> Path:
        """The folder in which files are kept; it need not be there yet."""

    def insert(self, kind: str, record: Record) -> bool:
        """Add a record. Returns False, and does nothing, if another one has its UID.

        One that has the same token is the same: True.
        """

    def replace(self, kind: str, record: Record, edit: int) -> bool:
        """Replace the record with this UID if it is at `edit`. Returns whether it is so now.

        It is, too, if the record that is there has the same token.
        """

    def get(self, kind: str, uid: str) -> Record | None:
        """Return the record with a UID, or None."""

    def select(self, kind: str, where: Mapping[str, Sequence[object]]) -> Iterable[Record]:
        """Give records in the order in which they were inserted.

        All those whose fields have one of the values that `where` names for them; others may be
        among them, as the caller looks again. A status is asked for by its number.
        """

    def new_log(self) -> TrainingLogBase:
        """Return a new log."""

    def open_log(self, uuid: str, *, readonly: bool = False) -> TrainingLogBase:
        """Return the log of a run, to be gone on with. Raises `RunNotFound`."""

    def resume_log(self, uuid: str, at: int | None = None) -> TrainingLogBase:
        """Return a new log that continues a run at a time. Raises `RunNotFound`."""

    def ends(
        self, uuids: Sequence[str], best: Mapping[str, Mode]
    ) -> dict[str, dict[str, tuple[Any, Any]]]:
        """Return of runs, by UUID and key, the last value, and the best where `best` says how."""

    def close(self) -> None:
        """Let go of the store. Closing it twice does nothing."""
