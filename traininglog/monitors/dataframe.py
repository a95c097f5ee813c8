"""`DataframeMonitor`: what a trainer tells, as a pandas DataFrame to look at and to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from traininglog.errors import MissingExtra
from traininglog.flattening import SEPARATOR
from traininglog.monitors.base import Monitor
from traininglog.monitors.flattening import BLACKLIST, Blacklist
from traininglog.monitors.log_monitor import LogMonitor
from traininglog.monitors.steps import STEP, stored

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TIMESTAMP = "timestamp"
_METADATA = "metadata"  # the key in a saved log's status


class DataframeMonitor(Monitor):
    """Keeps everything in memory, for a DataFrame, a plot, a file.

    The frame is indexed by step, counted on over sessions, and has a column per metric, a nested
    one as ``"model/norm"``, and the time of each write in UTC, ``"timestamp"`` (if the data have
    no such key themselves).

    Args:
        df: What there is already, a frame like `df`: the steps go on behind it.
        metadata: What to keep beside it: a dict of values that a log takes. By default
            ``{"created_at": now}``, in UTC.
        blacklist: What to leave out; see `LogMonitor`.
        name: The name in a composite.

    """

    def __init__(
        self,
        df: pd.DataFrame | None = None,
        metadata: Mapping[str, Any] | None = None,
        blacklist: Blacklist = BLACKLIST,
        name: str = "dataframe_monitor",
    ) -> None:
        from traininglog.stores import open_log

        super().__init__(name)
        self._log = open_log("memory:")
        if df is not None:
            self._log.update(_rows(df))
        self._rows = LogMonitor(self._log, blacklist)
        if df is not None:  # a session that is over
            self._rows.start_session(None)
        #: What is kept beside the numbers; yours to change.
        self.metadata: dict[str, Any] = (
            {"created_at": datetime.now(UTC)} if metadata is None else dict(metadata)
        )

    def start_session(self, num_steps: int | None, **kwargs: Any) -> None:
        """Count the steps of this session on behind those of the sessions before."""
        self._rows.start_session(num_steps)

    def write(self, data: Mapping[str, Any], step: float, **kwargs: Any) -> None:
        """Keep a row. Raises what `LogMonitor.write` does."""
        self._rows.write({TIMESTAMP: datetime.now(UTC), **data}, step)

    @property
    def df(self) -> pd.DataFrame:
        """Everything so far, as a new frame; without columns before the first write."""
        if not len(self._log):
            frame = self._log.to_dataframe()
            frame.index = frame.index.astype("float64").rename(STEP)
            return frame
        frame = self._log.to_dataframe(index=STEP)
        stamps = frame.get(TIMESTAMP, ())
        if len(stamps) and all(isinstance(moment, datetime) and moment.tzinfo for moment in stamps):
            frame[TIMESTAMP] = frame[TIMESTAMP].astype("datetime64[us, UTC]")
        return frame

    def save(self, path: str | PathLike[str]) -> UUID:
        """Write everything into a SQLite log: a new run in a new or an existing file.

        The metadata go into its status. Returns the UUID of the run, by which `from_file` finds it
        among others in the file.
        """
        from traininglog.stores import open_log

        with open_log(Path(path)) as log:
            log.update(self._log)
            log.status.update({"name": self.name or type(self).__name__, _METADATA: self.metadata})
            return log.uuid

    @classmethod
    def from_file(
        cls, path: str | PathLike[str], uuid: UUID | str | None = None, **options: Any
    ) -> Self:
        """Return a monitor with what `save`, or a `LogMonitor`, wrote. Its steps go on behind it.

        Args:
            path: The file; it is only read.
            uuid: The run in it, by default the newest.
            options: Passed on to the class: `blacklist`, `name`.

        Raises:
            StoreNotFound: There is no file at `path`.
            RunNotFound: The file does not hold the run, or none at all.
            ValueError: The run was not written by a monitor: its rows tell no steps.

        """
        from traininglog.stores import open_log, open_store

        path = Path(path)
        if uuid is None:
            with open_store(path, readonly=True) as store:
                uuid = store.latest()
        with open_log(path, uuid, readonly=True) as log:
            rows = log.to_dict()
            metadata = log.status.get(_METADATA)
        if rows and not any(STEP in row for row in rows.values()):
            raise ValueError(
                f"the run {uuid} in {path} was not written by a monitor: no row has a {STEP!r}"
            )
        monitor = cls(metadata=metadata if isinstance(metadata, dict) else {}, **options)
        monitor._log.update(rows)
        monitor._rows.start_session(None)
        return monitor

    def plot(
        self,
        title: str | None = None,
        figsize: tuple[float, float] | None = None,
        skip_first: int | None = None,
        smooth_window: int | None = None,
        metrics: Sequence[str] = ("loss",),
        hyperparameters: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
        fig: Figure | None = None,
    ) -> Figure:
        """Draw metrics over steps, and below them a row for each hyperparameter.

        A metric stands for all columns whose names end with it (``"loss"`` for ``training_loss``,
        ``validation_loss`` and ``test/loss``); each is drawn raw and faint, and smoothed and
        strong. Two metrics have an axis each, one on either side.

        Args:
            title: What stands above it.
            figsize: Width and height in inches.
            skip_first: How many rows at the beginning to leave out, where losses are often huge. By
                default 100, but no more than a tenth of all.
            smooth_window: Over how many rows around each to take the mean. By default 50, but no
                more than a twentieth of all.
            metrics: One metric or two.
            hyperparameters: Columns, or the ends of their names, such as ``"learning_rate"`` for
                that of every group of parameters; or a dict from such to keywords for the line, as
                matplotlib has them. By default the learning rate, if there is one.
            fig: A matplotlib figure to draw into; by default a new one.

        Raises:
            KeyError: There is no column for a metric or hyperparameter.
            ValueError: There is nothing to draw, or there are more than two metrics.
            MissingExtra: matplotlib is not installed.

        """
        figure: Figure = _pictures().plot(
            self.df,
            title=title,
            figsize=figsize,
            skip_first=skip_first,
            smooth_window=smooth_window,
            metrics=[metrics] if isinstance(metrics, str) else list(metrics),
            hyperparameters=hyperparameters,
            figure=fig,
        )
        return figure

    def plot_learning_rate_survey(
        self,
        ax: Axes | None = None,
        metric: str = "training_loss",
        learning_rate: str = "learning_rate",
        **line: Any,
    ) -> Axes:
        """Draw a metric over the learning rate, both logarithmic: where does it fall fastest?

        Rows of the same learning rate count as one point, their mean. A row without one, such as
        that of a part of a step, has that of the next row.

        Args:
            ax: matplotlib axes to draw into; by default those of a new figure (``ax.figure``).
            metric: The column with the metric.
            learning_rate: The column with the learning rate, or the end of its name.
            line: Keywords for the line, as matplotlib has them.

        Raises:
            KeyError: A column is missing.
            ValueError: There is nothing to draw.
            MissingExtra: matplotlib is not installed.

        """
        axes: Axes = _pictures().plot_survey(
            self.df, axes=ax, metric=metric, learning_rate=learning_rate, line=line
        )
        return axes


def _pictures() -> Any:
    try:
        from traininglog.monitors import pictures
    except ImportError as error:
        raise MissingExtra(
            'a plot needs matplotlib; install it with: pip install "traininglog[plot]"'
        ) from error
    return pictures


def _rows(df: pd.DataFrame) -> dict[int, dict[str, Any]]:
    """Return a frame as rows of a log. What is missing in it is left out."""
    names = [
        SEPARATOR.join(map(str, column if isinstance(column, tuple) else [column]))
        for column in list[Any](df.columns)
    ]
    present = df.notna().to_numpy()
    columns = [df.iloc[:, place].to_list() for place in range(len(names))]
    rows: dict[int, dict[str, Any]] = {}
    for number, step in enumerate(df.index.to_list()):
        row = rows[number + 1] = {STEP: stored(step)}
        for place, name in enumerate(names):
            if present[number, place]:
                row[name] = columns[place][number]
    return rows
