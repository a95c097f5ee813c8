"""In which order runs were made, whatever the clocks said.

Runs are ordered by when they were created, so that those that were merged from elsewhere take their
place among the others. Where the clock was set back, or was wrong before, a run that is made in a
file would so come before those that were there. It then gets a mark before its first time, which
says what they were ordered by: it comes after them. What it says of when it was created stays true.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, case

from traininglog.lineage import BEFORE_ALL
from traininglog.sql.prepared import Prepared
from traininglog.sql.sound import is_moment
from traininglog.sql.tables import marks, runs

# So many of those that were added last are looked at: among them is one that was made here, unless
# as many were merged since.
_LAST = 256

_mark = marks.alias("made")
_made = case((_mark.c.wall > runs.c.created, _mark.c.wall), else_=runs.c.created)

#: What a statement selects from that is to be put in order.
RUNS = runs.outerjoin(_mark, (_mark.c.run_id == runs.c.id) & (_mark.c.time == BEFORE_ALL))

#: In the order in which they were made, the first one first; and the other way round.
FIRST_TO_LAST: tuple[Any, ...] = (_made, runs.c.id)
LAST_TO_FIRST: tuple[Any, ...] = (_made.desc(), runs.c.id.desc())

# The same, written out: every run that is made asks for it.
_NEWEST = Prepared(
    "SELECT max(moment) FROM ("
    "SELECT CASE WHEN made.wall > runs.created THEN made.wall ELSE runs.created END AS moment "
    "FROM runs LEFT JOIN marks AS made ON made.run_id = runs.id AND made.time = -1 "
    "WHERE runs.id < :run_id ORDER BY runs.id DESC LIMIT :last) AS last"
)


def newest_before(connection: Connection, run_id: int) -> float | None:
    """Return by what moment those that were added before a run are ordered, at the most."""
    ((newest,),) = _NEWEST.run(connection, run_id=run_id, last=_LAST)
    return float(newest) if is_moment(newest) else None  # it may be damaged
