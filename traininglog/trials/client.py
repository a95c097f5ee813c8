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
from traininglog.trials.report import as_json, report
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
    """Projects, groups and trials, and the one trial that this program runs.

    Whatever a `TrialLogger` does the client does, too, with the trial that was set::

        client = TrialClient("runs.db")
        client.set_project(name="paper")
        with client.new_trial(parameters={"lr": 0.1}) as trial:
            trial.log_metrics(step=1, loss=0.5)
        client.report()

    A worker is attached to what is there already by the settings ``project``, ``group`` and
    ``trial`` (``TRAININGLOG_PROJECT``, ``TRAININGLOG_GROUP``, ``TRAININGLOG_TRIAL``): names of a
    project and a group in it, and the UID of a trial.

    Args:
        store: A path or ``sqlite:///path``, ``"memory:"``, ``"file:report.json"``, a URL whose
            scheme was registered, or a `TrialStore`; by default the configured store.
        record_command: False: the command line of this process is kept nowhere, from now on. Else
            it is kept with what looks like a secret masked. By default the setting of that name.
        options: Passed on to the store.

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
        self._attached = False  # the trial is that of the settings
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
        """End the trials that were started by its store here, and let go of that.

        They are Completed; or as the exception tells that is being handled where this is called, as
        in a `finally` that it leads through. `report` can still be called.
        """
        self.store.close()

    def __enter__(self) -> Self:
        """Start the trial, if one was made or set by the program; its end is that of the block."""
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
        """Work in a project, which is made where there is none of that name.

        Args:
            project: The project or its name.
            name: The same as a name.
            force: Leave the project that was set before for another one.
            get_only: Make none.
            fields: What else a new one has; see `Project`.

        Raises:
            ProjectNotFound: There is none, and `get_only` was said.
            AlreadySet: Another one was set, and `force` was not said.

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
        """Work in a group of the project, which is made where there is none of that name.

        Args:
            group: The group or its name.
            name: The same as a name.
            project_id: The name of its project, by default the one that was set.
            force: Leave the group that was set before for another one.
            get_only: Make none.
            fields: What else a new one has; see `TrialGroup`.

        Raises:
            ProjectNotFound: No project was set.
            GroupNotFound: There is none, and `get_only` was said.
            AlreadySet: Another one was set, and `force` was not said.

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
        """The trial that was set. Raises `TrialNotFound` where none was."""
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
        """Make a trial, and return what logs to it.

        Args:
            force: Leave a trial that was set before and has not ended.
            exist: What to do if there is one of the same project, name, version and parameters:
                ``"increment"``: make the next revision. ``"raise"`` `TrialExists`. ``"get"``: go on
                with the last one.
            parameters: An ArgumentParser, a Namespace, a dict or a dataclass. Without any the trial
                is made when `log_arguments` gives it some.
            arguments: The same.
            fields: See `Trial`.

        Raises:
            AlreadySet: There is one that has not ended, and `force` was not said.
            TrialExists: There is such a trial, and `exist` is ``"raise"``.

        """
        if exist not in ("increment", "raise", "get"):
            raise ValueError(f"exist is 'increment', 'raise' or 'get', not {exist!r}")
        self._refuse_second(force)
        self._attached = False
        given = arguments if parameters is UNSET else parameters
        fields.setdefault("project_id", self._project_id())
        if self.group is not None:
            fields.setdefault("group_id", self.group.uid)
        described = Trial(**fields)  # what is refused is refused here, before there are parameters

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
        """Go on with a trial that is in the store, and return what logs to it.

        Args:
            trial: The trial or its UID.
            force: Leave a trial that was set before and has not ended.
            uid: Its UID.
            hash: Its hash; without a `revision` the last one is meant.
            revision: Its revision.
            parameters: Or, by its definition, its parameters, as they were given to `new_trial`.
            arguments: The same.
            fields: What else defines it: name, version, and the project if it is another one.

        Raises:
            TrialNotFound: There is none.
            AlreadySet: There is one that has not ended, and `force` was not said.

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
        """Say which version of the code runs, or what is to be asked for it when a trial is made.

        By default the hash of the main script and the git commit; see `default_version`.
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
        """Give the trial its parameters; one is made if none was set. Returns a Namespace.

        See `TrialLogger.log_arguments`.
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
        """End the trial, as an exception tells if there is one; see `TrialLogger.finish`."""
        self.trial.finish(exc_type, exc_val, exc_tb)
        return self

    def log_metrics(
        self,
        step: int | None = None,
        aggregator: Callable[[], Aggregator] | Aggregator | None = None,
        **metrics: float,
    ) -> None:
        """Log numbers of the trial; without a step they are appended to a series.

        See `TrialLogger.log_metrics`.
        """
        self.trial.log_metrics(step, aggregator, **metrics)

    def report(self, short: bool = True) -> Self:
        """End the trial, and print all that is known of it as JSON."""
        print(as_json(self.finish().to_json(short=short)))  # noqa: T201 - it was asked for
        return self

    def to_json(self, *, short: bool = True) -> dict[str, StoredValue]:
        """Return what `report` prints, as plain data, without ending the trial."""
        try:
            return report(self.trial.trial, short=short)
        except LogClosed:
            if not self.store.closed:
                raise
        # After `with client:`, whose end let go of the store.
        with TrialStore(open_records(self.store.records.location, readonly=True)) as again:
            return report(again.trial(self.trial.uid), short=short)

    def save(
        self, file: str | Path | None = None, *, file_name_override: str | Path | None = None
    ) -> Self:
        """Make all that was logged survive a power cut.

        Args:
            file: Write all trials of the store to this file, too, as one JSON document; it may be
                opened as ``file:...``. What an earlier call has written there is replaced.
            file_name_override: The same, as Track calls it.

        Raises `StoreUnwritable` where the document that is there says more of a trial than the
        store, and `NotATrainingLog` for any other file; each is left as it is.
        """
        self.store.commit(file if file_name_override is None else file_name_override)
        return self

    def get_device(self) -> torch.device | str:
        """Return PyTorch's device to compute on; ``"cpu"`` where it is not installed."""
        found: torch.device | str = environments.device()
        return found

    def __getattr__(self, name: str) -> Any:
        # What a trial can do, with the one that was set.
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
        """Return a DataFrame with a line a trial, in the order in which they were made.

        Columns: ``uid``, ``project``, ``group``, ``name``, ``revision``, ``version``, ``status``,
        ``created``, ``started``, ``finished`` (UTC), ``runtime`` (seconds), the parameters as
        ``parameters.<name>``, the tags, those of the project among them, as ``tags.<name>``, the
        last value of each metric by its name, and the best ones asked for as ``best.<name>``.

        Args:
            query: Which trials.
            best: Metrics whose smallest number to show; as a dict, to ``"min"`` or ``"max"``.
            sort: See `TrialStore.fetch_trials`.
            limit: See there.

        """
        trials = self.fetch_trials(query, sort=sort, limit=limit)
        return trial_table.frame(trial_table.lines(self.store, trials, modes(best)))


def _the_name(what: str, first: str | None, name: str | None) -> str:
    """Return the name that was said of a project or a group, in one of two places."""
    if first is not None and name is not None:
        raise TypeError(f"the name of the {what} was said twice: {first!r}, name={name!r}")
    found = name if first is None else first
    if found is None:
        raise InvalidName(f"a {what} needs a name: set_{what}(name=...)")
    return found
