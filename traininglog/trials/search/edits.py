"""`Editor`: changes of records by optimistic concurrency.

The editor changes a record only if it still is as it was read. If another process has changed it
meanwhile, the editor reads it again and retries. So no lock is held between two calls, and if
several processes ask for the first matching record, each of them gets a different one.
"""

from __future__ import annotations

import random
import time
from uuid import uuid4

from traininglog.errors import StoreLocked
from traininglog.trials.entities import Record
from traininglog.trials.records import Records, going_through
from traininglog.trials.search.changes import Change
from traininglog.trials.search.matches import search
from traininglog.trials.search.queries import Query
from traininglog.trials.trial_errors import GroupNotFound, TrialNotFound

#: How often the editor tries a change.
TRIES = 1000


class Editor:
    """Adds, finds and changes the records of a store."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def insert(self, kind: str, record: Record) -> bool:
        """Add a record with the fields that identify its edits; False if its UID exists.

        If the record is not added, `record` does not change.
        """
        new = record | {"edit": 0, "token": uuid4().hex, "created": time.time()}
        done = self._records.insert(kind, new)
        if done:
            record |= new
        return done

    def require(self, kind: str, uid: str) -> Record:
        """Return a record. Raises `TrialNotFound` or `GroupNotFound` if there is none."""
        record = self._records.get(kind, uid)
        if record is None:
            if kind == "trial":
                raise TrialNotFound(
                    f"{self._records.location} holds no trial {str(uid)[:80]!r}: a UID is "
                    "<hash>_<revision>, and `traininglog trials` lists them"
                )
            raise GroupNotFound(f"{self._records.location} holds no {kind} {uid[:80]!r}")
        return record

    def revisions(self, wanted: str) -> list[Record]:
        """Return the records of all trials with this hash, sorted by revision."""
        with going_through(self._records.select("trial", {"hash": [wanted]})) as found:
            mine = [record for record in found if record["hash"] == wanted]
        return sorted(mine, key=lambda record: int(record["revision"]))

    def update(self, kind: str, uid: str, change: Change) -> Record:
        """Change a record, and return the new record. Retries on conflicts."""
        for number in range(TRIES):
            record = self.change(kind, self.require(kind, uid), change)
            if record is not None:
                return record
            _wait(number)
        raise StoreLocked(f"{kind} {uid} is changed by others again and again")

    def take(self, kind: str, query: Query, change: Change) -> Record | None:
        """Change the first matching record, and return the new record, or None if none matches."""
        for number in range(TRIES):
            found = search(self._records, kind, query, None, 1)
            if not found:
                return None
            record = self.change(kind, found[0], change)
            if record is not None:
                return record
            _wait(number)
        raise StoreLocked(f"the {kind}s that match are changed by others again and again")

    def change(self, kind: str, seen: Record, change: Change) -> Record | None:
        """Change a record if it still is as `seen`, and return the new record; else return None."""
        record = dict(seen)
        change(record)
        record["edit"] += 1
        record["token"] = uuid4().hex
        return record if self._records.replace(kind, record, seen["edit"]) else None


def _wait(number: int) -> None:
    if number > 3:  # backoff: other processes won several times in a row
        time.sleep(random.uniform(0, min(0.05, 0.001 * number)))  # noqa: S311 - no secret
