"""`TrialStore`: the verbs that read and change projects, groups and trials in a store."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from traininglog.base import TrainingLogBase
from traininglog.errors import RunBusy, RunNotFound, StoreLocked
from traininglog.masking import masked_line
from traininglog.plain_json import escaped, unescaped
from traininglog.selection import Mode
from traininglog.trial_records import made_of
from traininglog.trials.entities import (
    ORPHAN,
    Project,
    Record,
    Trial,
    TrialGroup,
    stored_status,
    uid_of_group,
)
from traininglog.trials.lifetimes import endings
from traininglog.trials.lifetimes.processes import refuse_busy, this_process
from traininglog.trials.measures.aggregators import Aggregator
from traininglog.trials.measures.measurements import (
    Factory,
    Measurements,
    chronos_as_json,
    read_logged,
    write_logged,
)
from traininglog.trials.measures.timing import Callback
from traininglog.trials.plain import identity, plain_dict
from traininglog.trials.records import Records, going_through
from traininglog.trials.search.changes import Change, add_group, add_to, remove_group, set_status
from traininglog.trials.search.edits import TRIES, Editor
from traininglog.trials.search.matches import as_seen, search
from traininglog.trials.search.queries import Query
from traininglog.trials.search.verbs import STARTING, GroupUpdate, TrialUpdate, update_of
from traininglog.trials.statuses import AnyStatus, Status, status_of
from traininglog.trials.trial_errors import (
    GroupNotFound,
    InvalidName,
    ParametersFixed,
    ProjectNotFound,
    TrialNotFound,
)
from traininglog.values import StoredRow, StoredValue, Value


class Logger(endings.Runs, Protocol):
    """A logger that started its trial."""

    pid: int  #: the process that started the trial

    @property
    def uid(self) -> str:
        """The UID of the trial."""

    def leave(self, error: BaseException | None) -> None:
        """End the trial with the status that `error` implies; None means without an error."""


class Bare:
    """A trial that the store's verbs started, without a logger."""

    signalled = False

    def __init__(self, store: TrialStore, uid: str) -> None:
        self._store = store
        self._uid = uid

    def __repr__(self) -> str:
        return f"trial {self._uid}"

    def end(self, status: Status, error: StoredRow | None = None) -> None:
        """End the trial."""
        self._store.end(self._uid, status, error)


#: The objects of this process; a trial that one of them runs is not to be resumed by another.
_STORES: weakref.WeakSet[TrialStore] = weakref.WeakSet()
_STORES_LOCK = threading.RLock()


def _stores_here() -> list[TrialStore]:
    with _STORES_LOCK:
        return list(_STORES)


def _after_fork() -> None:
    global _STORES_LOCK  # noqa: PLW0603 - another thread of the parent may have held it
    _STORES_LOCK = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


class TrialStore:
    """Projects, groups and trials in a store. The returned objects are copies.

    Args:
        records: The storage of their records.

    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self._editor = Editor(records)
        self._measurements: dict[str, Measurements] = {}
        self._claimed: set[str] = set()  # trials that an update claimed, to start them next
        self._loggers: dict[int, Logger] = {}  # loggers of running trials
        self._lock = threading.RLock()
        #: Whether `close` was called.
        self.closed = False
        with _STORES_LOCK:
            _STORES.add(self)

    def close(self) -> None:
        """End the trials that this object started, and close the store.

        Their status becomes Completed. If an exception is being handled (for example in a
        `finally`), the status tells of that exception. A second call does nothing.
        """
        self._close(endings.in_flight())

    def _close(self, error: BaseException | None) -> None:
        failures = []
        try:
            if not self.closed:
                failures = self._end_all(error)
        finally:
            self.closed = True
            self.records.close()
        if failures and error is None:
            endings.tell(failures[1:])
            raise failures[0]
        endings.tell(failures)

    def _end_all(self, error: BaseException | None) -> list[BaseException]:
        """End the running trials, each even if another one fails, and return the failures."""
        loggers = [one for one in list(self._loggers.values()) if one.pid == os.getpid()]
        failures = endings.each(loggers, lambda logger: logger.leave(error))
        for logger in loggers:  # including those that failed to end: once closed, they cannot end
            self.unwatch(logger)
        tried = {logger.uid for logger in loggers}
        bare = [
            Bare(self, uid) for uid, measured in list(self._measurements.items())
            if measured.pid == os.getpid() and uid not in tried
        ]  # fmt: skip
        told = endings.told_of(error, signalled=False)
        return failures + endings.each(bare, lambda one: one.end(*told))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(error)

    def __repr__(self) -> str:
        return f"<TrialStore {self.records.location}>"

    # -- projects and groups ----------------------------------------------------------------

    def new_project(self, project: Project) -> Project:
        """Add a project and return it; if the name exists, return the existing project."""
        self._editor.insert("project", project.to_record())
        found = self.get_project(project)
        assert found is not None  # noqa: S101 - it was just inserted, or existed
        return found

    def _project(self, record: Record) -> Project:
        project = Project.from_record(record)
        query = {"project_id": project.uid}
        return project.read_by(
            lambda kind: self.fetch_groups(query) if kind == "group" else self.fetch_trials(query)
        )

    def _group(self, record: Record) -> TrialGroup:
        group = TrialGroup.from_record(record)
        return group.read_by(lambda _: self.fetch_trials({"groups": group.uid}))

    def get_project(self, project: Project | str) -> Project | None:
        """Return the project with this name, or None."""
        uid = project.uid if isinstance(project, Project) else str(project)
        record = self.records.get("project", uid)
        return None if record is None else self._project(record)

    def fetch_projects(
        self,
        query: Query = None,
        *,
        sort: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[Project]:
        """Return the matching projects, oldest first; see `trials.search.queries`."""
        return [self._project(one) for one in search(self.records, "project", query, sort, limit)]

    def new_trial_group(self, group: TrialGroup) -> TrialGroup:
        """Add a group and return it; if its project has one of that name, return the existing one.

        Raises `ProjectNotFound`.
        """
        if self.get_project(group.project_id) is None:
            raise ProjectNotFound(f"there is no project {group.project_id!r}: add it first")
        self._editor.insert("group", group.to_record())
        found = self.get_trial_group(group)
        assert found is not None  # noqa: S101 - it was just inserted, or existed
        return found

    def get_trial_group(self, group: TrialGroup | str) -> TrialGroup | None:
        """Return the group with this UID, or equal to this group, or None."""
        uid = group.uid if isinstance(group, TrialGroup) else str(group)
        record = self.records.get("group", uid)
        return None if record is None else self._group(record)

    def fetch_groups(
        self,
        query: Query = None,
        *,
        sort: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[TrialGroup]:
        """Return the matching groups, oldest first; see `trials.search.queries`."""
        return [self._group(one) for one in search(self.records, "group", query, sort, limit)]

    def set_group_metadata(self, group: TrialGroup | str, **metadata: Value) -> TrialGroup:
        """Set metadata of a group; its other metadata stay."""
        return self._group(
            self._editor.update("group", uid_of_group(group), add_to("metadata", metadata))
        )

    def add_group_tags(self, group: TrialGroup | str, **tags: Value) -> TrialGroup:
        """Set tags of a group; its other tags stay."""
        return self._group(self._editor.update("group", uid_of_group(group), add_to("tags", tags)))

    def fetch_and_update_group(
        self, query: Query, attribute: GroupUpdate, *args: object, **kwargs: object
    ) -> TrialGroup | None:
        """Change the first matching group, and return it; see `fetch_and_update_trial`.

        Args:
            query: Which groups.
            attribute: The name of a method of this store that changes a group:
                ``set_group_metadata``, ``add_group_tags``, ``add_group_trial`` or
                ``remove_group_trial``.
            args, kwargs: The arguments of that method, without the group.

        """
        change, act = update_of(self, "group", attribute, args, kwargs)
        record = self._editor.take("group", query, change)
        if record is None:
            return None
        if act is not None:
            act(record["uid"])
        return self._group(self._editor.require("group", record["uid"]))

    # -- trials -----------------------------------------------------------------------------

    def new_trial(self, trial: Trial, auto_increment: bool = False) -> Trial | None:
        """Add a trial and return it.

        Args:
            trial: The trial. The store must have its project, and its groups.
            auto_increment: If the trial exists, add its next revision. If False, return None then.

        """
        if self.get_project(trial.project_id) is None:
            if trial.project_id != ORPHAN:
                raise ProjectNotFound(f"there is no project {trial.project_id!r}: add it first")
            self.new_project(Project(ORPHAN))
        for group in trial.groups:
            self._require_group(group)
        record = trial.to_record() | self._brought(trial)
        for _ in range(TRIES):
            if self._editor.insert("trial", record):
                self._bring_metrics(trial, record)
                return self.trial(record["uid"])
            if not auto_increment:
                return None
            others = [one["revision"] for one in self._editor.revisions(trial.hash)]
            revision = max([record["revision"], *others]) + 1
            record |= {"revision": revision, "uid": f"{trial.hash}_{revision}"}
        raise StoreLocked(f"no revision of trial {trial.hash} could be had in {TRIES} tries")

    def _brought(self, trial: Trial) -> Record:
        """Return the fields that change when a trial comes from another store: no process runs it.

        Its status is never Running, and it has a log only if this store has that log.
        """
        running = trial.status == Status.Running
        status = Status.Broken if running else trial.status
        chronos = escaped(plain_dict(trial.chronos, "chronos"))
        return {
            "status": status.to_json(), "chronos": chronos,
            "log": trial.log if self._has_log(trial) else None,
        }  # fmt: skip

    def _has_log(self, trial: Trial) -> bool:
        if trial.log is None:
            return False
        try:
            self.records.open_log(trial.log, readonly=True).close()
        except RunNotFound:
            return False
        return True

    def _bring_metrics(self, trial: Trial, record: Record) -> None:
        """Write the metrics of a new trial (for example one read from JSON) into a new log."""
        if record["log"] is not None or not trial.metrics:
            return
        with self.records.new_log() as log:
            log.status["_trial"] = record["uid"]
            write_logged(log, trial.metrics, trial.chronos)
            uuid = log.h_uuid
        self._changed(record["uid"], lambda found: found.update(log=uuid))

    def get_trial(self, trial: Trial | str) -> list[Trial]:
        """Return all revisions of a trial or a hash, sorted by revision; [] if there is none."""
        wanted = trial.hash if isinstance(trial, Trial) else str(trial).partition("_")[0]
        return [self._fetched(record) for record in self._editor.revisions(wanted)]

    def trial(self, uid: str) -> Trial:
        """Return the trial with this UID. Raises `TrialNotFound`."""
        return self._fetched(self._editor.require("trial", uid))

    def find(self, prefix: str) -> Trial:
        """Return the trial whose UID starts with `prefix`; the last revision if several match.

        Raises `TrialNotFound`, also if trials of several hashes match.
        """
        head, mark, revision = str(prefix).partition("_")
        with going_through(self.records.select("trial", {})) as records:
            found = [
                record
                for record in records
                if head
                and record["hash"].startswith(head)
                and (not mark or str(record["revision"]) == revision)
            ]
        hashes = {record["hash"] for record in found}
        if len(hashes) != 1:
            what = "is in" if not hashes else "is one of several in"
            shown = "".join(f" {one[:12]}" for one in sorted(hashes)[:5])
            raise TrialNotFound(
                f"no trial {str(prefix)[:80]!r} {what} {self.records.location}{shown}"
            )
        return self._fetched(max(found, key=lambda record: int(record["revision"])))

    def latest(self) -> Trial:
        """Return the newest trial. Raises `TrialNotFound` if the store has no trial.

        The time of creation counts, also for trials that were merged from another store.
        """
        last: Record | None = None
        with going_through(self.records.select("trial", {})) as records:
            for record in records:
                if last is None or made_of(record) >= made_of(last):
                    last = record
        if last is None:
            raise TrialNotFound(f"there is no trial in {self.records.location} yet")
        return self._fetched(last)

    def fetch_trials(
        self,
        query: Query = None,
        *,
        sort: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[Trial]:
        """Return the matching trials, oldest first; see `trials.search.queries`.

        Args:
            query: For example ``{"status": "Completed", "parameters.lr": {"$lt": 0.1}}``.
            sort: A field, or several. A ``-`` before a field means descending order.
            limit: The maximal number of trials.

        Raises `InvalidQuery`.
        """
        return [
            self._described(record) for record in search(self.records, "trial", query, sort, limit)
        ]

    def fetch_and_update_trial(
        self, query: Query, attribute: TrialUpdate, *args: object, **kwargs: object
    ) -> Trial | None:
        """Change the first matching trial, and return its new state, or None if none matches.

        The change uses optimistic concurrency. If several processes call this at once, each of them
        changes a different trial, or one that still matches after the changes of the others::

            store.fetch_and_update_trial({"status": "CreatedGroup"}, "set_trial_status", "Running")

        Args:
            query: Which trials.
            attribute: The name of a method of this store that changes a trial:
                ``set_trial_status``, ``add_trial_tags``, ``log_trial_metadata``,
                ``add_group_trial``, ``log_trial_start``, ``log_trial_metrics``,
                ``log_trial_finish``, and so on.
            args, kwargs: The arguments of that method, without the trial.

        Raises `UnknownAttribute`, and the errors of the method.
        """
        change, act = update_of(self, "trial", attribute, args, kwargs)
        record = self._editor.take("trial", query, change)
        if record is None:
            return None
        if act is None:
            return self._fetched(record)
        if attribute in STARTING:
            self._claimed.add(record["uid"])
        act(record["uid"])
        return self.trial(record["uid"])

    def set_trial_status(
        self, trial: Trial | str, status: AnyStatus | str, error: BaseException | Value = None
    ) -> Trial:
        """Set the status of a trial, and append `error` to its errors."""
        return self._changed(trial, set_status(status, error))

    def add_trial_tags(self, trial: Trial | str, **tags: Value) -> Trial:
        """Set tags of a trial; its other tags stay."""
        return self._changed(trial, add_to("tags", tags))

    def log_trial_metadata(self, trial: Trial | str, **metadata: Value) -> Trial:
        """Set metadata of a trial; its other metadata stay."""
        return self._changed(trial, add_to("metadata", metadata))

    def log_trial_arguments(self, trial: Trial | str, **parameters: Value) -> Trial:
        """Check that a trial has these parameters. Raises `ParametersFixed` if it does not."""
        found = self.trial(_uid(trial))
        for name, value in plain_dict(parameters, "parameters").items():
            if name not in found.parameters or identity(found.parameters[name]) != identity(value):
                raise ParametersFixed(
                    f"the parameters of {found!r} are a part of its identity; {name!r} is not one "
                    "of them, or has another value: make a new trial, or use log_metadata"
                )
        return found

    def add_group_trial(self, group: TrialGroup | str, trial: Trial | str) -> Trial:
        """Add a trial to a group; it stays in its other groups."""
        return self._changed(trial, add_group(self._require_group(group)))

    def remove_group_trial(self, group: TrialGroup | str, trial: Trial | str) -> Trial:
        """Remove a trial from a group. Do nothing if the group does not have it."""
        return self._changed(trial, remove_group(group))

    def _require_group(self, group: TrialGroup | str) -> str:
        uid = uid_of_group(group)
        if self.get_trial_group(uid) is None:
            raise GroupNotFound(
                f"{self.records.location} holds no group {uid[:80]!r}: add it first, by "
                "new_trial_group(TrialGroup(name, project))"
            )
        return uid

    def add_project_trial(self, project: Project | str, trial: Trial | str) -> Trial:
        """Check that a trial belongs to a project. Raises `InvalidName` if it does not.

        The project is a part of the trial's identity, so it cannot change.
        """
        name = project.uid if isinstance(project, Project) else project
        found = self.trial(_uid(trial))
        if found.project_id != name:
            raise InvalidName(f"{found!r} is of project {found.project_id!r}: its hash says so")
        return found

    def keep_artifact(self, trial: Trial | str, artifact: Mapping[str, StoredValue]) -> Trial:
        """Record a stored file of a trial; it replaces an entry of the same name."""

        def change(record: Record) -> None:
            others = [one for one in record["artifacts"] if one["name"] != artifact["name"]]
            record["artifacts"] = [*others, dict(artifact)]

        return self._changed(trial, change)

    def keep_environment(self, trial: Trial | str, environment: Mapping[str, StoredValue]) -> None:
        """Record the environment in which a trial runs."""
        found = escaped(plain_dict(environment, "environment"))
        uid = identity("environment", found)
        self._editor.insert("environment", {"uid": uid, "environment": found})
        self._changed(trial, lambda record: record.update(environment=uid))

    def environment(self, trial: Trial | str) -> StoredRow:
        """Return the environment in which a trial ran, or {} if it is unknown."""
        uid = self.trial(_uid(trial)).environment
        record = None if uid is None else self.records.get("environment", uid)
        found = {} if record is None else dict(unescaped(record["environment"]))
        if isinstance(found.get("command"), str):  # older versions stored it without masking
            found["command"] = masked_line(found["command"])
        return found

    def commit(self, file_name_override: str | Path | None = None) -> None:
        """Commit all logged values, so that they survive a power cut.

        Args:
            file_name_override: Also write the whole store to this JSON document; see
                `TrialClient.save`.

        """
        for measured in list(self._measurements.values()):
            if not measured.log.closed:
                measured.log.commit()
        if file_name_override is not None:
            from traininglog.trials.copies import export

            export(self.records, Path(file_name_override))

    # -- logging ----------------------------------------------------------------------------

    def log_trial_start(self, trial: Trial | str) -> Measurements:
        """Start or continue a trial: set its status to Running, with this process as its owner.

        A trial that ran before continues in a new run, which is resumed from its last one. Raises
        `RunBusy` if another live process runs the trial.
        """
        uid = _uid(trial)
        with self._lock:
            known = self._measurements.get(uid)
            if known is not None and not known.log.closed:
                return known
            for _ in range(TRIES):
                seen = self._editor.require("trial", uid)
                refuse_busy(seen)
                log = self._open_log(seen)
                if self._begin(seen, log.h_uuid):
                    break
                log.close()
            else:
                raise StoreLocked(f"trial {uid} could not be begun in {TRIES} tries")
            measured = self._measurements[uid] = Measurements(log)
            self._claimed.discard(uid)
            return measured

    def watch(self, logger: Logger) -> None:
        """Register a logger, so that its trial ends even if the program does not end it."""
        self._loggers[id(logger)] = logger
        endings.watch(logger)

    def unwatch(self, logger: Logger) -> None:
        """Forget a logger whose trial has ended."""
        self._loggers.pop(id(logger), None)
        endings.unwatch(logger)

    def is_writing(self, uid: str, measured: Measurements) -> bool:
        """Return whether the trial has not ended since it got these measurements."""
        return self._measurements.get(uid) is measured

    def _begin(self, seen: Record, log: str) -> bool:
        def change(record: Record) -> None:
            set_status(Status.Running)(record)
            record["log"] = log

        return self._editor.change("trial", seen, change) is not None

    def _open_log(self, record: Record) -> TrainingLogBase:
        if record["log"] is None:
            log = self.records.new_log()
            if record["name"] is not None:
                log.status["name"] = record["name"]
        elif record["owner"] == this_process() and record["uid"] not in self._claimed:
            # Another object of this process writes the trial.
            return self.records.open_log(record["log"])
        else:
            log = self.records.resume_log(record["log"])
        log.status["_trial"] = record["uid"]
        return log

    def resume(self, trial: Trial | str, at: int | None = None) -> None:
        """Resume a trial that ran before from a time, by default its last one.

        Values that the trial logged later stay in its old run, and readers of the trial no longer
        see them. The trial must not be running. Raises `RunBusy` if another live process runs it,
        or any object of this process does, and `TrialNotFound` if it has never run.
        """
        record = self._editor.require("trial", _uid(trial))
        refuse_busy(record)
        if any(store._runs(record["log"]) for store in _stores_here()):
            raise RunBusy(
                f"trial {record['uid']} is running in this process, so it cannot be resumed: end "
                "it first, or resume it before it is started"
            )
        if record["log"] is None:
            raise TrialNotFound(
                f"trial {record['uid']} has not run yet: there is nothing to resume"
            )
        log = self.records.resume_log(record["log"], at)
        log.close()
        self._changed(record["uid"], lambda found: found.update(log=log.h_uuid))

    def _runs(self, log: str | None) -> bool:
        """Return whether a trial of this object writes a run, by its UUID."""
        return any(
            not measured.log.closed and measured.log.h_uuid == log
            for measured in list(self._measurements.values())
        )

    def log_trial_metrics(
        self,
        trial: Trial | str,
        step: int | None = None,
        aggregator: Factory | Aggregator | None = None,
        **metrics: float,
    ) -> None:
        """Log metrics; see `TrialLogger.log_metrics`."""
        self.log_trial_start(trial).log_metrics(step, aggregator, metrics)

    def log_trial_chrono_start(
        self,
        trial: Trial | str,
        name: str,
        aggregator: Factory | Aggregator | None = None,
        start_callback: Callback | None = None,
        end_callback: Callback | None = None,
    ) -> None:
        """Start to measure a block; `log_trial_chrono_finish` ends it."""
        measured = self.log_trial_start(trial)
        chrono = measured.chrono(name, aggregator, start_callback, end_callback)
        chrono.__enter__()
        measured.open_chronos.setdefault(name, []).append((threading.get_ident(), chrono))

    def log_trial_chrono_finish(
        self,
        trial: Trial | str,
        name: str,
        exc_type: type[BaseException] | BaseException | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """End the last started block of this name; those of this thread come first."""
        begun = self.log_trial_start(trial).open_chronos.get(name)
        if not begun:
            raise KeyError(f"no block {name!r} was begun: log_trial_chrono_start(trial, {name!r})")
        mine = threading.get_ident()
        chrono = next((one for one in reversed(begun) if one[0] == mine), begun[-1])
        begun.remove(chrono)
        chrono[1].__exit__(exc_type, exc_val, exc_tb)

    def log_trial_finish(
        self,
        trial: Trial | str,
        exc_type: type[BaseException] | BaseException | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> Trial:
        """End a trial as Completed, or with the status that an exception implies.

        The class of the exception alone is enough.
        """
        error = endings.error_of(exc_type, exc_val, exc_tb)
        return self.end(trial, *endings.told_of(error, signalled=False))

    def end(
        self,
        trial: Trial | str,
        status: AnyStatus | None,
        error: Mapping[str, StoredValue] | None = None,
    ) -> Trial:
        """Close the log of a trial and set its status; None leaves the status unchanged."""
        uid = _uid(trial)
        with self._lock:
            measured = self._measurements.pop(uid, None)
        chronos: StoredRow = {}
        now_log = None
        if measured is not None:
            chronos, now_log = chronos_as_json(measured.chronos), measured.log.h_uuid
            if not measured.log.closed:
                measured.save_chronos()
                measured.log.flush()

        def change(record: Record) -> None:
            if status is not None:
                set_status(status, error)(record)
            record["finished"] = time.time()
            record["owner"] = None
            record["chronos"] |= escaped(plain_dict(chronos, "chronos"))
            if now_log is not None and record["log"] is not None:
                record["log"] = now_log  # the program may have resumed the log itself

        done = self._changed(uid, change)
        if measured is not None:
            failed = status_of(status or done.status) in (Status.Exception, Status.Broken)
            measured.log.close("failed" if failed else "finished")
        return done

    def ends(
        self, trials: Sequence[Trial], best: Mapping[str, Mode] | None = None
    ) -> list[dict[str, tuple[StoredValue, StoredValue]]]:
        """Return, for each trial, metric -> (last value, best value).

        `best` names the metrics with a best value, and whether that is the smallest or greatest.
        """
        uuids = [trial.log for trial in trials if trial.log is not None]
        found = self.records.ends(uuids, best or {})
        return [{} if trial.log is None else found.get(trial.log, {}) for trial in trials]

    # -- from records to trials ------------------------------------------------------------------

    def _changed(self, trial: Trial | str, change: Change) -> Trial:
        return self._fetched(self._editor.update("trial", _uid(trial), change))

    def _fetched(self, record: Record) -> Trial:
        (record,) = as_seen("trial", iter([dict(record)]))
        return self._described(record)

    def _described(self, record: Record) -> Trial:
        """Return the trial of a record whose status is already the current one."""
        uuid = record["log"]
        written = unescaped(record["chronos"])

        def logged() -> StoredRow:
            found = {"metrics": {}, "chronos": written} if uuid is None else self._logged(uuid)
            return found | {"chronos": written | found["chronos"]}

        return Trial.from_record(record, stored_status(record), logged)

    def _logged(self, uuid: str) -> StoredRow:
        for measured in list(self._measurements.values()):
            if measured.log.h_uuid == uuid and not measured.log.closed:
                measured.save_chronos()
                return read_logged(measured.log)  # this log also has the unflushed values
        try:
            log = self.records.open_log(uuid, readonly=True)
        except RunNotFound:  # the run was deleted, and the trial was not
            return {"metrics": {}, "chronos": {}}
        with log:
            return read_logged(log)


def _uid(trial: Trial | str) -> str:
    return trial.uid if isinstance(trial, Trial) else str(trial)
