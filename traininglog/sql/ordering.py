"""The order in which runs were made, even if a clock was wrong.

Runs are ordered by when they were created, so that merged runs take their place among the others.
If the clock was set back, or was wrong before, a new run would come before the runs that are there.
So the new run gets a mark before its first time, with the latest moment that those are ordered by.
It then comes after them, and its time of creation stays true.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, case

from traininglog.lineage import BEFORE_ALL
from traininglog.sql.prepared import Prepared
from traininglog.sql.sound import is_moment
from traininglog.sql.tables import marks, runs

# How many of the runs that were added last are examined. One of them was made here, unless at least
# as many were merged since.
_LAST = 256

_mark = marks.alias("made")
_made = case((_mark.c.wall > runs.c.created, _mark.c.wall), else_=runs.c.created)

#: The tables to select from in an ordered statement.
RUNS = runs.outerjoin(_mark, (_mark.c.run_id == runs.c.id) & (_mark.c.time == BEFORE_ALL))

#: The terms to order by: the first run first, or the last run first.
FIRST_TO_LAST: tuple[Any, ...] = (_made, runs.c.id)
LAST_TO_FIRST: tuple[Any, ...] = (_made.desc(), runs.c.id.desc())

# The same order, as SQL: every new run runs this statement.
_NEWEST = Prepared(
    "SELECT max(moment) FROM ("
    "SELECT CASE WHEN made.wall > runs.created THEN made.wall ELSE runs.created END AS moment "
    "FROM runs LEFT JOIN marks AS made ON made.run_id = runs.id AND made.time = -1 "
    "WHERE runs.id < :run_id ORDER BY runs.id DESC LIMIT :last) AS last"
)


def newest_before(connection: Connection, run_id: int) -> float | None:
    """Return the latest moment by which the runs before a run are ordered, or None."""
    ((newest,),) = _NEWEST.run(connection, run_id=run_id, last=_LAST)
    return float(newest) if is_moment(newest) else None  # it may be damaged
