"""The runs of a file: which are being written, how the others ended, and a list of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import Connection, select

from traininglog.errors import BadQuery, RunBusy
from traininglog.query.question import Question
from traininglog.run_info import RunInfo, State
from traininglog.selection import Mode, modes, names
from traininglog.sql.prepared import Prepared
from traininglog.sql.runs import listing
from traininglog.sql.runs.experiments import Experiments
from traininglog.sql.tables import runs
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.database.looker import steadily
from traininglog.sqlite.sink.leases import Owners
from traininglog.values import StoredValue

#: How many runs `RunList.each` reads at once.
PAGE = 1000

# What tells which runs are listed; and what else lists may show of them.
_TELLING = ("name", "archived")
_OF_A_QUESTION = {
    "config": "config", "tags": "tags", "groups": "groups", "notes": "notes", "best": "goals",
}  # fmt: skip


class Unended(NamedTuple):
    """The columns of a run that tell whether it is being written; see `Owners.is_written`."""

    id: int
    epoch: int
    pid: int | None
    boot_id: str | None


_UNENDED = Prepared(
    select(runs.c.id, runs.c.epoch, runs.c.pid, runs.c.boot_id).where(runs.c.outcome.is_(None))
)


def owned(database: Database, owners: Owners) -> set[int]:
    """Return the runs that are being written.

    Call it before reading the rows that tell how the others ended. A run that is closed in between
    then has its outcome; in the other order it would seem lost.
    """
    owners.owner.settle()
    with database.read() as connection:
        unended = _UNENDED.run(connection)
    return {row[0] for row in unended if owners.is_written(Unended(*row))}


def state_of(row: Any, live: set[int], owners: Owners) -> State:
    """Return the state of a run, by its row and by an earlier result of `owned`."""
    if row.id in live and row.outcome is None:
        return "running"
    if row.outcome in ("finished", "failed"):
        ended: State = row.outcome
        return ended
    # It may have begun after `owned` was called.
    return "running" if owners.is_written(row) else "lost"


def refuse_live(row: Any, owners: Owners) -> None:
    """Raise `RunBusy` if a run is being written."""
    if owners.is_written(row):
        raise RunBusy(
            f"run {row.uuid} is being written by process {row.pid} on {row.host}: "
            "close it there first"
        )


class RunList:
    """A query for a list of runs, for `Store.iter_runs` and `Store.runs`.

    Args:
        database: The file.
        owners: The leases of the file.
        keys: Names or globs of keys whose last values to include.
        state: Only runs in this state.
        name: Only runs whose name matches this glob.
        limit: Only this many runs, the latest.
        best: Keys whose best number to include, perhaps with a mode.
        heads: Only the runs that stand for an experiment, each with its whole history.
        question: Which of these, and in which order; the limit is of its answer.
        archived: Also runs that were put aside.
        extremes: Include the least and the greatest numbers of `keys`, too.

    """

    def __init__(
        self,
        database: Database,
        owners: Owners,
        keys: str | Iterable[str] | None,
        *,
        state: State | None,
        name: str | None,
        limit: int | None,
        best: Mapping[str, Mode] | Iterable[str] | str | None,
        heads: bool,
        question: Question | None = None,
        archived: bool = False,
        extremes: bool = False,
    ) -> None:
        self._extremes = extremes
        self._question = question
        self._archived = archived
        self._database = database
        self._owners = owners
        self._patterns = names(keys) or []
        self._state = state
        self._name = name
        self._limit = limit
        self._heads = heads
        #: The keys whose last values are included; set by the first read.
        self.keys: list[str] = []
        #: The keys whose best numbers are included, with their modes.
        self.modes = modes(best)

    def read(self, *, described: bool = False) -> list[RunInfo]:
        """Return all the runs, as one snapshot, without config and the like unless `described`.

        Raises `KeyError` for a key that no run has. Call it within `steadily`.
        """
        infos, _ = self._first(None, described=described)
        return infos

    def each(self) -> Iterator[RunInfo]:
        """Yield the runs one by one; each `PAGE` of them is one snapshot.

        Raises `KeyError` for a key that no run has.
        """
        infos, rest = steadily(lambda: self._first(PAGE))
        yield from infos
        for start in range(0, len(rest), PAGE):
            numbers = rest[start : start + PAGE]
            yield from steadily(lambda: self._more(numbers))  # noqa: B023 - it is called at once

    def _first(
        self, most: int | None, *, described: bool = True
    ) -> tuple[list[RunInfo], list[int]]:
        """Return the first `most` runs (None: all), and the numbers of the others."""
        live = owned(self._database, self._owners)
        with self._database.read() as connection:
            self._experiments = Experiments(connection)
            question = self._question
            telling = {*_TELLING, *self._asked_of_the_status()}
            if described and question is not None and not question.chooses and self._limit is None:
                telling = set(listing.DESCRIPTIONS)  # as all of it is needed in the end
            about = listing.described(connection, telling)
            chosen = self._chosen(listing.lines(connection), about, live)
            self.keys = listing.match(connection, self._patterns)
            listing.match(connection, self.modes)
            if question is not None:
                return self._answer(question, connection, chosen, about, described=described), []
            chosen = _latest(chosen, self._limit)
            rest = [] if most is None else [line.id for line, _ in chosen[most:]]
            if most is not None:
                chosen = chosen[:most]
            if described:
                some = None if len(chosen) > PAGE else [line.id for line, _ in chosen]
                about = listing.described(connection, listing.DESCRIPTIONS, some)
            return self._infos(connection, chosen, about, some=bool(rest)), rest

    def _asked_of_the_status(self) -> set[str]:
        """Return what the question needs of the status."""
        if self._question is None:
            return set()
        families = [name.family for name in self._question.names()]
        if self._extremes:
            families.append("best")
        return {_OF_A_QUESTION[family] for family in families if family in _OF_A_QUESTION}

    def _answer(
        self, question: Question, connection: Connection,
        chosen: Sequence[tuple[listing.Line, State]],
        about: Mapping[int, Mapping[str, StoredValue]], *, described: bool,
    ) -> list[RunInfo]:  # fmt: skip
        """Return what the question asks for of some runs, at most as many as the limit says."""
        try:
            listing.match(connection, question.keys("last", "min", "max", "best"))
        except KeyError as error:
            raise BadQuery(error.args[0]) from None
        infos = question.answer(self._infos(connection, chosen, about, some=False))
        infos = infos[: self._limit] if question.sorts else _latest(infos, self._limit)
        if not described or not (question.chooses or self._limit is not None):
            return infos
        numbers = {UUID(line.uuid): line.id for line, _ in chosen}
        some = None if len(infos) > PAGE else [numbers[info.uuid] for info in infos]
        about = listing.described(connection, listing.DESCRIPTIONS, some)
        return [dataclasses.replace(info, **about.get(numbers[info.uuid], {})) for info in infos]

    def _more(self, numbers: Sequence[int]) -> list[RunInfo]:
        """Return some runs by their numbers. Runs that were deleted meanwhile are left out."""
        live = owned(self._database, self._owners)
        with self._database.read() as connection:
            about = listing.described(connection, listing.DESCRIPTIONS, numbers)
            chosen = self._chosen(listing.lines(connection, numbers), about, live)
            return self._infos(connection, chosen, about, some=True)

    def _chosen(
        self, lines: Iterable[listing.Line], about: Mapping[int, Mapping[str, StoredValue]],
        live: set[int],
    ) -> list[tuple[listing.Line, State]]:  # fmt: skip
        name, wanted, owners = self._name, self._state, self._owners
        if not self._archived:
            lines = [line for line in lines if "archived" not in about.get(line.id, _NOTHING)]
        if self._heads:
            lines = [line for line in lines if self._experiments.is_head(line.id)]
        if name is not None:
            lines = [line for line in lines if fnmatchcase(_name(line, about), name)]
        chosen = [(line, state_of(line, live, owners)) for line in lines]
        if wanted is not None:
            chosen = [(line, state) for line, state in chosen if state == wanted]
        return chosen

    def _infos(
        self, connection: Connection, chosen: Sequence[tuple[listing.Line, State]],
        about: Mapping[int, Mapping[str, StoredValue]], *, some: bool,
    ) -> list[RunInfo]:  # fmt: skip
        lines = [line for line, _ in chosen]
        counts = listing.counts(connection, lines)
        keys, least, greatest = self._needed()
        wanted = {*keys, *self.modes, *least, *greatest}
        whole = listing.histories(connection, lines) if self._heads or wanted else {}
        if self._heads:
            counts |= listing.counts_of_histories(connection, lines, whole)
        numbers = [line.id for line in lines] if some else None
        ends = listing.Ends(connection, wanted, numbers, whole)
        asked, infos = self.modes, []
        experiments = self._experiments
        for line, state in chosen:
            counted = counts.get(line.id, _NO_ROWS)
            parent = line.resumed_from
            origin, part_of = experiments.variant_of(line.id), experiments.part_of(line.id)
            known: Mapping[str, Any] = about.get(line.id, _NOTHING)
            info = RunInfo(
                UUID(line.uuid), known.get("name"), state,
                _moment(line.created), _moment(line.updated), line.host,
                None if parent is None else UUID(parent), line.resumed_at,
                counted.first, counted.last, counted.rows, counted.values,
                ends.lasts(line, keys) if keys else {}, ends.bests(line, asked) if asked else {},
                known.get("config"), known.get("tags"),
                ends.bests(line, least) if least else {},
                ends.bests(line, greatest) if greatest else {},
                known.get("notes"), known.get("groups", ()), known.get("goals", {}),
                known.get("archived", False),
                resumes=experiments.resumes(line.id), head=experiments.is_head(line.id),
                variant_of=None if origin is None else UUID(origin),
                part_of=None if part_of is None else UUID(part_of),
            )  # fmt: skip
            infos.append(info)
        return infos

    def _needed(self) -> tuple[list[str], dict[str, Mode], dict[str, Mode]]:
        """Return the keys whose last values, least and greatest numbers are needed."""
        extremes: list[str] = self.keys if self._extremes else []
        last, low, high = self.keys, extremes, extremes
        question = self._question
        if question is not None:
            last = list(dict.fromkeys([*last, *question.keys("last")]))
            low = [*low, *question.keys("min", "best")]
            high = [*high, *question.keys("max", "best")]
        return last, dict.fromkeys(low, "min"), dict.fromkeys(high, "max")


_NOTHING: dict[str, StoredValue] = {}
_NO_ROWS = listing.Counts()

_T = TypeVar("_T")


def _latest(found: list[_T], limit: int | None) -> list[_T]:
    """Return the last `limit` of some; None: all of them."""
    if limit is None:
        return found
    return found[-limit:] if limit > 0 else []


def _name(line: listing.Line, about: Mapping[int, Mapping[str, StoredValue]]) -> str:
    name: str = about.get(line.id, _NOTHING).get("name", "")
    return name


def _moment(seconds: float) -> datetime | None:
    """Return unix seconds as a datetime, to the microsecond; None if it is NaN or out of range."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
