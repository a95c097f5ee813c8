"""`TrialClient`: describe an experiment, run it, find it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from traininglog.config import setting
from traininglog.errors import LogClosed
from traininglog.log_options import StoreOptions
from traininglog.machine import leave_out_command
from traininglog.plain_json import shown_json
from traininglog.selection import Mode, modes
from traininglog.stores import open_records
from traininglog.trials import trial_table
from traininglog.trials.entities import ORPHAN, Project, Trial, TrialGroup
from traininglog.trials.fields import (
    Described,
    Exist,
    Search,
    TrialDefinition,
    TrialFields,
)
from traininglog.trials.logger import TrialLogger
from traininglog.trials.measures.aggregators import Aggregator
from traininglog.trials.report import report
from traininglog.trials.search.queries import Query
from traininglog.trials.store import TrialStore
from traininglog.trials.surroundings import environments
from traininglog.trials.surroundings.arguments import UNSET, Unset, arguments_of, stored_arguments
from traininglog.trials.surroundings.versions import default_version
from traininglog.trials.trial_errors import (
    AlreadySet,
    GroupNotFound,
    InvalidName,
    ProjectNotFound,
    TrialExists,
    TrialNotFound,
)
from traininglog.values import StoredRow, StoredValue, Value

if TYPE_CHECKING:
    from argparse import Namespace

    import pandas as pd
    import torch

    from traininglog.trials.records import Records
    from traininglog.trials.search.verbs import GroupUpdate, TrialUpdate
    from traininglog.trials.surroundings.arguments import Arguments


class TrialClient:
    """Client of a trial store: projects, groups, and the one trial that this program runs.

    The client has every method of `TrialLogger`, and applies it to the current trial::

        client = TrialClient("runs.db")
        client.set_project(name="paper")
        with client.new_trial(parameters={"lr": 0.1}) as trial:
            trial.log_metrics(step=1, loss=0.5)
        client.report()

    The settings ``project``, ``group`` and ``trial`` (``TRAININGLOG_PROJECT``,
    ``TRAININGLOG_GROUP``, ``TRAININGLOG_TRIAL``) attach a worker to existing records. They hold the
    name of a project, the name of a group in it, and the UID of a trial.

    Args:
        store: A path or ``sqlite:///path``, ``"memory:"``, ``"file:report.json"``, a URL with a
            registered scheme, or a `TrialStore`. Defaults to the configured store.
        record_command: If False, no store records the command line of this process from now on. If
            True, it is recorded, and everything that looks like a secret is masked. Defaults to the
            setting of that name.
        options: Options of the store.

    """

    def __init__(
        self,
        store: str | Path | TrialStore | Records | None = None,
        *,
        record_command: bool | None = None,
        **options: Unpack[StoreOptions],
    ) -> None:
        if record_command is False:
            leave_out_command()
        if store is None or isinstance(store, (str, Path)):
            store = open_records(store, **options)
        self.store = store if isinstance(store, TrialStore) else TrialStore(store)
        self.project: Project | None = None
        self.group: TrialGroup | None = None
        self._logger: TrialLogger | None = None
        self._version: Callable[[], str | None] = default_version
        self._attached = False  # whether the settings named the trial
        self._attach()

    def _attach(self) -> None:
        project, group, trial = (setting(name) for name in ("project", "group", "trial"))
        if project is not None:
            self.set_project(name=project, get_only=True)
        if group is not None:
            self.set_group(name=group, get_only=True)
        if trial is not None:
            self.set_trial(uid=trial)
            self._attached = True

    def close(self) -> None:
        """End the trials that this store object started, and close the store.

        Their status becomes Completed. If an exception is being handled (for example in a
        `finally`), the status tells of that exception. `report` can be called after this.
        """
        self.store.close()

    def __enter__(self) -> Self:
        """Start the trial if the program made or set one. It ends with the block."""
        logger = self._logger
        if logger is not None and logger.made and not (logger.ended or self._attached):
            logger.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.store.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<TrialClient of {self.store.records.location}>"

    # -- project and group ------------------------------------------------------------------

    def set_project(
        self,
        project: Project | str | None = None,
        *,
        name: str | None = None,
        force: bool = False,
        get_only: bool = False,
        **fields: Unpack[Described],
    ) -> Project:
        """Set the current project, and create it if the store has none of that name.

        Args:
            project: The project or its name.
            name: The name, instead of `project`.
            force: Replace a current project that is another one.
            get_only: Create no project.
            fields: Other fields of a new project; see `Project`.

        Raises:
            ProjectNotFound: The store has no such project, and `get_only` is True.
            AlreadySet: Another project is current, and `force` is False.

        """
        if not isinstance(project, Project):
            project = Project(_the_name("project", project, name), **fields)
        if self.project is not None and self.project != project and not force:
            raise AlreadySet(
                f"{self.project!r} was set, {project!r} is another one: say force=True to change"
            )
        found = self.store.get_project(project)
        if found is None:
            if get_only:
                raise ProjectNotFound(
                    f"{self.store.records.location} holds no project {project.name!r}"
                )
            found = self.store.new_project(project)
        if self.group is not None and self.group.project_id != found.uid:
            self.group = None
        self.project = found
        return found

    def set_group(
        self,
        group: TrialGroup | str | None = None,
        *,
        name: str | None = None,
        project_id: str | None = None,
        force: bool = False,
        get_only: bool = False,
        **fields: Unpack[Described],
    ) -> TrialGroup:
        """Set the current group, and create it if the project has none of that name.

        Args:
            group: The group or its name.
            name: The name, instead of `group`.
            project_id: The name of its project. Defaults to the current project.
            force: Replace a current group that is another one.
            get_only: Create no group.
            fields: Other fields of a new group; see `TrialGroup`.

        Raises:
            ProjectNotFound: No project is current.
            GroupNotFound: The project has no such group, and `get_only` is True.
            AlreadySet: Another group is current, and `force` is False.

        """
        if not isinstance(group, TrialGroup):
            name = _the_name("group", group, name)
            if project_id is None and self.project is not None:
                project_id = self.project.uid
            if project_id is None:
                raise ProjectNotFound("a group is of a project: set_project(name=...) first")
            group = TrialGroup(name, project_id, **fields)
        if self.group is not None and self.group != group and not force:
            raise AlreadySet(
                f"{self.group!r} was set, {group!r} is another one: say force=True to change"
            )
        found = self.store.get_trial_group(group)
        if found is None:
            if get_only:
                raise GroupNotFound(f"project {group.project_id!r} has no group {group.name!r}")
            found = self.store.new_trial_group(group)
        self.group = found
        return found

    # -- trial ------------------------------------------------------------------------------

    @property
    def trial(self) -> TrialLogger:
        """The logger of the current trial. Raises `TrialNotFound` if there is none."""
        if self._logger is None:
            raise TrialNotFound("no trial was set: client.new_trial(parameters={...}) first")
        return self._logger

    def new_trial(
        self,
        *,
        force: bool = False,
        exist: Exist = "increment",
        parameters: Arguments | Unset = UNSET,
        arguments: Arguments | Unset = UNSET,
        **fields: Unpack[TrialFields],
    ) -> TrialLogger:
        """Create a trial, and return its logger.

        Args:
            force: Replace a current trial that has not ended.
            exist: What to do if the store has a trial of the same project, name, version and
                parameters. ``"increment"`` creates the next revision. ``"raise"`` raises
                `TrialExists`. ``"get"`` continues the last revision.
            parameters: An ArgumentParser, a Namespace, a dict or a dataclass. If it is left out,
                the trial is created when `log_arguments` receives the parameters.
            arguments: Another name of `parameters`.
            fields: See `Trial`.

        Raises:
            AlreadySet: The current trial has not ended, and `force` is False.
            TrialExists: The store has the trial, and `exist` is ``"raise"``.

        """
        if exist not in ("increment", "raise", "get"):
            raise ValueError(f"exist is 'increment', 'raise' or 'get', not {exist!r}")
        self._refuse_second(force)
        self._attached = False
        given = arguments if parameters is UNSET else parameters
        fields.setdefault("project_id", self._project_id())
        if self.group is not None:
            fields.setdefault("group_id", self.group.uid)
        described = Trial(**fields)  # an invalid field raises here, before there are parameters

        def make(found: StoredRow, tags: StoredRow) -> Trial:
            version = described.version
            fields["tags"] = described.tags | tags
            fields["version"] = self._version() if version is None else version
            trial = Trial(**fields, parameters=found)
            return self._made(trial, exist)

        self._logger = TrialLogger(self.store, None, make)
        if not isinstance(given, Unset):
            try:
                self._logger.log_arguments(given)
            except BaseException:
                self._logger = None
                raise
        return self._logger

    def _made(self, trial: Trial, exist: Exist) -> Trial:
        made = self.store.new_trial(trial, auto_increment=exist == "increment")
        if made is not None:
            return made
        if exist == "raise":
            raise TrialExists(
                f"{trial!r} is in {self.store.records.location} already: leave out exist='raise' "
                "for its next revision"
            )
        return self.store.get_trial(trial)[-1]

    def _refuse_second(self, force: bool) -> None:
        if self._logger is not None and not self._logger.ended and not force:
            raise AlreadySet(
                f"{self._logger!r} was set and has not ended: finish it first, or say force=True"
            )

    def set_trial(
        self,
        trial: Trial | str | None = None,
        *,
        force: bool = False,
        uid: str | None = None,
        hash: str | None = None,  # noqa: A002 - it is called so
        revision: int | None = None,
        parameters: Arguments | Unset = UNSET,
        arguments: Arguments | Unset = UNSET,
        **fields: Unpack[TrialDefinition],
    ) -> TrialLogger:
        """Continue a trial of the store, and return its logger.

        Args:
            trial: The trial or its UID.
            force: Replace a current trial that has not ended.
            uid: The UID.
            hash: The hash. Without a `revision`, it means the last revision.
            revision: The revision.
            parameters: The parameters that `new_trial` received. They find the trial by its
                definition, without a UID or a hash.
            arguments: Another name of `parameters`.
            fields: The rest of the definition: name, version, and the project if it is not the
                current one.

        Raises:
            TrialNotFound: The store has no such trial.
            AlreadySet: The current trial has not ended, and `force` is False.

        """
        self._refuse_second(force)
        self._attached = False
        if isinstance(trial, str):
            uid = trial
        elif trial is not None:
            hash, revision = trial.hash, trial.revision if revision is None else revision  # noqa: A001
        if uid is not None:
            found = self.store.trial(uid)
        else:
            if hash is None:
                given = arguments if parameters is UNSET else parameters
                hash = self._hash_of(given, fields)  # noqa: A001
            some = self.store.get_trial(hash)
            if revision is not None:
                some = [one for one in some if one.revision == revision]
            if not some:
                what = hash if revision is None else f"{hash}_{revision}"
                raise TrialNotFound(f"{self.store.records.location} holds no trial {what[:80]}")
            found = some[-1]
        self._logger = TrialLogger(self.store, found)
        return self._logger

    def _hash_of(self, parameters: Arguments | Unset, fields: TrialDefinition) -> str:
        if not fields and parameters is UNSET:
            raise TrialNotFound("say which trial: uid=, or hash= and revision=, or what defines it")
        stored = {}
        if not isinstance(parameters, Unset):
            stored = stored_arguments(parameters, arguments_of(parameters, {}))
        return Trial(
            name=fields.get("name"),
            parameters=stored,
            version=fields["version"] if "version" in fields else self._version(),
            project_id=fields["project_id"] if "project_id" in fields else self._project_id(),
        ).hash

    def _project_id(self) -> str:
        return ORPHAN if self.project is None else self.project.uid

    def set_version(
        self,
        version: str | Callable[[], str | None] | None = None,
        version_fun: Callable[[], str | None] | None = None,
    ) -> Self:
        """Set the version of the code, or a function that returns it when a trial is created.

        The default is the hash of the main script and the git commit; see `default_version`.
        """
        if callable(version):
            version, version_fun = None, version
        if version is not None and not isinstance(version, str):
            raise InvalidName(f"a version is a text, not a {type(version).__name__}")
        if version is not None:
            self._version = lambda: version
        elif version_fun is not None:
            self._version = version_fun
        else:
            self._version = default_version
        return self

    def log_arguments(
        self,
        args: Arguments = None,
        show: bool = False,
        *,
        arguments: Arguments = None,
        **more: Value,
    ) -> Namespace:
        """Set the parameters of the trial, and return them as a Namespace.

        If no trial is current, create one. See `TrialLogger.log_arguments`.
        """
        if self._logger is None:
            self.new_trial()
        return self.trial.log_arguments(args, arguments=arguments, show=show, **more)

    get_arguments = log_arguments

    def add_tags(self, **tags: Value) -> Self:
        """Set tags of the trial."""
        self.trial.add_tags(**tags)
        return self

    def start(self) -> TrialLogger:
        """Start the trial."""
        return self.trial.start()

    def finish(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> Self:
        """End the trial, with the status that an exception implies; see `TrialLogger.finish`."""
        self.trial.finish(exc_type, exc_val, exc_tb)
        return self

    def log_metrics(
        self,
        step: int | None = None,
        aggregator: Callable[[], Aggregator] | Aggregator | None = None,
        **metrics: float,
    ) -> None:
        """Log numbers of the trial. Without a step, append them to a series.

        See `TrialLogger.log_metrics`.
        """
        self.trial.log_metrics(step, aggregator, **metrics)

    def report(self, short: bool = True) -> Self:
        """End the trial, and print its report as JSON."""
        print(  # noqa: T201 - it was asked for
            shown_json(self.finish().to_json(short=short), indent=2)
        )
        return self

    def to_json(self, *, short: bool = True) -> dict[str, StoredValue]:
        """Return the report as plain data. The trial does not end."""
        try:
            return report(self.trial.trial, short=short)
        except LogClosed:
            if not self.store.closed:
                raise
        # The end of a block `with client:` closed the store: read it again.
        with TrialStore(open_records(self.store.records.location, readonly=True)) as again:
            return report(again.trial(self.trial.uid), short=short)

    def save(
        self, file: str | Path | None = None, *, file_name_override: str | Path | None = None
    ) -> Self:
        """Commit all logged values, so that they survive a power cut.

        Args:
            file: Also write all trials of the store to this file, as one JSON document. It can be
                opened as ``file:...``. It replaces the document that an earlier call wrote.
            file_name_override: Another name of `file`, the one that Track uses.

        Raises `StoreUnwritable` if the existing document has more of a trial than the store, and
        `NotATrainingLog` for any other existing file. Neither file is changed.
        """
        self.store.commit(file if file_name_override is None else file_name_override)
        return self

    def get_device(self) -> torch.device | str:
        """Return PyTorch's device to compute on, or ``"cpu"`` if PyTorch is not installed."""
        found: torch.device | str = environments.device()
        return found

    def __getattr__(self, name: str) -> Any:
        # Every method of `TrialLogger`, of the current trial.
        if name.startswith("_") or not hasattr(TrialLogger, name):
            raise AttributeError(f"a TrialClient has no {name!r}")
        return getattr(self.trial, name)

    # -- queries ----------------------------------------------------------------------------

    def fetch_projects(self, query: Query = None, **options: Unpack[Search]) -> list[Project]:
        """Return the projects that match; see `TrialStore.fetch_projects`."""
        return self.store.fetch_projects(query, **options)

    def fetch_groups(self, query: Query = None, **options: Unpack[Search]) -> list[TrialGroup]:
        """Return the groups that match; see `TrialStore.fetch_groups`."""
        return self.store.fetch_groups(query, **options)

    def fetch_trials(self, query: Query = None, **options: Unpack[Search]) -> list[Trial]:
        """Return the trials that match; see `TrialStore.fetch_trials`."""
        return self.store.fetch_trials(query, **options)

    def fetch_and_update_trial(
        self, query: Query, attribute: TrialUpdate, *args: object, **kwargs: object
    ) -> Trial | None:
        """Change the first trial that matches; see `TrialStore.fetch_and_update_trial`."""
        return self.store.fetch_and_update_trial(query, attribute, *args, **kwargs)

    def fetch_and_update_group(
        self, query: Query, attribute: GroupUpdate, *args: object, **kwargs: object
    ) -> TrialGroup | None:
        """Change the first group that matches; see `TrialStore.fetch_and_update_group`."""
        return self.store.fetch_and_update_group(query, attribute, *args, **kwargs)

    def to_dataframe(
        self,
        query: Query = None,
        *,
        best: Mapping[str, Mode] | Iterable[str] | str | None = None,
        sort: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return a DataFrame with one line per trial, in the order of their creation.

        Columns: ``uid``, ``project``, ``group``, ``name``, ``revision``, ``version``, ``status``,
        ``created``, ``started``, ``finished`` (UTC), ``runtime`` (seconds), the parameters as
        ``parameters.<name>``, the tags of the trial and of its project as ``tags.<name>``, the
        last value of each metric under its name, and the best values as ``best.<name>``.

        Args:
            query: Which trials.
            best: Metrics whose smallest number to show. A dict maps each metric to ``"min"`` or
                ``"max"``.
            sort: See `TrialStore.fetch_trials`.
            limit: See `TrialStore.fetch_trials`.

        """
        trials = self.fetch_trials(query, sort=sort, limit=limit)
        return trial_table.frame(trial_table.lines(self.store, trials, modes(best)))


def _the_name(what: str, first: str | None, name: str | None) -> str:
    """Return the name of a project or a group, from one of its two arguments."""
    if first is not None and name is not None:
        raise TypeError(f"the name of the {what} was said twice: {first!r}, name={name!r}")
    found = name if first is None else first
    if found is None:
        raise InvalidName(f"a {what} needs a name: set_{what}(name=...)")
    return found
