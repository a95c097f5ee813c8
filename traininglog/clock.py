"""Wall times: the marks that a store keeps, and from them the wall time of every row.

A mark says at which moment a run had got to a time. A store makes one with every flush, not with
every row. The wall time of a row is that of the first mark at its time or after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Marks(NamedTuple):
    """The marks of one run."""

    cut: int  #: the last time of the run that the log sees
    times: Sequence[int]  #: ascending
    walls: Sequence[float]  #: the moment of each, in unix seconds; below 0: not known


class Clock(NamedTuple):
    """The marks of a log, from which it computes the wall times of rows."""

    created: float | None  #: when the first of the runs was made, in unix seconds; None: not known
    runs: list[Marks]  #: from the root to the nearest

    def walls(self, times: object) -> NDArray[np.float64]:
        """Return the wall time of rows at ascending times, in unix seconds; NaN: not known.

        A row that a resumed run inherits has the wall time that it has in its ancestor.
        """
        import numpy as np

        times = np.asarray(times, np.int64)
        walls = np.full(len(times), np.nan)
        start = 0
        for run in self.runs:
            if not len(run.times):
                continue
            known = np.asarray(run.times, np.int64)
            stop = int(np.searchsorted(times, min(run.cut, int(known[-1])), side="right"))
            if stop > start:
                places = np.searchsorted(known, times[start:stop])
                found = np.asarray(run.walls, np.float64)[places]
                walls[start:stop] = np.where(found < 0, np.nan, found)
                start = stop
        return walls

    def elapsed(self, times: object) -> NDArray[np.float64]:
        """Return the seconds from `created` until the rows at ascending times were logged."""
        import numpy as np

        return self.walls(times) - (np.nan if self.created is None else self.created)


def moments(walls: NDArray[np.float64]) -> NDArray[np.datetime64]:
    """Return unix seconds as datetimes of whole microseconds; NaT for NaN."""
    import numpy as np

    known = np.isfinite(walls)
    found = np.full(len(walls), np.datetime64("NaT", "us"), "datetime64[us]")
    found[known] = np.round(walls[known] * 1e6).astype(np.int64).view("datetime64[us]")
    return found
