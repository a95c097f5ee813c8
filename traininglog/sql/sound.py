"""Tests of the rows in our tables, for files that may come from anywhere.

SQLite stores any value in any column: a text instead of a number, or a number that cannot be a
time. Code that reads rows calls `require_run` and its like, which refuse impossible values and name
the run. `problems` tests all rows. Code that only moves rows tests them, too: sealing, merging or
continuing a run takes over no row that reading would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from traininglog.encoding import Kind, decode
from traininglog.errors import CorruptLog
from traininglog.values import MAX_TIME

#: The largest numbers of runs and epochs that have a byte to lock; see `leases`.
MOST_RUNS, MOST_EPOCHS = 2**32 - 1, 2**29

_MOST_KEYS = 2**24 - 1
# No real count is larger; and counting on from there would not fit a column.
_MOST_COUNTED = 2**62
_LATEST = 2**33  # no real moment is past the year 2242, or before 1697
_HEX = frozenset("0123456789abcdef")

Test = Callable[[Any], bool]


def is_uuid(value: object) -> bool:
    """Return whether a value may be the UUID of a run."""
    return isinstance(value, str) and len(value) == 32 and _HEX.issuperset(value)


def is_moment(value: object) -> bool:
    """Return whether a value may be the moment of a write, in unix seconds."""
    return type(value) in (int, float) and -_LATEST <= value <= _LATEST  # type: ignore[operator]


def is_text(value: object) -> bool:
    """Return whether a value is a text."""
    return type(value) is str


def is_whole(value: object) -> bool:
    """Return whether a value is an integer."""
    return type(value) is int


def is_time(value: object) -> bool:
    """Return whether a value may be the time of a row."""
    return type(value) is int and 0 <= value <= MAX_TIME


def is_count(value: object) -> bool:
    """Return whether a value may be a count."""
    return type(value) is int and 0 <= value <= _MOST_COUNTED


def is_run(value: object) -> bool:
    """Return whether a value may be the number of a run."""
    return type(value) is int and 0 < value <= MOST_RUNS


def is_epoch(value: object) -> bool:
    """Return whether a value may be an epoch, the number of times that a run was opened."""
    return type(value) is int and 0 <= value < MOST_EPOCHS


def is_resume_point(value: object) -> bool:
    """Return whether a value may be the last time that a run sees of its parent."""
    return type(value) is int and -1 <= value <= MAX_TIME


def perhaps(test: Test) -> Test:
    """Return a test that None passes, too."""
    return lambda value: value is None or test(value)


def is_outcome(value: object) -> bool:
    """Return whether a value may be the outcome of a run."""
    return value in ("finished", "failed")


def is_role(value: object) -> bool:
    """Return whether a value may be what a run is to another."""
    return value in ("continue", "variant", "part")


def is_relation(row: Mapping[str, object]) -> bool:
    """Return whether a row may be one of the table of relations."""
    return is_role(row["role"]) and is_uuid(row["other"]) and is_count(row["position"])


def is_number(value: object) -> bool:
    """Return whether a value is a number."""
    return type(value) in (int, float)


def is_stored(kind: Any, stored: Any) -> bool:
    """Return whether a kind and a stored form can be decoded."""
    try:
        decode(kind, stored)
    except CorruptLog:
        return False
    return True


#: The tests of the columns of the table of runs.
RUN_FORM: dict[str, Test] = {
    "id": is_run, "uuid": is_uuid, "resumed_from": perhaps(is_uuid),
    "resumed_at": perhaps(is_resume_point), "created": is_moment, "updated": is_moment,
    "opened": perhaps(is_moment), "outcome": perhaps(is_outcome), "host": perhaps(is_text),
    "pid": perhaps(is_whole), "boot_id": perhaps(is_text), "command": perhaps(is_text),
    "versions": perhaps(is_text), "epoch": is_epoch, "high_water": is_count,
    "first_time": perhaps(is_time), "last_time": perhaps(is_time), "deletions": is_count,
}  # fmt: skip

_LINK = ("id", "uuid", "resumed_from", "resumed_at", "first_time", "last_time", "deletions")

#: The columns of a link of a chain: id, UUID, parent, resume point, first and last time, deletions.
LINK_FORM: tuple[Test, ...] = tuple(RUN_FORM[name] for name in _LINK)


def is_sound(row: Sequence[Any], form: Sequence[Test]) -> bool:
    """Return whether the first columns of a row pass the tests of a form."""
    return all(test(value) for test, value in zip(form, row, strict=False))


def are_sound(rows: Sequence[Sequence[Any]], form: Sequence[Test]) -> bool:
    """Return whether `is_sound` holds for each of many rows; each distinct value is tested once."""
    return all(
        all(map(test, _distinct(column)))
        for test, column in zip(form, zip(*rows, strict=True), strict=False)
    )


def _distinct(column: Sequence[Any]) -> Iterable[object]:
    if len(set(map(type, column))) == 1:
        return set(column)
    # An integer and an equal float are two values: perhaps only one of them passes.
    return (value for _, value in set(zip(map(type, column), column, strict=True)))


def require_sound(row: Sequence[Any], form: Sequence[Test]) -> None:
    """Raise `CorruptLog` unless the row of a run passes the tests of a form."""
    if not is_sound(row, form) or (row[4] is None) != (row[5] is None):
        raise CorruptLog(
            f"run {row[1]!r:.60} cannot be read: its line in the table of runs is damaged; "
            "see `traininglog check`"
        )


def require_run(row: Any) -> Any:
    """Return a whole row of the table of runs. Raises `CorruptLog` for an impossible one."""
    wrong = [name for name, test in RUN_FORM.items() if not test(getattr(row, name))]
    if (row.first_time is None) != (row.last_time is None):
        wrong.append("last_time")
    if wrong:
        raise CorruptLog(
            f"run {row.uuid!r:.60} cannot be used: in the table of runs, what is in its column "
            f"{', '.join(wrong)} was never written there; see `traininglog check`"
        )
    return row


def require_names(rows: Iterable[Any]) -> Iterator[Any]:
    """Yield rows that end in the number and the name of a key. Raises `CorruptLog`."""
    for row in rows:
        *_, number, name = row
        if type(name) is not str or type(number) is not int or not 0 < number <= _MOST_KEYS:
            raise CorruptLog(
                f"key number {number!r:.40} with the name {name!r:.60} was never written; "
                "see `traininglog check`"
            )
        yield row


def require_entries(uuid: str, rows: Sequence[Any], names: Container[int]) -> Sequence[Any]:
    """Return entries of a run, as `lineage_chain.ENTRY`, given the numbers of its keys.

    Raises `CorruptLog` for an impossible entry.
    """
    for _, time, number, kind, stored in rows:
        if not is_time(time):
            raise CorruptLog(
                f"run {uuid} has a value at {time!r:.40}, which is no time; see `traininglog check`"
            )
        if number not in names:
            raise CorruptLog(
                f"run {uuid} has at time {time} a value of a key {number!r:.40} that it does not "
                "know; see `traininglog check`"
            )
        if kind != Kind.FLOAT or type(stored) is not float:
            decode(kind, stored)
    return rows


def are_totals(whole: Sequence[Mapping[str, Any]], by_key: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the rows of a run's totals and summaries are possible."""
    return all(
        is_count(row["high_water"]) and is_count(row["rows"]) and is_count(row["count"])
        and perhaps(is_time)(row["first"]) and perhaps(is_time)(row["last"])
        for row in whole
    ) and all(
        is_count(row["count"]) and is_time(row["last"]) and is_stored(row["kind"], row["value"])
        and perhaps(is_number)(row["least"]) and perhaps(is_number)(row["greatest"])
        for row in by_key
    )  # fmt: skip


def require_times(uuid: str, times: Sequence[Any]) -> None:
    """Raise `CorruptLog` unless each of the ascending times of a run is possible."""
    if times and not (set(map(type, times)) == {int} and is_time(times[0]) and is_time(times[-1])):
        wrong = next(time for time in times if not is_time(time))
        raise CorruptLog(
            f"run {uuid} has a value at {wrong!r:.40}, which is no time; see `traininglog check`"
        )


def require_marks(rows: Iterable[Any]) -> list[Any]:
    """Return marks, as rows of time and unix seconds. Raises `CorruptLog`."""
    found = list(rows)
    if not all(is_resume_point(time) and is_moment(wall) for time, wall in found):
        raise CorruptLog("when rows were logged is damaged; see `traininglog check`")
    return found


# -- all of them ----------------------------------------------------------------------------


def _int(least: int, most: int = MAX_TIME) -> str:
    return f"typeof({{0}}) = 'integer' AND {{0}} BETWEEN {least} AND {most}"


_MOMENT = f"typeof({{0}}) IN ('integer', 'real') AND {{0}} BETWEEN -{_LATEST} AND {_LATEST}"
_UUID = "typeof({0}) = 'text' AND length({0}) = 32 AND {0} NOT GLOB '*[^0-9a-f]*'"
_TEXT = "typeof({0}) = 'text'"
_BLOB = "typeof({0}) = 'blob'"
_NUMBER = "typeof({0}) IN ('integer', 'real')"
_KIND = _int(0, max(Kind))
_COUNT = _int(0, _MOST_COUNTED)
_MAYBE = "{{0}} IS NULL OR ({})".format

_COLUMNS: dict[str, dict[str, str]] = {
    "runs": {
        "id": _int(1, MOST_RUNS), "uuid": _UUID, "resumed_from": _MAYBE(_UUID),
        "resumed_at": _MAYBE(_int(-1)), "created": _MOMENT, "updated": _MOMENT,
        "opened": _MAYBE(_MOMENT), "outcome": _MAYBE("{0} IN ('finished', 'failed')"),
        "host": _MAYBE(_TEXT), "pid": _MAYBE("typeof({0}) = 'integer'"), "boot_id": _MAYBE(_TEXT),
        "command": _MAYBE(_TEXT), "versions": _MAYBE(_TEXT), "epoch": _int(0, MOST_EPOCHS - 1),
        "high_water": _COUNT, "first_time": _MAYBE(_int(0)),
        "last_time": f"({_MAYBE(_int(0))}) AND ({{0}} IS NULL) = (first_time IS NULL)",
        "deletions": _COUNT,
    },
    "keys": {"id": _int(1, _MOST_KEYS), "name": f"{_TEXT} AND {{0}} <> ''"},
    "entries": {"time": _int(0), "key_id": _int(1, _MOST_KEYS), "kind": _KIND},
    "segments": {
        "key_id": _int(1, _MOST_KEYS), "first": _int(0), "last": _int(0), "step": _int(0),
        "size": _int(1), "kind": _KIND, "codec": _int(0), "checksum": _int(0),
        "times": _MAYBE(_BLOB), "data": _BLOB,
    },
    "totals": {
        "high_water": _COUNT, "rows": _COUNT, "count": _COUNT, "first": _MAYBE(_int(0)),
        "last": _MAYBE(_int(0)),
    },
    "summaries": {
        "key_id": _int(1, _MOST_KEYS), "count": _COUNT, "last": _int(0), "kind": _KIND,
        "least": _MAYBE(_NUMBER), "greatest": _MAYBE(_NUMBER),
    },
    "relations": {
        "role": "{0} IN ('continue', 'variant', 'part')", "other": _UUID, "position": _COUNT,
    },
    "status": {"key": _TEXT, "kind": _KIND},
    "marks": {"time": _int(-1), "wall": _MOMENT},  # -1: see `traininglog.sql.ordering`
}  # fmt: skip

# How many rows of a table are named in messages.
_TOLD = 5


def problems(connection: Connection) -> list[str]:
    """Return messages on the columns that hold impossible values."""
    found = []
    for table, columns in _COLUMNS.items():
        tests = {name: "(" + test.format(f'"{name}"') + ")" for name, test in columns.items()}
        sound = " AND ".join(f"coalesce({test}, 0)" for test in tests.values())
        owner = "id" if table == "runs" else "run_id"
        flags = ", ".join(f"coalesce({test}, 0)" for test in tests.values())
        rows = connection.exec_driver_sql(
            f"SELECT {owner}, {flags} FROM {table} WHERE NOT ({sound}) LIMIT {_TOLD + 1}"  # noqa: S608 - constants of ours
        ).all()
        for number, *passed in rows[:_TOLD]:
            wrong = [name for name, good in zip(tests, passed, strict=True) if not good]
            found.append(
                f"table {table}, run number {number!r:.40}: what is in its column "
                f"{', '.join(wrong)} was never written there"
            )
        if len(rows) > _TOLD:
            found.append(f"table {table}: there are more of those")
    for table, most in (("runs", MOST_RUNS), ("segments", MAX_TIME)):
        last = connection.exec_driver_sql(
            "SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)
        ).scalar()
        if last is not None and not (is_whole(last) and 0 <= last < most):
            found.append(
                f"table {table}: {last!r:.40} is said to be the number of its last line, and none "
                "can be added"
            )
    return found
