"""The protocol between trials and their storage: records by UID, and logs.

A *record* is a dict that strict JSON can hold. It has a ``uid``, an ``edit`` that counts its
changes from 0, a ``token`` that is new with every change, and the time at which it was
``created``. There are four kinds: ``project``, ``group``, ``trial`` and ``environment``.

A server can implement the protocol, as no lock is held between two calls. Changes use optimistic
concurrency: the caller reads a record, replaces it if its edit is still the same, or else starts
again. Calls are idempotent: if an answer got lost, the caller repeats the call, the store
recognizes it by its token, and answers as before.
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
    """Yield an iterator of selected records, and close their source, even if records are left."""
    each = iter(records)
    try:
        yield each
    finally:
        close = getattr(each, "close", None)  # only generators have it; they can hold a transaction
        if close is not None:
            close()


class Records(Protocol):
    """The methods that a store of trials needs. Several threads may call them."""

    @property
    def location(self) -> str:
        """The URL of the store, without credentials."""

    @property
    def artifacts(self) -> Path:
        """The folder of stored files. It may not exist yet."""

    def insert(self, kind: str, record: Record) -> bool:
        """Add a record. Returns False, and does nothing, if another record has its UID.

        A record with the same token is the same one: then return True.
        """

    def replace(self, kind: str, record: Record, edit: int) -> bool:
        """Replace the record with this UID if its edit is `edit`. Returns whether that happened.

        Also return True if the stored record has the same token: an earlier call replaced it.
        """

    def get(self, kind: str, uid: str) -> Record | None:
        """Return the record with this UID, or None."""

    def select(self, kind: str, where: Mapping[str, Sequence[object]]) -> Iterable[Record]:
        """Yield records in the order of their insertion.

        These are at least all records whose fields have one of the values in `where`. The store may
        yield others, too, as the caller checks again. `where` names a status by its number.
        """

    def new_log(self) -> TrainingLogBase:
        """Return a new log."""

    def open_log(self, uuid: str, *, readonly: bool = False) -> TrainingLogBase:
        """Open the log of a run, to continue or read it. Raises `RunNotFound`."""

    def resume_log(self, uuid: str, at: int | None = None) -> TrainingLogBase:
        """Return a new log that continues a run at a time. Raises `RunNotFound`."""

    def ends(
        self, uuids: Sequence[str], best: Mapping[str, Mode]
    ) -> dict[str, dict[str, tuple[Any, Any]]]:
        """Return UUID -> key -> (last value, best value); `best` says what the best value is."""

    def close(self) -> None:
        """Close the store. A second call does nothing."""
