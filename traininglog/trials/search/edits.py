"""Records that are changed only as they were read: `Editor`.

A change takes place if nobody else has changed the record meanwhile; else it is begun anew. So no
lock is held between two calls, and of any number of processes that ask for the first record of a
kind each gets another one.
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

#: How often a change is begun anew.
TRIES = 1000


class Editor:
    """Adds, finds and changes the records of a store."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def insert(self, kind: str, record: Record) -> bool:
        """Add a record, which gets the fields that tell its edits apart; False if its UID is taken.

        Where it was not added it is left as it was.
        """
        new = record | {"edit": 0, "token": uuid4().hex, "created": time.time()}
        done = self._records.insert(kind, new)
        if done:
            record |= new
        return done

    def require(self, kind: str, uid: str) -> Record:
        """Return a record. Raises `TrialNotFound` or `GroupNotFound` where there is none."""
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
        """Return the records of all trials of a hash, the first revision first."""
        with going_through(self._records.select("trial", {"hash": [wanted]})) as found:
            mine = [record for record in found if record["hash"] == wanted]
        return sorted(mine, key=lambda record: int(record["revision"]))

    def update(self, kind: str, uid: str, change: Change) -> Record:
        """Change a record, and return it as it is then."""
        for number in range(TRIES):
            record = self.change(kind, self.require(kind, uid), change)
            if record is not None:
                return record
            _wait(number)
        raise StoreLocked(f"{kind} {uid} is changed by others again and again")

    def take(self, kind: str, query: Query, change: Change) -> Record | None:
        """Change the first record that matches, and return it as it is then; None: none does."""
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
        """Change a record if it is still as it was seen; None if it is not."""
        record = dict(seen)
        change(record)
        record["edit"] += 1
        record["token"] = uuid4().hex
        return record if self._records.replace(kind, record, seen["edit"]) else None


def _wait(number: int) -> None:
    if number > 3:  # others are quicker again and again: let them
        time.sleep(random.uniform(0, min(0.05, 0.001 * number)))  # noqa: S311 - no secret
