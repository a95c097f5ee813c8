"""`Store`: all the runs in one SQLite file."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import Connection, select

from traininglog.columns import Column
from traininglog.config import setting
from traininglog.errors import RunNotFound
from traininglog.identity import About
from traininglog.identity import described as in_status
from traininglog.kept import copy_all, folder_of
from traininglog.log_options import LogOptions
from traininglog.query.groups import Group, Of, check_of, grouped, with_numbers
from traininglog.query.parser import parse_name
from traininglog.query.question import Question, facts_of
from traininglog.run_info import RunInfo, State, described
from traininglog.selection import Layout, Mode, bounds, check_layout, names
from traininglog.sql import reading, writing
from traininglog.sql.ordering import LAST_TO_FIRST, RUNS
from traininglog.sql.runs import listing
from traininglog.sql.runs.experiments import Experiments
from traininglog.sql.runs.many_runs import columns_of_runs
from traininglog.sql.runs.ownership import shares_of
from traininglog.sql.runs.run_query import Choice, choose
from traininglog.sql.sound import require_run
from traininglog.sql.tables import runs
from traininglog.sqlite.check import Check, Size, check
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.database.looker import steady
from traininglog.sqlite.file.header import locate, stat_of, wal_path
from traininglog.sqlite.file.witness import boot_of
from traininglog.sqlite.log import SQLiteLog
from traininglog.sqlite.repair.repair import repair
from traininglog.sqlite.runs.deletion import delete
from traininglog.sqlite.runs.editing import edit
from traininglog.sqlite.runs.merge import Merged, Progress, bringing, merge
from traininglog.sqlite.runs.naming import Naming, digits_of
from traininglog.sqlite.runs.run_list import RunList, owned, state_of
from traininglog.sqlite.sink.compaction import seal_run
from traininglog.sqlite.sink.leases import Owners
from traininglog.sqlite.sink.recovery import recover
from traininglog.sqlite.stream import streaming
from traininglog.values import MAX_TIME

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure

    from traininglog.markup.watching import Watched
    from traininglog.plots.look import Style
    from traininglog.plots.means import Band
    from traininglog.query.expression import Named
    from traininglog.sqlite.runs.plotted import Kind


class Origin(TypedDict):
    """The process that wrote a run last, as the run names it."""

    host: str | None
    pid: int | None
    boot_id: str | None
    command: str | None
    versions: str | None


class Sealed(NamedTuple):
    """What `Store.seal` did."""

    runs: list[UUID]  #: the runs that had numbers to move
    running: list[UUID]  #: the runs that are being written, and were left alone
    values: int  #: how many values were moved
    before: int  #: the size of the file before, in bytes
    after: int  #: the size of the file now, in bytes


class Store:
    """All the runs in one file: list, find, read, merge, back up and delete them.

    A store only reads, until a caller tells it to write. It sees what the logs have flushed.

    Args:
        store: The path of the file, or ``sqlite:///path``; by default the configured store.
        readonly: Never write, not even to upgrade an older file.
        create: Make the file if it does not exist.
        allow_network: Write even on a network file system, which is unsafe.

    Raises what `SQLiteLog` raises for a file that cannot be used, and `LogClosed` after `close()`.

    """

    def __init__(
        self,
        store: str | Path | None = None,
        *,
        readonly: bool = False,
        create: bool = False,
        allow_network: bool | None = None,
    ) -> None:
        path = store if isinstance(store, Path) else locate(setting("store", store))
        if path is None:
            raise ValueError("a database in memory belongs to one log: there are no others to list")
        self.path = path.absolute()
        self._database = Database(
            self.path, readonly=readonly, create=create, allow_network=allow_network, follows=True
        )
        try:
            recover(self._database)
        except BaseException:
            self._database.close()
            raise
        self._finalizer = weakref.finalize(self, self._database.close)

    def close(self) -> None:
        """Close the file. Closing a closed store does nothing."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.path}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the latest experiments, with the last of their values."""
        from traininglog.markup.notebook_cells import MOST_LINES, lines_cell

        keys = self.keys_seen()[:4]
        infos = list(self.iter_runs(keys or None))
        lines = [
            [
                info.name or "", info.uuid.hex[:8], info.state, info.resumes, info.rows,
                *(info.last[key].value if key in info.last else "" for key in keys),
            ]
            for info in infos[-MOST_LINES:]
        ]  # fmt: skip
        heads = ["name", "run", "state", "resumes", "rows", *(key[:60] for key in keys)]
        heading = f"Store {self.path.name}: {len(infos):,} experiments"
        return lines_cell(heading, heads, lines, len(infos) - len(lines), "earlier experiment")

    @property
    def _owners(self) -> Owners:
        """The leases of the file that has the path now, which may be another file than before."""
        return Owners.of(self.path)

    @property
    def revision(self) -> str:
        """The revision of the file's schema."""
        return self._database.revision

    @property
    def upgraded(self) -> tuple[str, Path] | None:
        """The revision that the file had before opening it here upgraded it, and its backup."""
        return self._database.upgraded

    # -- finding ----------------------------------------------------------------------------

    @steady
    def find(self, run: str | UUID) -> UUID:
        """Return the run that is named: by its UUID, its name, or the start of its UUID.

        Whole UUIDs come first, then names, then the starts of UUIDs, in which dashes and case do
        not matter. Of several runs with a name the newest head is meant.

        Raises:
            RunNotFound: There is no such run. The error names near ones.
            AmbiguousRun: Several UUIDs start like that. The error names them, with their states.
            InvalidUUID: The text is empty.

        """
        return self._find([run])[0]

    @steady
    def called(self, name: str) -> list[UUID]:
        """Return all heads of a name, the newest last; an empty list if no run has it."""
        with self._database.read() as connection:
            found = Naming(connection, self.path, str).called(name)
        return [reading.stored_uuid(run.uuid) for run in found]

    @steady
    def names(self) -> dict[UUID, str | None]:
        """Return the names of all runs, in the order in which they were made."""
        with self._database.read() as connection:
            found = Naming(connection, self.path, str).runs
        return {reading.stored_uuid(run.uuid): run.name for run in found}

    def _find(self, named: Iterable[str | UUID], *, certain: bool = False) -> list[UUID]:
        """Return what `find` returns for each of them; many whole UUIDs take few statements.

        `certain` refuses a name that several heads have.
        """
        asked = list(named)
        live: set[int] | None = None

        def state(uuid: str) -> str:
            nonlocal live
            if live is None:
                live = owned(self._database, self._owners)
            return state_of(writing.find_run(connection, uuid), live, self._owners)

        with self._database.read() as connection:
            digits = [digits_of(each) for each in asked]
            whole = [each for each in digits if each is not None and len(each) == 32]
            there = {row.uuid for row in writing.find_runs(connection, whole)}
            naming = Naming(connection, self.path, state)
            found = []
            for each, known in zip(asked, digits, strict=True):
                if known is None or known not in there:
                    known = naming.find(each, certain=certain)  # noqa: PLW2901 - completed
                found.append(reading.stored_uuid(known))
            return found

    def log(self, uuid: UUID | str, **options: Unpack[LogOptions]) -> SQLiteLog:
        """Open the log of a run, named as for `find`, with the options of `SQLiteLog`."""
        options.setdefault("allow_network", self._database.allow_network)
        return SQLiteLog(self.path, self.find(uuid), **options)

    @steady
    def latest(self) -> UUID:
        """Return the head that was made last. Raises `RunNotFound` in an empty store.

        Merged runs count by when they were created. A run that is made here comes after those that
        were there, even if the clock was set back meanwhile.
        """
        with self._database.read() as connection:
            experiments = Experiments(connection)
            ordered = select(runs.c.id, runs.c.uuid).select_from(RUNS).order_by(*LAST_TO_FIRST)
            for number, uuid in connection.execute(ordered):
                if experiments.is_head(number):
                    return reading.stored_uuid(uuid)
        raise RunNotFound(f"{self.path} holds no runs yet")

    @steady
    def parts(self, run: UUID | str) -> list[RunInfo]:
        """Return the runs that accompany an experiment, in the order in which they were made.

        These are what ranks or other processes wrote beside it (``part_of``), and what was left of
        a run after another process took it over. Lists of experiments leave them out.

        Args:
            run: A run of the experiment, by name, UUID, or the start of it.

        """
        wanted = self.find(run).hex
        with self._database.read() as connection:
            experiments = Experiments(connection)
            row = writing.find_run(connection, wanted)
            numbers = [] if row is None else experiments.of(experiments.head_of(row.id))
            parts = experiments.parts(numbers)
            found = {each.uuid for each in writing.numbered_runs(connection, parts)}
        every = self.iter_runs(heads=False, archived=True) if found else ()
        return [info for info in every if info.uuid.hex in found]

    @steady
    def state(self, uuid: UUID | str) -> State:
        """Return the state of a run now; see `runs`."""
        wanted = self.find(uuid).hex
        live = owned(self._database, self._owners)
        with self._database.read() as connection:
            row = writing.find_run(connection, wanted)
        if row is None:
            raise RunNotFound(f"run {wanted} was deleted from {self.path} meanwhile")
        return state_of(row, live, self._owners)

    @steady
    def origin(self, uuid: UUID | str) -> Origin:
        """Return which process wrote a run last: host, pid, boot_id, command, versions."""
        wanted = self.find(uuid).hex
        with self._database.read() as connection:
            row = writing.find_run(connection, wanted)
        if row is None:
            raise RunNotFound(f"run {wanted} was deleted from {self.path} meanwhile")
        return {
            "host": row.host, "pid": row.pid, "boot_id": boot_of(row.boot_id),
            "command": row.command, "versions": row.versions,
        }  # fmt: skip

    def iter_runs(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        state: State | None = None,
        name: str | None = None,
        limit: int | None = None,
        best: Mapping[str, Mode] | Iterable[str] | str | None = None,
        heads: bool = True,
        where: str | None = None,
        sort: str | Iterable[str] | None = None,
        columns: str | Iterable[str] | None = None,
        archived: bool = False,
    ) -> Iterator[RunInfo]:
        """Yield a line per experiment, in the order in which they were made, without pandas.

        An experiment is shown by its head, the run that goes on with it, with the whole history
        that this run sees. So a run that was killed and resumed is one line.

        The store reads a thousand runs at a time, and holds nothing open in between. Each thousand
        is one snapshot. A run that is deleted before its turn is left out. A run that is made after
        the first was yielded is left out, too.

        Args:
            keys: Names or globs of keys whose last values to include.
            state: Only runs in this state.
            name: Only runs whose name matches this glob.
            limit: Only this many runs, the latest.
            best: Keys whose smallest number to include; as a dict, to ``"min"`` or ``"max"``.
            heads: Only heads. False: every run, each with what it logged itself.
            where: Only runs for which this expression holds, such as
                ``config.lr < 0.1 and max.val_acc > 0.9``. `docs/guide/comparing.md` has the
                language. What it names of keys is in the answer, too.
            sort: What to sort by, such as ``max.val_acc``. With a ``-`` before it the greatest
                comes first. `limit` then takes the first ones.
            columns: Names of facts to include, in the same language, such as ``max.val_acc``;
                `traininglog.query.value_of` reads them.
            archived: Also runs that were put aside.

        Raises:
            BadQuery: `where`, `sort` or `columns` is none, or names what no run has.
            KeyError: A name in `keys` or `best` that no run has. It is raised when the first run is
                asked for.

        """
        return self._each(
            RunList(
                self._database, self._owners, keys, state=state, name=name, limit=limit, best=best,
                heads=heads, question=_question(where, sort, columns), archived=archived,
            )
        )  # fmt: skip

    def _each(self, asked: RunList) -> Iterator[RunInfo]:
        """Yield the runs of a list. A generator of the store keeps it open as long as it goes."""
        yield from asked.each()

    @steady
    def runs(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        state: State | None = None,
        name: str | None = None,
        limit: int | None = None,
        best: Mapping[str, Mode] | Iterable[str] | str | None = None,
        heads: bool = True,
        config: str | Iterable[str] | None = None,
        tags: str | Iterable[str] | None = None,
        where: str | None = None,
        sort: str | Iterable[str] | None = None,
        columns: str | Iterable[str] | None = None,
        archived: bool = False,
    ) -> pd.DataFrame:
        """Return what `iter_runs` yields as a DataFrame, with a line per experiment.

        Columns: ``uuid`` (32 hex digits), ``name`` (the status value of that key, if it is a text),
        ``state``, ``created`` and ``updated`` (UTC), ``host``, ``resumed_from``, ``resumed_at``,
        ``resumes`` (how often the experiment was resumed), the ``first`` and ``last`` time, and the
        number of ``rows`` and of ``values``. Then the last value of each key asked for, as the run
        sees it, and the best numbers asked for, as ``best.<key>``. A key with the name of an
        earlier column gets a column ``log.<key>``.

        The state is computed now, not stored: ``running`` (a live process is writing it),
        ``finished`` (it was closed), ``failed`` (an exception left it), ``lost`` (its process ended
        without closing it). All lines are one snapshot.

        Args:
            keys: Names or globs of keys whose last values to show.
            state: Only runs in this state.
            name: Only runs whose name matches this glob.
            limit: Only this many runs, the latest.
            best: Keys whose smallest number to show; as a dict, to ``"min"`` or ``"max"``.
            heads: Only heads. False: every run, each with what it logged itself.
            config: Names or globs of what to show of ``status["config"]``. If it is nested, as
                ``{"optim": {"lr": 0.1}}``, a name is ``optim.lr``, and its column
                ``config.optim.lr``.
            tags: Likewise, of ``status["tags"]``.
            where: Only runs for which this expression holds, such as
                ``config.lr < 0.1 and max.val_acc > 0.9``. `docs/guide/comparing.md` has the
                language.
            sort: What to sort by, such as ``max.val_acc``. With a ``-`` before it the greatest
                comes first. `limit` then takes the first ones.
            columns: Names of facts to show, in the same language, such as ``max.val_acc``. Each
                has a column of that name, after all others.
            archived: Also runs that were put aside.

        Raises:
            BadQuery: `where`, `sort` or `columns` is none, or names what no run has.
            KeyError: A name in `keys`, `best`, `config` or `tags` that no run has.

        """
        from traininglog import frames

        asked = RunList(
            self._database, self._owners, keys, state=state, name=name, limit=limit, best=best,
            heads=heads, question=_question(where, sort, columns), archived=archived,
        )  # fmt: skip
        wanted = config is not None or tags is not None or columns is not None
        infos = asked.read(described=wanted)
        more = described(infos, config, tags) if wanted else {}
        if columns is not None:
            more = more | facts_of(infos, columns)
        return frames.table_of_runs(infos, asked.keys, list(asked.modes), more)

    @steady
    def iter_groups(
        self,
        by: str | Iterable[str],
        metrics: str | Iterable[str] | None = None,
        *,
        of: Of = "last",
        where: str | None = None,
        archived: bool = False,
    ) -> Iterator[Group]:
        """Yield the experiments in groups, with the statistics of some metrics, without pandas.

        Args:
            by: What the runs of a group have in common, such as ``config.lr``, ``state``.
            metrics: Names or globs of keys; by default each key that has a number.
            of: Which number of a run counts: its ``"last"``, its ``"min"`` or ``"max"``, or its
                ``"best"``, whose direction the run says; see `TrainingLogBase.goal`.
            where: Only runs for which this expression holds.
            archived: Also runs that were put aside.

        Raises:
            BadQuery: `by` or `where` names what no run has, or no run says what is best.
            KeyError: A name in `metrics` that no run has.

        """
        return iter(self._groups(by, metrics, of, where, archived=archived, described=True))

    def _groups(
        self, by: str | Iterable[str], metrics: str | Iterable[str] | None, of: Of,
        where: str | None, *, archived: bool, described: bool,
    ) -> list[Group]:  # fmt: skip
        """Return what `iter_groups` yields; not `described`, the runs lack what is not asked."""
        check_of(of)
        wanted = [parse_name(name) for name in names(by) or ()]
        if not wanted:
            raise ValueError("by names nothing to group by: name something, such as config.lr")
        asked = RunList(
            self._database, self._owners, "*" if metrics is None else metrics, state=None,
            name=None, limit=None, best=None, heads=True,
            question=Question(where, also=wanted), archived=archived, extremes=of != "last",
        )  # fmt: skip
        groups = grouped(asked.read(described=described), wanted, asked.keys, of)
        return with_numbers(groups) if metrics is None else groups  # not texts

    @steady
    def groups(
        self,
        by: str | Iterable[str],
        metrics: str | Iterable[str] | None = None,
        *,
        of: Of = "last",
        where: str | None = None,
        archived: bool = False,
    ) -> pd.DataFrame:
        """Return what `iter_groups` yields as a DataFrame, with a row per group.

        The first columns are what is grouped by, and ``n``, the number of runs. Each metric has
        ``KEY.n`` (the runs with a finite number), ``KEY.mean``, ``KEY.std`` (of the sample),
        ``KEY.sem``, ``KEY.min``, ``KEY.max``, ``KEY.ci95`` (half of the width of the 95%
        confidence interval, by Student's t), ``KEY.missing`` and ``KEY.non_finite`` (how many runs
        have none, or NaN or an infinity, which enter nothing else).

        The arguments and errors are those of `iter_groups`.
        """
        from traininglog import frames

        found = self._groups(by, metrics, of, where, archived=archived, described=False)
        return frames.table_of_groups(found, names(by) or [])

    def watch(self, run: UUID | str | None = None, *, interval: float = 1.0) -> None:
        """Show what is being written, by whatever process, until it has ended or Ctrl-C comes.

        In a notebook one output is updated. On a terminal a line is printed when something is new.

        Args:
            run: A run to show with its last values and curves; by default the list of the latest
                experiments, until none of them is being written.
            interval: How many seconds to wait between two looks.

        Raises:
            RunNotFound: There is no such run.

        """
        from traininglog.markup.watching import follow

        if run is None:
            follow(self._view, interval)
            return
        with self.log(run, readonly=True) as log:
            follow(lambda: self._view_of(log), interval)

    def _view(self) -> Watched:
        from traininglog.markup.watching import Watched

        states = Counter(info.state for info in self.iter_runs())
        line = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        return Watched(self._repr_html_(), line or "no experiment", not states["running"])

    def _view_of(self, log: SQLiteLog) -> Watched:
        from traininglog.display.plain_text import cut, visible
        from traininglog.markup.texts import brief
        from traininglog.markup.watching import Watched

        state = self.state(log.uuid)  # before the values: what came last is then seen
        times = log._read_times(None, None)
        row = dict(log[times[-1]]) if times else {}
        shown = ", ".join(f"{cut(key)} {brief(value)}" for key, value in list(row.items())[:8])
        line = f"{state}, time {times[-1]}: {shown}" if times else f"{state}, no rows yet"
        return Watched(log._repr_html_(), visible(line), state != "running")

    def report(
        self,
        path: str | Path,
        runs: UUID | str | Iterable[UUID | str] | None = None,
        *,
        where: str | None = None,
        sort: str | Iterable[str] | None = None,
        limit: int = 100,
        keys: str | Iterable[str] | None = None,
        group_by: str | Iterable[str] = (),
        of: Of = "last",
        title: str | None = None,
        archived: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Write a report on experiments: one HTML file, which needs neither network nor server.

        It has a table, group means, curves, what differs in the configuration, lineage and
        environment. The file appears when it is whole.

        Args:
            path: The file to write.
            runs: Experiments, by UUID or what `find` takes; by default all.
            where: Only experiments for which this expression holds; see `iter_runs`.
            sort: What to sort by; see `iter_runs`.
            limit: Only this many experiments, the latest, or with `sort` the first. The report says
                how many there are. Groups count all.
            keys: Names or globs of the keys to show; by default all. Curves are of the first 12.
            group_by: What the experiments of a group have in common, such as ``config.lr``.
            of: Which number of an experiment counts in its group; see `iter_groups`.
            title: The heading of the page.
            archived: Also runs that were put aside.
            overwrite: Whether to replace a file.

        Raises:
            BadQuery: `where`, `sort` or `group_by` is none, or names what no run has.
            KeyError: A name in `keys` that no run has.
            RunNotFound: One of `runs` is not there.
            FileExistsError: There is such a file, and `overwrite` is False.

        """
        from traininglog.reports import write

        target = Path(path)
        if target.exists() and not overwrite:  # before the work
            raise FileExistsError(
                f"{target} exists already: name another file, or say overwrite=True"
            )
        content = self.report_html(
            runs, where=where, sort=sort, limit=limit, keys=keys, group_by=group_by, of=of,
            title=title, archived=archived,
        )  # fmt: skip
        write(target, content, overwrite=overwrite)

    def report_html(
        self,
        runs: UUID | str | Iterable[UUID | str] | None = None,
        *,
        where: str | None = None,
        sort: str | Iterable[str] | None = None,
        limit: int = 100,
        keys: str | Iterable[str] | None = None,
        group_by: str | Iterable[str] = (),
        of: Of = "last",
        title: str | None = None,
        archived: bool = False,
    ) -> str:
        """Return the page that `report` writes."""
        from traininglog.reports import Wanted, page

        check_of(of)
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        asked = [runs] if isinstance(runs, (str, UUID)) else runs
        chosen = None if asked is None else tuple(self.find(run) for run in asked)
        sorts, shown = names(sort), names(keys)
        return page(
            self,
            self.path.name,
            Wanted(
                chosen, where, None if sorts is None else tuple(sorts), limit,
                None if shown is None else tuple(shown), tuple(names(group_by) or ()), of, title,
                archived,
            ),
        )  # fmt: skip

    def plot(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        where: str | None = None,
        runs: Iterable[UUID | str] | None = None,
        name: str | None = None,
        every: bool = False,
        archived: bool = False,
        kind: Kind = "curves",
        group_by: str | Iterable[str] | None = None,
        band: Band | None = "std",
        x: str = "time",
        of: Of = "last",
        smooth: float | None = None,
        panels: bool = False,
        log_x: bool = False,
        log_y: bool = False,
        title: str | None = None,
        xlabel: str | None = None,
        ylabel: str | None = None,
        size: tuple[float, float] | None = None,
        style: Style = None,
    ) -> Figure:
        """Draw runs, and return a Matplotlib figure; ``savefig`` writes it.

        A run has the same colour in all panels. From 13 runs or groups on, colours go by their
        order, and a colour bar takes the place of the legend. NaN, infinities and resumes are
        marked. Below the panels stands what is left out. `docs/guide/pictures.md` shows all kinds.

        Args:
            keys: Names or globs of keys; by default each that has numbers, a panel each.
            where: Only runs for which this expression holds.
            runs: Only these runs, by UUID or prefix.
            name: Only runs whose name matches this glob.
            every: Every run with what it logged itself, not the head of each experiment with its
                whole history.
            archived: Also runs that were put aside.
            kind: ``"curves"``; ``"scatter"``, a point per run over its fact `x`; ``"bar"``, the
                mean of each group; ``"parallel"``, an axis per value of the configuration in which
                runs differ, or per fact in `x`, between commas.
            group_by: What the runs of a group have in common, such as ``config.lr``. Curves are
                then the mean of each group: at each x at which a run has a value, over the runs
                that have a value there, or are on their way from one to the next. The picture says
                where their number changes.
            band: What to draw around a mean: the standard deviation of the sample ``"std"``, the
                standard error ``"sem"``, ``"minmax"``, the 95% confidence interval ``"ci95"``, or
                None. A group of one run has none.
            x: What curves are drawn over: ``"time"``, ``"wall"``, ``"elapsed"`` or a key.
            of: Which number of a run counts where it is a single one: its ``"last"``, ``"min"``,
                ``"max"`` or ``"best"``.
            smooth: Smooth by an exponential average that takes x into account: a value that is this
                far back, in units of x (of ``"wall"`` seconds), counts 1/e as much. What was logged
                is drawn faint.
            panels: Draw a panel per key.
            log_x: Make the horizontal axis logarithmic.
            log_y: Make the vertical axis logarithmic.
            title: The title.
            xlabel: The label of the horizontal axis.
            ylabel: The label of the vertical axis.
            size: Width and height in inches.
            style: The name of a style of Matplotlib, or a dict of its parameters.

        Raises:
            BadQuery: `where`, `group_by` or `x` is no expression or name, or names what no run has.
            KeyError: A key that no run has.
            ValueError: There is nothing to draw, or an argument is not one of its choices.
            MissingExtra: Matplotlib is not installed.

        """
        from traininglog.plots import require_matplotlib

        require_matplotlib()
        from traininglog.plots.gathering import AXES
        from traininglog.plots.look import Appearance
        from traininglog.sqlite.runs import plotted

        facts = [parse_name(each) for each in names(group_by) or ()]
        if kind in ("scatter", "parallel") and x not in AXES:
            facts += [parse_name(each) for each in x.split(",")]
        infos = self.plotted_runs(
            keys if kind != "curves" else None, where=where, runs=runs, name=name, every=every,
            archived=archived, facts=facts, extremes=kind != "curves" and of != "last",
        )  # fmt: skip
        look = Appearance(title, xlabel, ylabel, size, style, log_x, log_y)
        return plotted.plot(
            self, infos, keys, kind=kind, x=x, group_by=group_by, band=band, smooth=smooth,
            panels=panels, of=of, whole=not every, look=look,
        )  # fmt: skip

    @steady
    def plotted_runs(
        self, keys: str | Iterable[str] | None, *, where: str | None,
        runs: Iterable[UUID | str] | None, name: str | None, every: bool, archived: bool,
        facts: Iterable[Named] = (), extremes: bool = False,
    ) -> list[RunInfo]:  # fmt: skip
        """Return the runs that `plot` draws, with what is asked of them."""
        wanted = None if runs is None else list(dict.fromkeys(self._find(runs)))

        def read(*, heads: bool) -> list[RunInfo]:
            return RunList(
                self._database, self._owners, keys, state=None, name=name, limit=None, best=None,
                heads=heads, question=Question(where, also=facts),
                archived=archived or wanted is not None, extremes=extremes,
            ).read(described=True)  # fmt: skip

        infos = read(heads=not every)
        if wanted is None:
            return infos
        found = {info.uuid: info for info in infos}
        if not every and not set(wanted) <= set(found):  # a run that others go on with
            found = {info.uuid: info for info in read(heads=False)} | found
        return [found[uuid] for uuid in wanted if uuid in found]

    @steady
    def keys_seen(self, keys: str | Iterable[str] | None = None) -> list[str]:
        """Return the keys of all runs, in the order in which they were first seen.

        Args:
            keys: Names or globs of the keys to return; by default all.

        Raises:
            KeyError: A name in `keys` that no run has.

        """
        asked = names(keys)
        with self._database.read() as connection:
            return listing.match(connection, ["*"] if asked is None else asked)

    @steady
    def columns(
        self,
        runs: Iterable[UUID | str] | None = None,
        keys: str | Iterable[str] | None = None,
        *,
        start: int | None = None,
        stop: int | None = None,
        lineage: bool | None = None,
        heads: bool | None = None,
    ) -> dict[str, list[Column]]:
        """Return the columns of many runs, by their UUIDs in hex.

        `to_dataframe` makes its frame of these. The arguments are those of `to_dataframe`.

        Raises:
            KeyError: A name in `keys` that no run has.

        """
        heads, whole = _views(heads, lineage)
        with self._choosing(runs, keys, start, stop, heads=heads) as (connection, choice):
            return dict(columns_of_runs(connection, choice, lineage=whole))

    @steady
    def to_dataframe(
        self,
        runs: Iterable[UUID | str] | None = None,
        keys: str | Iterable[str] | None = None,
        *,
        start: int | None = None,
        stop: int | None = None,
        layout: Layout = "long",
        lineage: bool | None = None,
        heads: bool | None = None,
    ) -> pd.DataFrame:
        """Return many runs as one DataFrame.

        Args:
            runs: The runs to take, by UUID or prefix; by default the head of each experiment.
            keys: Names or globs of the keys to take; by default all. A run that lacks one of them
                has no value for it.
            start: The first time to take.
            stop: The time to stop before.
            layout: ``"long"``: the columns ``run`` (32 hex digits), ``time``, ``key``, ``value``
                and ``own``, a row per value. Runs may show the same value, as a variant and its
                origin do. ``own`` is true where it stands under the run that it belongs to.
                ``"wide"``: a column per key, indexed by (run, time). Where a key has one of these
                names, the index is called ``log.run`` or ``log.time``.
            lineage: Whether a resumed run includes what it sees of its ancestors. False: every run
                is taken, and each stored value once.
            heads: Whether all runs means the head of each experiment. The two follow each other: by
                default both are true, and if one is false, so is the other.

        Raises:
            KeyError: A name in `keys` that no run has.

        """
        from traininglog import frames

        check_layout(layout)
        heads, whole = _views(heads, lineage)
        with self._choosing(runs, keys, start, stop, heads=heads) as (connection, choice):
            parts = list(columns_of_runs(connection, choice, lineage=whole))
            shares = shares_of(connection, choice) if whole and layout == "long" else {}
        if layout == "long":
            return frames.long_of_runs(parts, shares)
        return frames.wide_of_runs(parts)

    @steady
    def to_arrow(
        self,
        runs: Iterable[UUID | str] | None = None,
        keys: str | Iterable[str] | None = None,
        *,
        start: int | None = None,
        stop: int | None = None,
        layout: Layout = "long",
        lineage: bool | None = None,
        heads: bool | None = None,
    ) -> pa.Table:
        """Return many runs as one Arrow table, without pandas. Needs the extra ``parquet``.

        The arguments and the rows are those of `to_dataframe`, the columns those of
        `SQLiteLog.to_arrow` after a column ``run`` (32 hex digits).

        Raises:
            KeyError: A name in `keys` that no run has.
            MissingExtra: pyarrow is not installed.

        """
        from traininglog import arrow

        check_layout(layout)
        most = MAX_TIME  # all of a run at once, as the table needs all of it anyway
        heads, whole = _views(heads, lineage)
        with streaming(
            self, runs, keys, start, stop, lineage=whole, heads=heads, most=most
        ) as stream:
            if layout == "long":
                return arrow.long_of_runs(stream.parts(), stream.shares())
            return arrow.wide_of_runs(stream.parts())

    @contextmanager
    def _choosing(
        self, runs: Iterable[UUID | str] | None, keys: str | Iterable[str] | None,
        start: int | None, stop: int | None, *, heads: bool = True, lasting: bool = False,
    ) -> Iterator[tuple[Connection, Choice]]:  # fmt: skip
        """Yield a connection to read from, and the choice that the arguments describe."""
        wanted = None if runs is None else [self.find(run).hex for run in runs]
        low, high = bounds(start, stop)
        with self._database.read(lasting=lasting) as connection:
            yield connection, choose(connection, wanted, names(keys), low, high, heads=heads)

    # -- changing ---------------------------------------------------------------------------

    def delete(
        self,
        runs: UUID | str | Iterable[UUID | str],
        *,
        descendants: bool = False,
        experiment: bool = False,
        dry_run: bool = False,
    ) -> list[UUID]:
        """Delete runs for good, give their space back to the file system, and return their UUIDs.

        One atomic step deletes all of them, or none. A trial that wrote a run stays. Its metrics
        are then those of the run's nearest ancestor that stays, or it has none. A run that only
        deleted runs continued is a head again.

        Args:
            runs: The run or the runs, by UUID or prefix.
            descendants: Delete the runs that were resumed from them, too.
            experiment: Delete the whole experiment of each run: also the runs that it continues,
                unless others read through them, and the runs that accompany it.
            dry_run: Delete nothing, and return what would be deleted.

        Raises:
            RunHasChildren: Other runs were resumed from one of them, and `descendants` is False.
            RunBusy: One of the runs to delete is being written.

        """
        asked = [runs] if isinstance(runs, (str, UUID)) else runs
        roots = [uuid.hex for uuid in self._find(asked, certain=True)]
        return delete(
            self._database, self._owners, roots, descendants=descendants, alone=not experiment,
            only_ask=dry_run,
        )  # fmt: skip

    def edit(
        self,
        run: UUID | str,
        *,
        remove: str | Iterable[str] = (),
        archived: bool | None = None,
        **about: Unpack[About],
    ) -> UUID:
        """Change what is said of an experiment, in one step; return the UUID of its head.

        It may be edited while it is being written. Its program sees the change when it opens the
        run anew. What that program assigns to the same part of the status, before or after, it
        writes over the change.

        Args:
            run: A run of the experiment, by name, UUID, or the start of it.
            remove: Names to take away, such as ``tags.old``, ``notes``, ``config.optim.lr``.
            archived: True puts the experiment aside: lists leave it out. False brings it back.
            about: What to say, as `SQLiteLog` takes it. `config` and `tags` are merged with what
                is there; `name`, `notes` and `groups` replace it.

        Raises:
            KeyError: A name to take away that is not there.
            StoreUnwritable: The store was opened for reading only, or cannot be written.
            ValueError, TypeError: Something that cannot be said, as of `SQLiteLog`.

        """
        said = in_status(about)
        uuid = self._find([run], certain=True)[0]
        return edit(self._database, uuid.hex, said, remove=names(remove) or (), archived=archived)

    def merge(self, other: Store | str | Path, *, progress: Progress | None = None) -> Merged:
        """Copy every run of another store into this one, and complete the runs that both have.

        UUIDs identify runs, so merging is idempotent, and the order of merges does not matter.
        Where two copies of a run have a value for the same place, the copy that was assigned to
        more often wins. It also says how the run ended. Nothing is removed, here or there; what a
        run deleted stays deleted.

        Projects, groups and trials are merged, too, with their kept files. Of two copies of a
        trial, the one that was changed more often wins; tags, metadata, errors and files of both
        are kept. A trial whose UID belongs to another trial here becomes its next revision.

        Raises:
            RunBusy: A run is being written here, and the other store may have more of it. Nothing
                was merged.

        """
        if not isinstance(other, Store):
            with Store(other, readonly=True) as opened:
                return self.merge(opened, progress=progress)
        bring = bringing(folder_of(other.path), folder_of(self.path))
        return merge(other._database, self._database, self._owners, bring, progress)

    def backup(self, path: str | Path) -> None:
        """Copy a snapshot of the store to a new file; writers may go on meanwhile.

        The kept files of trials are copied, too, into the folder beside the new file.

        Raises `StoreUnwritable` if a file of that name exists.
        """
        target = Path(path).absolute()
        self._database.backup(target)
        # After the copy: every file that it names exists by now, and none is ever removed.
        copy_all(folder_of(self.path), folder_of(target))

    # -- looking after ----------------------------------------------------------------------

    def seal(
        self,
        runs: UUID | str | Iterable[UUID | str] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Sealed:
        """Move the numbers of runs from rows to packed segments, and give the space back.

        A log does this itself when it is closed. Call it for runs whose process was killed, or that
        were written with ``seal=False`` or by an older version.

        Args:
            runs: A run or several, by UUID or prefix; by default all. Runs that are being written
                are left alone: their own logs seal them.
            progress: Called with the number of runs done, and the number of all.

        """
        asked = [runs] if isinstance(runs, (str, UUID)) else runs
        wanted = None if asked is None else {self.find(run).hex for run in asked}
        with self._database.read() as connection:
            lines = [
                line for line in listing.lines(connection) if wanted is None or line.uuid in wanted
            ]
        self._database.checkpoint()
        before = self.size().file
        sealed, busy, values = [], [], 0
        for done, line in enumerate(lines):
            if progress is not None:
                progress(done, len(lines))
            with self._database.write() as connection:
                row = writing.find_run(connection, line.uuid)
                if row is None:
                    continue
                if self._owners.is_written(row):
                    busy.append(reading.stored_uuid(line.uuid))
                    continue
                moved = seal_run(connection, row.id, require_run(row).uuid)
            if moved:
                sealed.append(reading.stored_uuid(line.uuid))
                values += moved
        if progress is not None:
            progress(len(lines), len(lines))
        self._database.shrink()
        return Sealed(sealed, busy, values, before, self.size().file)

    @steady
    def size(self) -> Size:
        """Return how much space the store takes on disk."""
        with self._database.read() as connection:
            free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
            page = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        file, wal = stat_of(self.path), stat_of(wal_path(self.path))
        return Size(
            0 if file is None else file.st_size, 0 if wal is None else wal.st_size, free * page
        )

    @steady
    def check(self) -> Check:
        """Examine the file: every page and index, and every stored value."""
        return check(self._database, self.size(), folder_of(self.path))

    #: Write what can be read of a damaged file to a new one. No process may have the file open, so
    #: this is not a method; see `traininglog.sqlite.repair.repair.repair`.
    repair = staticmethod(repair)


def _question(
    where: str | None, sort: str | Iterable[str] | None, columns: str | Iterable[str] | None
) -> Question | None:
    if where is None and sort is None and columns is None:
        return None
    return Question(where, sort, also=map(parse_name, names(columns) or ()))


def _views(heads: bool | None, lineage: bool | None) -> tuple[bool, bool]:
    """Return whether to take heads only, and whether runs include what they inherit."""
    if heads is None:
        heads = lineage is not False
    return heads, heads if lineage is None else lineage
