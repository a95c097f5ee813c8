"""`DataframeMonitor`: collects the measurements of a trainer in a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from traininglog.flattening import SEPARATOR
from traininglog.monitors.base import Monitor
from traininglog.monitors.flattening import BLACKLIST, Blacklist
from traininglog.monitors.log_monitor import LogMonitor
from traininglog.monitors.steps import STEP, stored
from traininglog.plots import require_matplotlib

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TIMESTAMP = "timestamp"
_METADATA = "metadata"  # the key in a saved log's status


class DataframeMonitor(Monitor):
    """Keeps everything in memory, for a DataFrame, a plot, a file.

    The index of the frame is the step, counted on over sessions. The frame has a column per metric,
    a nested one as ``"model/norm"``, and the time of each write in UTC, ``"timestamp"`` (unless the
    data have that key themselves).

    Args:
        df: Earlier data, a frame like `df`: the steps count on from its last one.
        metadata: Data to keep beside the frame: a dict of values that a log takes. By default
            ``{"created_at": now}``, in UTC.
        blacklist: Keys to leave out; see `LogMonitor`.
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
        if df is not None:  # the frame counts as an earlier session
            self._rows.start_session(None)
        #: Data to keep beside the frame; the program may change it.
        self.metadata: dict[str, Any] = (
            {"created_at": datetime.now(UTC)} if metadata is None else dict(metadata)
        )

    def start_session(self, num_steps: int | None, **kwargs: Any) -> None:
        """Start a session, whose steps count on from those of the previous sessions."""
        self._rows.start_session(num_steps)

    def write(self, data: Mapping[str, Any], step: float, **kwargs: Any) -> None:
        """Add a row. Raises the errors of `LogMonitor.write`."""
        self._rows.write({TIMESTAMP: datetime.now(UTC), **data}, step)

    @property
    def df(self) -> pd.DataFrame:
        """All rows so far, as a new frame; it has no columns before the first write."""
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

        The metadata go into its status. Returns the UUID of the run, which `from_file` takes to
        find it in the file.
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
        """Return a monitor with the rows that `save`, or a `LogMonitor`, wrote.

        Its steps count on from the last one of these rows.

        Args:
            path: The file; it is only read.
            uuid: The run in it, by default the newest.
            options: Passed on to the class: `blacklist`, `name`.

        Raises:
            StoreNotFound: There is no file at `path`.
            RunNotFound: The file does not contain the run, or any run.
            ValueError: The run was not written by a monitor: its rows have no steps.

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
        ``validation_loss`` and ``test/loss``). Each is drawn twice: raw and faint, and smoothed and
        strong. Two metrics have an axis each, one on either side. Below stands what is not shown:
        the rows that are skipped, NaN and infinities, what is no number, and how it is smoothed.

        Args:
            title: The title above the plot.
            figsize: Width and height in inches.
            skip_first: The number of rows to skip at the beginning, where losses are often huge. By
                default 100, but no more than a tenth of all.
            smooth_window: The number of rows around each over which to take the mean. By default
                50, but no more than a twentieth of the rows that are left.
            metrics: One metric or two.
            hyperparameters: Columns, or the ends of their names: ``"learning_rate"`` stands for
                that of every group of parameters. Or a dict from these to matplotlib keywords for
                the line. By default the learning rate, if there is one.
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
        """Draw a metric over the learning rate, both logarithmic, to see where it falls fastest.

        Rows of the same learning rate count as one point, their mean. A row without a learning
        rate, as of a part of a step, takes that of the next row.

        Args:
            ax: matplotlib axes to draw into; by default those of a new figure (``ax.figure``).
            metric: The column with the metric.
            learning_rate: The column with the learning rate, or the end of its name.
            line: Matplotlib keywords for the line.

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
    require_matplotlib()
    from traininglog.monitors import pictures

    return pictures


def _rows(df: pd.DataFrame) -> dict[int, dict[str, Any]]:
    """Return a frame as rows of a log, without its missing values."""
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
