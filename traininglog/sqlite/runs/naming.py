"""Which run is meant: by a UUID, by the name that it has, or by the start of a UUID."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, select

from traininglog.display.durations import in_one_unit
from traininglog.errors import AmbiguousRun, InvalidUUID, RunNotFound
from traininglog.near_names import near
from traininglog.sql.ordering import FIRST_TO_LAST, RUNS
from traininglog.sql.prepared import Prepared
from traininglog.sql.runs import listing
from traininglog.sql.runs.experiments import Experiments
from traininglog.sql.sound import is_uuid
from traininglog.sql.tables import runs

_RUNS = Prepared(
    select(runs.c.id, runs.c.uuid, runs.c.created).select_from(RUNS).order_by(*FIRST_TO_LAST)
)
_DIGITS = frozenset("0123456789abcdef")
_SHOWN = 10  # how many candidates an error names
_LONGEST = 80  # how much of a name an error repeats
_COMPARED = 2000  # how many names are compared with an unknown one, the latest


class NamedRun(NamedTuple):
    """A run, and what it is called."""

    id: int
    uuid: str
    created: float
    name: str | None


class Naming:
    """The runs of a file by UUID and by name, as one read transaction sees them.

    Args:
        connection: The connection to read from.
        place: The file, for errors.
        state: Gives the state of a run by its UUID in hex, for errors.

    """

    def __init__(self, connection: Connection, place: object, state: Callable[[str], str]) -> None:
        self._connection = connection
        self._place = place
        self._state = state

    @cached_property
    def runs(self) -> list[NamedRun]:
        """All runs, in the order in which they were made."""
        described = listing.described(self._connection, {"name"})
        found = []
        for number, uuid, created in _RUNS.run(self._connection):
            if is_uuid(uuid):  # of a damaged line nothing can be named
                name = described.get(number, {}).get("name")
                found.append(
                    NamedRun(number, uuid, created, name if isinstance(name, str) else None)
                )
        return found

    @cached_property
    def _by_name(self) -> Mapping[str, list[NamedRun]]:
        found: dict[str, list[NamedRun]] = defaultdict(list)
        for run in self.runs:
            if run.name:
                found[run.name].append(run)
        return dict(found)

    def called(self, name: str) -> list[NamedRun]:
        """Return the heads with a name, or else the runs with it, the newest last."""
        found = self._by_name.get(name, [])
        if len(found) > 1:
            experiments = Experiments(self._connection)
            found = [run for run in found if experiments.is_head(run.id)] or found[-1:]
        return found

    def find(self, wanted: str | UUID, *, certain: bool = False) -> str:
        """Return the UUID of the run that is meant, in hex.

        Args:
            wanted: A UUID that is not that of a run, a name, or the start of a UUID.
            certain: Whether a name that several heads have is refused.

        """
        digits = digits_of(wanted)
        if not isinstance(wanted, UUID):
            if not wanted.strip("- "):
                raise InvalidUUID(f"a run is named by its name or by hex digits, not by {wanted!r}")
            found = self.called(wanted)
            if len(found) > 1 and certain:
                raise AmbiguousRun(
                    f"{len(found)} runs are called {_short(wanted)}: name one of "
                    f"{self._listed(found)} by its UUID"
                )
            if found:
                return found[-1].uuid
        if digits is None:
            raise RunNotFound(
                f"{self._place} holds no run {_short(str(wanted))}{self._near(wanted)}"
            )
        begun = [run for run in self.runs if run.uuid.startswith(digits)]
        if not begun:
            raise RunNotFound(f"{self._place} holds no run {digits}{self._near(wanted)}")
        if len(begun) > 1:
            raise AmbiguousRun(f"{digits} may be any of {self._listed(begun)}: give more digits")
        return begun[0].uuid

    def _near(self, wanted: str | UUID) -> str:
        """Return the end of an error: what else may be meant."""
        names = list(self._by_name)[-_COMPARED:]
        meant = [] if isinstance(wanted, UUID) else near(wanted[:_LONGEST], names)
        if meant:
            return f"; did you mean {' or '.join(map(_short, meant))}?"
        return "; `traininglog runs` lists them"

    def _listed(self, found: Iterable[NamedRun]) -> str:
        """Return runs with what tells them apart, the newest first."""
        newest = list(found)[::-1]
        told = [
            f"{run.uuid} ({_short(run.name) + ', ' if run.name else ''}{self._state(run.uuid)}, "
            f"made {_age(run.created)} ago)"
            for run in newest[:_SHOWN]
        ]
        return ", ".join(told) + (", ..." if len(newest) > _SHOWN else "")


def digits_of(wanted: str | UUID) -> str | None:
    """Return the hex digits of a UUID or the start of one; None if it is neither."""
    digits = wanted.hex if isinstance(wanted, UUID) else str(wanted).replace("-", "").lower()
    if not digits or len(digits) > 32 or not _DIGITS.issuperset(digits):
        return None
    return digits


def _short(name: str) -> str:
    return repr(name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…")


def _age(created: object) -> str:
    if not isinstance(created, (int, float)):
        return "?"
    seconds = max(0.0, datetime.now(UTC).timestamp() - created)
    return in_one_unit(seconds) if seconds < 2 * 86400 else f"{seconds / 86400:.0f} d"
