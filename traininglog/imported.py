"""The facts of an imported run: one that happened elsewhere or earlier, and is only stored now."""

from __future__ import annotations

from datetime import datetime
from numbers import Real
from typing import Any, Literal, NamedTuple, get_args

#: The state of a run that is over, as `Store.runs` returns it.
Ending = Literal["finished", "failed", "lost"]

#: The state that a caller may give a run as it closes it.
Outcome = Literal["finished", "failed"]

#: In the place of a wall time: that of the rows up to the mark is not known.
UNKNOWN = -1.0

_LATEST = 2.0**33  # unix seconds, in the year 2242: a larger number is not in seconds
_HOST = 255


class Imported(NamedTuple):
    """The facts that the importer of a run knows.

    Without marks, the wall times of its rows are not known, and no store guesses them.
    """

    created: float | None  #: unix seconds
    host: str | None
    outcome: Ending | None

    @classmethod
    def of(cls, created: object, host: object, outcome: object) -> Imported | None:
        """Return the checked facts, or None if there are none: the run happens here and now.

        Raises `TypeError` or `ValueError`.
        """
        if created is None and host is None and outcome is None:
            return None
        if host is not None and not (
            isinstance(host, str) and 0 < len(host) <= _HOST and host.isprintable()
        ):
            raise ValueError(
                f"host is the name of a machine, of up to {_HOST} printable letters, not "
                f"{host!r:.80}"
            )
        if outcome is not None and outcome not in get_args(Ending):
            raise ValueError(
                f"outcome is one of {', '.join(map(repr, get_args(Ending)))}, not {outcome!r:.80}"
            )
        moment = None if created is None else check_moment(created, "created")
        return cls(moment, host, outcome)  # type: ignore[arg-type]


def check_moment(moment: object, name: str) -> float:
    """Return a moment in unix seconds, from a number or a `datetime` with a time zone.

    Raises `TypeError` or `ValueError`.

    >>> from datetime import UTC, datetime
    >>> check_moment(datetime(2024, 1, 1, tzinfo=UTC), "wall")
    1704067200.0
    """
    if isinstance(moment, datetime):
        return _seconds_of(moment, name)
    kind = getattr(getattr(moment, "dtype", None), "kind", "f")  # of NumPy's dates: "M" and "m"
    if isinstance(moment, bool) or kind not in "iuf" or not _is_number(moment):
        raise TypeError(
            f"{name} is a number of unix seconds or a datetime with a time zone, not a "
            f"{type(moment).__name__}"
        )
    number: Any = moment
    seconds = float(number)
    if not 0 <= seconds < _LATEST:  # also refuses NaN
        raise ValueError(
            f"{name} is a moment in unix seconds, from 0 to the year 2242, not {seconds!r}"
            + ("; divide milliseconds by 1000" if seconds >= _LATEST else "")
        )
    return seconds


def _is_number(moment: object) -> bool:
    return isinstance(moment, Real) or (
        callable(getattr(type(moment), "__float__", None)) and not isinstance(moment, str)
    )


def _seconds_of(moment: datetime, name: str) -> float:
    try:
        aware = moment.utcoffset() is not None
        seconds = moment.timestamp() if aware else 0.0
    except (TypeError, ValueError, OverflowError) as error:  # pandas.NaT is a datetime
        raise ValueError(f"{name} is no moment: {error}") from error
    if seconds != seconds:  # noqa: PLR0124 - NaN, of pandas.NaT
        raise ValueError(f"{name} is no moment: {moment!r}")
    if not aware:
        raise ValueError(
            f"{name} has no time zone, so it may be any of a day's moments: say which, as in "
            "value.replace(tzinfo=datetime.UTC), or value.astimezone() for this machine's"
        )
    return check_moment(seconds, name)
