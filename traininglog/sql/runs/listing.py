"""The facts of each run in a list: its name, how much it logged, its last and best values."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, exists, func, literal, or_, select

from traininglog.columns import Column, Point, union
from traininglog.encoding import Kind, decode
from traininglog.errors import CorruptLog, TrainingLogWarning
from traininglog.near_names import instead
from traininglog.selection import Mode, is_glob
from traininglog.sql import reading
from traininglog.sql.histories import History, whole_histories
from traininglog.sql.lineage_chain import Chain
from traininglog.sql.ordering import FIRST_TO_LAST, RUNS
from traininglog.sql.prepared import Prepared, bind
from traininglog.sql.runs.totals import totals_of
from traininglog.sql.sound import (
    RUN_FORM,
    Test,
    are_sound,
    is_count,
    is_run,
    is_sound,
    is_time,
    is_uuid,
    perhaps,
)
from traininglog.sql.tables import entries, keys, runs, segments, status, summaries, totals
from traininglog.sql.writing import batched
from traininglog.values import MAX_TIME, StoredValue

# Up to this many runs or keys are selected by number or name; for more, all are read.
_FEW = 200

_lines = (
    select(
        runs.c.id, runs.c.uuid, runs.c.created, runs.c.updated, runs.c.epoch, runs.c.outcome,
        runs.c.host, runs.c.pid, runs.c.boot_id, runs.c.resumed_from, runs.c.resumed_at,
        exists(literal(1)).where(segments.c.run_id == runs.c.id),
        func.coalesce(totals.c.high_water == runs.c.high_water, False),
        totals.c.first, totals.c.last, totals.c.rows, totals.c.count,
    )
    .select_from(RUNS.outerjoin(totals, totals.c.run_id == runs.c.id))
    .order_by(*FIRST_TO_LAST)
)  # fmt: skip
_LINES = Prepared(_lines)
_described = select(status.c.run_id, status.c.key, status.c.kind, status.c.value)


def _text(value: StoredValue) -> StoredValue:
    return value if isinstance(value, str) else None


def _dict(value: StoredValue) -> StoredValue:
    return value if isinstance(value, dict) else None


def _tags(value: StoredValue) -> StoredValue:
    """Return tags as a dict. A list of names is one, too: each of them is true."""
    if isinstance(value, list):
        return {tag: True for tag in value if isinstance(tag, str)}
    return _dict(value)


def _groups(value: StoredValue) -> StoredValue:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list):
        return None
    return tuple(group for group in found if isinstance(group, str))


def _goals(value: StoredValue) -> StoredValue:
    known = value.items() if isinstance(value, dict) else ()
    return {key: mode for key, mode in known if mode in ("min", "max")}


def _flag(value: StoredValue) -> StoredValue:
    return True if value is True else None


#: What the status may say of a run that lists show, and which form each has.
DESCRIPTIONS: dict[str, Callable[[StoredValue], StoredValue]] = {
    "name": _text, "config": _dict, "tags": _tags, "notes": _text, "groups": _groups,
    "goals": _goals, "archived": _flag,
}  # fmt: skip


@cache
def _describing(names: frozenset[str]) -> Prepared:
    return Prepared(_described.where(or_(*(status.c.key == literal(key) for key in sorted(names)))))


class Line(NamedTuple):
    """A run, with the facts that the tables have without its values."""

    id: int
    uuid: str
    created: float
    updated: float
    epoch: int
    outcome: str | None
    host: str | None
    pid: int | None
    boot_id: str | None
    resumed_from: str | None
    resumed_at: int | None
    sealed: bool  #: whether it has segments
    noted: bool  #: whether its totals, which follow, are up to date
    first: int | None
    last: int | None
    rows: int | None
    values: int | None


_summaries = select(
    summaries.c.run_id, keys.c.name, summaries.c.last, summaries.c.kind, summaries.c.value,
    summaries.c.least, summaries.c.greatest,
).join(keys, (keys.c.run_id == summaries.c.run_id) & (keys.c.id == summaries.c.key_id))  # fmt: skip
_SUMMARIES = Prepared(_summaries)
_SUMMARIES_OF_KEY = Prepared(_summaries.where(keys.c.name == bind("name")))


class Counts(NamedTuple):
    """How much a run logged itself."""

    first: int | None = None  #: the first time
    last: int | None = None  #: the last time
    rows: int = 0
    values: int = 0


def _is_flag(value: object) -> bool:
    """Return whether a value may be a flag: an int from the driver, a bool from SQLAlchemy."""
    return type(value) in (bool, int) and value in (0, 1)


_FORM: tuple[Test, ...] = (
    *(RUN_FORM[name] for name in Line._fields[:11]), _is_flag, _is_flag,
    perhaps(is_time), perhaps(is_time), perhaps(is_count), perhaps(is_count),
)  # fmt: skip


def lines(connection: Connection, numbers: Collection[int] | None = None) -> list[Line]:
    """Return runs, by their numbers (None: all), in the order in which they were made.

    Impossible values of a line are left out, so that a damaged line does not hide the others. If
    all runs are asked for, this warns of damaged lines.
    """
    rows: Iterable[Sequence[Any]]
    if numbers is None:
        rows = _LINES.run(connection)
    else:
        rows = connection.execute(_lines.where(runs.c.id.in_(numbers)))
    found = list(map(Line._make, rows))
    if are_sound(found, _FORM):
        return found
    whole = [line if is_sound(line, _FORM) else _mended(line) for line in found]
    damaged = sum(one is not other for one, other in zip(found, whole, strict=True))
    if damaged and numbers is None:
        warnings.warn(
            f"{damaged} of {len(found)} lines of the table of runs are damaged; what cannot be "
            "is left out: see `traininglog check`",
            TrainingLogWarning,
            stacklevel=2,
        )
    return [line for line in whole if line is not None]


def _mended(line: Line) -> Line | None:
    """Return the possible values of a damaged line; None if its number or UUID is damaged."""
    if not (is_run(line.id) and is_uuid(line.uuid)):
        return None
    right = {
        name: test(value)
        for name, test, value in zip(Line._fields, _FORM, line, strict=True)
    }  # fmt: skip
    kept = {name: value for name, value in line._asdict().items() if right[name]}
    totals_hold = all(right[name] for name in ("noted", "first", "last", "rows", "values"))
    return Line(**_UNKNOWN._asdict() | kept)._replace(noted=bool(line.noted) and totals_hold)


_UNKNOWN = Line(
    0, "", math.nan, math.nan, 0, None, None, None, None, None, None, False, False,
    None, None, None, None,
)  # fmt: skip


def described(
    connection: Connection, names: Collection[str], numbers: Collection[int] | None = None
) -> dict[int, dict[str, StoredValue]]:
    """Return some of the `DESCRIPTIONS` of runs, by their numbers (None: of all runs).

    They are values of the status. What has another form than its description wants is left out.
    """
    rows: Iterable[Sequence[Any]]
    if numbers is None:
        rows = _describing(frozenset(names)).run(connection)
    else:
        some = status.c.key.in_(names) & status.c.run_id.in_(numbers)
        rows = connection.execute(_described.where(some))
    found: dict[int, dict[str, StoredValue]] = {}
    for number, name, kind, stored in rows:
        try:
            value = DESCRIPTIONS[name](decode(kind, stored))
        except CorruptLog:  # `check` reports it, not a list
            continue
        if value is not None:
            found.setdefault(number, {})[name] = value
    return found


def counts(connection: Connection, chosen: Sequence[Line]) -> dict[int, Counts]:
    """Return how much some runs logged themselves; a run without values may be left out."""
    found = {
        line.id: Counts(line.first, line.last, line.rows or 0, line.values or 0)
        for line in chosen
        if line.noted
    }
    for line in chosen:
        if line.sealed and not line.noted:
            whole = totals_of(connection, line.id).whole
            found[line.id] = Counts(
                whole["first"], whole["last"], whole["rows"] or 0, whole["count"] or 0
            )
    rest = [line.id for line in chosen if not line.noted and not line.sealed]
    return found | (_counts_of_entries(connection, rest) if rest else {})


def _counts_of_entries(connection: Connection, chosen: Sequence[int]) -> dict[int, Counts]:
    shown = entries.c.kind != Kind.HIDDEN.value
    if len(chosen) <= _FEW:
        shown &= entries.c.run_id.in_(chosen)
    # Grouped by time first, in the order of the primary key: count(DISTINCT time) would sort.
    rows = (
        select(entries.c.run_id, entries.c.time, func.count().label("number"))
        .where(shown)
        .group_by(entries.c.run_id, entries.c.time)
        .subquery()
    )
    found = connection.execute(
        select(
            rows.c.run_id,
            func.min(rows.c.time),
            func.max(rows.c.time),
            func.count(),
            func.sum(rows.c.number),
        ).group_by(rows.c.run_id)
    )
    wanted = set(chosen)
    return {number: _credible(counted) for number, *counted in found if number in wanted}


def histories(connection: Connection, chosen: Sequence[Line]) -> dict[int, History]:
    """Return the histories of those among some runs that show whole runs, by their numbers."""
    resumed = [line.id for line in chosen if line.resumed_from is not None]
    return whole_histories(connection, resumed) if resumed else {}


def counts_of_histories(
    connection: Connection, chosen: Sequence[Line], whole: Mapping[int, History]
) -> dict[int, Counts]:
    """Return how much the runs among some that were resumed show, with what they inherit.

    Args:
        connection: The connection to read from.
        chosen: The runs.
        whole: The `histories` of the runs; the others are read.

    """
    return {
        line.id: Counts(*whole[line.id][1:])
        if line.id in whole
        else _count_of_history(connection, Chain(connection, line.id))
        for line in chosen
        if line.resumed_from is not None
    }


def _count_of_history(connection: Connection, chain: Chain) -> Counts:
    order = chain.places(connection)
    columns = reading.read_columns(
        connection, chain, None, 0, MAX_TIME, {}, order, lineage=True
    )  # fmt: skip
    times = union([column.raw_times for column in columns])
    if not len(times):
        return Counts()
    return Counts(int(times[0]), int(times[-1]), len(times), sum(map(len, columns)))


def _credible(counted: Sequence[Any]) -> Counts:
    """Return the counts, without impossible times."""
    first, last, rows, values = counted
    return Counts(
        first if is_time(first) else None, last if is_time(last) else None, rows, values
    )  # fmt: skip


def match(connection: Connection, patterns: Iterable[str]) -> list[str]:
    """Return the keys in the file that match names and globs. Raises `KeyError`."""
    asked = list(patterns)
    if not asked:
        return []
    # Many names would not fit into one statement.
    plain = len(asked) <= _FEW and not any(map(is_glob, asked))
    first = func.min(keys.c.run_id * 2**24 + keys.c.id)
    statement = select(keys.c.name).group_by(keys.c.name).order_by(first)
    seen = dict.fromkeys(
        connection.scalars(statement.where(keys.c.name.in_(asked)) if plain else statement)
    )
    chosen: dict[str, None] = {}
    for pattern in asked:
        if pattern in seen:
            chosen[pattern] = None
        elif is_glob(pattern):
            chosen.update(dict.fromkeys(key for key in seen if fnmatchcase(key, pattern)))
        else:
            known = connection.scalars(statement).all()
            raise KeyError(f"no run has a key {pattern!r}; {instead(pattern, known)}")
    return list(chosen)


_FLOAT = Kind.FLOAT.value
_NOTHING: dict[str, Sequence[Any]] = {}
_NO_HISTORIES: dict[int, History] = {}
_BEST: dict[Mode, Callable[..., int | float | None]] = {"min": min, "max": max}

# Of how many runs one statement reads the summaries: it may have 32,766 parameters at most.
_MOST_AT_ONCE = 10_000


class Ends:
    """The last and the best values of some keys, as each run sees them.

    Args:
        connection: The connection to read from.
        wanted: The keys.
        numbers: The runs; None: all.
        whole: The `histories` of those that were resumed; the others are read.

    """

    def __init__(
        self,
        connection: Connection,
        wanted: Iterable[str],
        numbers: Collection[int] | None = None,
        whole: Mapping[int, History] = _NO_HISTORIES,
    ) -> None:
        self._connection = connection
        self._whole = whole
        self._chains: dict[int, Chain] = {}
        self._columns: dict[int, dict[str, Column]] = {}
        chosen = self._wanted = frozenset(wanted)
        rows: Iterable[Any] = ()
        if chosen and numbers is not None:
            needed = {*numbers, *(run for number in numbers if number in whole
                                  for run in whole[number].runs)}  # fmt: skip
            rows = (
                row
                for some in batched(sorted(needed), _MOST_AT_ONCE)
                for row in connection.execute(_summaries.where(summaries.c.run_id.in_(some)))
                if row[1] in chosen
            )
        elif len(chosen) == 1:
            rows = _SUMMARIES_OF_KEY.run(connection, name=next(iter(chosen)))
        elif chosen:
            rows = (row for row in _SUMMARIES.run(connection) if row[1] in chosen)
        #: By run and key: the row of `_summaries`.
        self._noted: dict[int, dict[str, Sequence[Any]]] = defaultdict(dict)
        for row in rows:
            self._noted[row[0]][row[1]] = row

    def lasts(self, line: Line, keys: Iterable[str]) -> dict[str, Point]:
        """Return the last values of some keys and their times, without keys that the run lacks."""
        parts = self._summarized(line)
        if parts is None:
            found = ((key, self._read_last(line, key)) for key in keys)
            return {key: point for key, point in found if point is not None}
        points = {}
        for key in keys:
            for part in parts:
                row = part.get(key)
                if row is not None:
                    value = row[4]
                    if row[3] != _FLOAT or type(value) is not float:
                        value = decode(row[3], value)
                    points[key] = Point(row[2], value)
                    break
        return points

    def bests(self, line: Line, modes: Mapping[str, Mode]) -> dict[str, int | float]:
        """Return the least (or greatest) numbers of some keys, without keys that have none."""
        parts = self._summarized(line)
        numbers: dict[str, int | float] = {}
        for key, mode in modes.items():
            if parts is None:
                found = self._read_best(line, key, mode)
            else:
                place = 5 if mode == "min" else 6
                noted = [part[key][place] for part in parts if key in part]
                found = _BEST[mode](
                    (number for number in reversed(noted) if number is not None), default=None
                )  # fmt: skip
            if found is not None:
                numbers[key] = found
        return numbers

    def _summarized(self, line: Line) -> list[Mapping[str, Sequence[Any]]] | None:
        """Return the summaries of the runs that a run shows, the nearest first; None: read it."""
        if line.resumed_from is None:
            return [self._noted.get(line.id, _NOTHING)] if line.noted else None
        whole = self._whole.get(line.id)
        if whole is None:
            return None
        return [self._noted.get(run, _NOTHING) for run in whole.runs]

    def _read_last(self, line: Line, key: str) -> Point | None:
        """Return the last value of a key and its time, or None."""
        noted = self._noted.get(line.id, _NOTHING).get(key) if line.noted else None
        if noted is not None:
            _, _, time, kind, stored, *_ = noted
            if time > (line.resumed_at or 0):
                return Point(time, decode(kind, stored))
        if len(self._wanted) > _FEW:
            column = self._columns_of(line).get(key)
            return None if column is None else column.last
        return reading.read_last_point(self._connection, self._chain(line), key)

    def _read_best(self, line: Line, key: str, mode: Mode) -> int | float | None:
        """Return the least (or greatest) number of a key, or None."""
        if len(self._wanted) > _FEW:
            column = self._columns_of(line).get(key)
        else:
            column = self._read(line, [key]).get(key)
        found = None if column is None else column.best(mode)
        return None if found is None else found.value

    def _columns_of(self, line: Line) -> dict[str, Column]:
        """Return the columns of all wanted keys of a run: one read for many keys, not one each."""
        if line.id not in self._columns:
            self._columns = {line.id: self._read(line, self._wanted)}
        return self._columns[line.id]

    def _read(self, line: Line, wanted: Collection[str]) -> dict[str, Column]:
        columns = reading.read_columns(
            self._connection, self._chain(line), wanted, 0, MAX_TIME, {}, wanted, lineage=True
        )
        return {column.key: column for column in columns}

    def _chain(self, line: Line) -> Chain:
        if line.id not in self._chains:
            self._chains = {line.id: Chain(self._connection, line.id)}
        return self._chains[line.id]
