"""The experiments of a file: which runs stand for one, and which runs belong to it.

A *head* is a run that stands for its experiment. A run that continues another one supersedes it, so
that of a chain of resumes only the last run is a head. If the older run is written again, both go
on, and both are heads. A variant leaves its parent a head. A part accompanies another run, and is
never a head.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, select

from traininglog.sql.prepared import Prepared
from traininglog.sql.sound import Test, is_count, is_moment, is_role, is_run, is_uuid, perhaps
from traininglog.sql.tables import relations, runs

_other = runs.alias("other")
_RELATED = Prepared(
    select(
        relations.c.run_id, runs.c.uuid, runs.c.created, relations.c.role, relations.c.position,
        relations.c.other, _other.c.id, _other.c.high_water,
    ).select_from(
        relations.join(runs, runs.c.id == relations.c.run_id).outerjoin(
            _other, and_(_other.c.uuid == relations.c.other)
        )
    )
)  # fmt: skip
_FORM: tuple[Test, ...] = (
    is_run, is_uuid, is_moment, is_role, is_count, is_uuid, perhaps(is_run), perhaps(is_count),
)  # fmt: skip


class _Related(NamedTuple):
    """A run that is something to another run, as `_RELATED` reads it."""

    run: int
    uuid: str
    created: float
    role: str
    position: int  #: how much the other run had been assigned when this one began
    named: str  #: the UUID of the other run
    other: int | None  #: None: it is not in the file
    high_water: int | None  #: how much the other run has been assigned now


class _History(NamedTuple):
    """What is known of the runs that a run continues."""

    resumes: int  #: how many there are
    variant_of: str | None  #: of which run the first of them is a variant


_ALONE = _History(0, None)


class Experiments:
    """The experiments of a file, as one read transaction sees them. Runs are named by number.

    Args:
        connection: The connection to read from.

    """

    def __init__(self, connection: Connection) -> None:
        self._parents: dict[int, int] = {}  # of the runs that continue another one
        self._successors: dict[int, _Related] = {}  # by the run that they supersede, the newest
        self._parts: dict[int, _Related] = {}
        self._variants: dict[int, _Related] = {}
        self._histories: dict[int, _History] = {}
        for row in _RELATED.run(connection):
            if all(test(value) for test, value in zip(_FORM, row, strict=True)):
                self._add(_Related(*row))
        self._cut_circles()

    def _add(self, found: _Related) -> None:
        if found.role == "part":
            self._parts[found.run] = found
        elif found.role == "variant":
            self._variants[found.run] = found
        elif found.other is not None:
            self._parents[found.run] = found.other
            if found.position >= (found.high_water or 0):
                rival = self._successors.get(found.other)
                if rival is None or _age(found) > _age(rival):
                    self._successors[found.other] = found

    def _cut_circles(self) -> None:
        """Let a run of each cyclic lineage stand for it; only a damaged file has one."""
        passed: set[int] = set()
        for start in list(self._successors):
            path: set[int] = set()
            at = start
            while at in self._successors and at not in passed:
                if at in path:
                    del self._successors[at]
                    break
                path.add(at)
                at = self._successors[at].run
            passed |= path

    def is_head(self, run: int) -> bool:
        """Return whether a run stands for an experiment."""
        return run not in self._successors and run not in self._parts

    def head_of(self, run: int) -> int:
        """Return the run that stands for the experiment of a run: itself, or what goes on from it.

        A part stands for itself.
        """
        while run in self._successors:
            run = self._successors[run].run
        return run

    def resumes(self, run: int) -> int:
        """Return how often an experiment was resumed, up to a run of it."""
        return self._history(run).resumes

    def of(self, run: int) -> list[int]:
        """Return the runs of an experiment: its head, and what that alone has superseded.

        The nearest run comes first. If two runs continue the same one, it belongs to the newer.
        """
        found = [run]
        for older in self._continued(run):
            newest = self._successors.get(older)
            if newest is None or newest.run != found[-1]:
                break
            found.append(older)
        return found

    def owner(self, run: int, among: Collection[int]) -> int | None:
        """Return which of some runs the rows of a run belong to: itself, or what goes on from it.

        None: it was continued by none of them.
        """
        while run not in among:
            newest = self._successors.get(run)
            if newest is None:
                return None
            run = newest.run
        return run

    def variant_of(self, run: int) -> str | None:
        """Return the UUID of the run of which the experiment of a run is a variant, or None."""
        return self._history(run).variant_of

    def part_of(self, run: int) -> str | None:
        """Return the UUID of the run that a run accompanies, in hex, or None."""
        found = self._parts.get(run)
        return None if found is None else found.named

    def parts(self, wanted: Collection[int]) -> list[int]:
        """Return the runs that accompany some runs."""
        return [part for part, found in self._parts.items() if found.other in wanted]

    def _history(self, run: int) -> _History:
        if run not in self._parents and run not in self._variants:
            return _ALONE
        path: dict[int, None] = {}
        at: int | None = run
        while at is not None and at not in self._histories and at not in path:
            path[at] = None
            at = self._parents.get(at)
        for each in reversed(path):  # each run once, as a chain may have thousands
            before = self._histories.get(self._parents.get(each, -1))
            if before is not None:
                found = _History(before.resumes + 1, before.variant_of)
            else:
                origin = self._variants.get(each)
                found = _History(0, None if origin is None else origin.named)
            self._histories[each] = found
        return self._histories[run]

    def _continued(self, run: int) -> list[int]:
        """Return the runs that a run continues, the nearest first."""
        found: dict[int, None] = {}
        at = self._parents.get(run)
        while at is not None and at not in found and at != run:  # a damaged file may have a cycle
            found[at] = None
            at = self._parents.get(at)
        return list(found)


def _age(found: _Related) -> tuple[Any, ...]:
    return found.created, found.uuid
