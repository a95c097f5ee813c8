"""`TrialStore`: projects, groups and trials in a store, by the verbs that people know."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from traininglog.base import TrainingLogBase
from traininglog.errors import RunNotFound, StoreLocked
from traininglog.masking import masked_line
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
from traininglog.trials.plain import escaped, identity, plain_dict, unescaped
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
    """What logs to a trial that it has started."""

    pid: int  #: of the process that started it

    @property
    def uid(self) -> str:
        """The UID of the trial."""

    def leave(self, error: BaseException | None) -> None:
        """End the trial as this exception tells; None: in good order."""


class Bare:
    """A trial that was started by the store's verbs, without a logger."""

    signalled = False

    def __init__(self, store: TrialStore, uid: str) -> None:
        self._store = store
        self._uid = uid

    def __repr__(self) -> str:
        return f"trial {self._uid}"

    def end(self, status: Status, error: StoredRow | None = None) -> None:
        """End the trial."""
        self._store.end(self._uid, status, error)


class TrialStore:
    """Projects, groups and trials in a store. Objects that it returns are copies.

    Args:
        records: Where they are kept.

    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self._editor = Editor(records)
        self._measurements: dict[str, Measurements] = {}
        self._claimed: set[str] = set()  # trials that were made ours in order to start them
        self._loggers: dict[int, Logger] = {}  # those whose trial was started and has not ended
        self._lock = threading.RLock()
        #: Whether it was closed.
        self.closed = False

    def close(self) -> None:
        """End the trials that were started by this object, and let go of the store.

        They are Completed; or as the exception tells that is being handled where this is called, as
        in a `finally` that it leads through. Closing twice does nothing.
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
        """End what runs, each whatever becomes of the others; return what went wrong."""
        loggers = [one for one in list(self._loggers.values()) if one.pid == os.getpid()]
        failures = endings.each(loggers, lambda logger: logger.leave(error))
        for logger in loggers:  # also one that could not be ended, as it cannot be any more
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
        """Add a project; return it, or the one that has its name already."""
        self._editor.insert("project", project.to_record())
        found = self.get_project(project)
        assert found is not None  # noqa: S101 - it is there now
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
        """Return the project of a name, or None."""
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
        """Return the projects that match, the oldest first; see `trials.search.queries`."""
        return [self._project(one) for one in search(self.records, "project", query, sort, limit)]

    def new_trial_group(self, group: TrialGroup) -> TrialGroup:
        """Add a group; return it, or the one of its name and project. Raises `ProjectNotFound`."""
        if self.get_project(group.project_id) is None:
            raise ProjectNotFound(f"there is no project {group.project_id!r}: add it first")
        self._editor.insert("group", group.to_record())
        found = self.get_trial_group(group)
        assert found is not None  # noqa: S101 - it is there now
        return found

    def get_trial_group(self, group: TrialGroup | str) -> TrialGroup | None:
        """Return the group that equals another one, or has this UID; or None."""
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
        """Return the groups that match, the oldest first; see `trials.search.queries`."""
        return [self._group(one) for one in search(self.records, "group", query, sort, limit)]

    def set_group_metadata(self, group: TrialGroup | str, **metadata: Value) -> TrialGroup:
        """Set some of the metadata of a group."""
        return self._group(
            self._editor.update("group", uid_of_group(group), add_to("metadata", metadata))
        )

    def add_group_tags(self, group: TrialGroup | str, **tags: Value) -> TrialGroup:
        """Set some of the tags of a group."""
        return self._group(self._editor.update("group", uid_of_group(group), add_to("tags", tags)))

    def fetch_and_update_group(
        self, query: Query, attribute: GroupUpdate, *args: object, **kwargs: object
    ) -> TrialGroup | None:
        """Change the first group that matches, and return it; see `fetch_and_update_trial`.

        Args:
            query: Which groups.
            attribute: A verb of this store that is about a group: ``set_group_metadata``,
                ``add_group_tags``, ``add_group_trial`` or ``remove_group_trial``.
            args, kwargs: What it takes beside the group.

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
            trial: The trial. Its project must be there, and its group if it has one.
            auto_increment: If it exists take the next revision, where else None is returned.

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
        """Return what is different here of a trial that ran elsewhere: nobody is at it."""
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
        """Write the metrics that a new trial comes with, as one from JSON does, into a log."""
        if record["log"] is not None or not trial.metrics:
            return
        with self.records.new_log() as log:
            log.status["_trial"] = record["uid"]
            write_logged(log, trial.metrics, trial.chronos)
            uuid = log.h_uuid
        self._changed(record["uid"], lambda found: found.update(log=uuid))

    def get_trial(self, trial: Trial | str) -> list[Trial]:
        """Return all revisions of a trial, or of its hash, the first one first; [] if none."""
        wanted = trial.hash if isinstance(trial, Trial) else str(trial).partition("_")[0]
        return [self._fetched(record) for record in self._editor.revisions(wanted)]

    def trial(self, uid: str) -> Trial:
        """Return the trial with this UID. Raises `TrialNotFound`."""
        return self._fetched(self._editor.require("trial", uid))

    def find(self, prefix: str) -> Trial:
        """Return the trial whose UID starts so; of several revisions of one hash the last.

        Raises `TrialNotFound`, also where trials of several hashes start so.
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
        """Return the trial that was made last. Raises `TrialNotFound` where there is none.

        Those that were merged from elsewhere count by when they were created.
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
        """Return the trials that match, the oldest first; see `trials.search.queries`.

        Args:
            query: For example ``{"status": "Completed", "parameters.lr": {"$lt": 0.1}}``.
            sort: A field, or several; with ``-`` before it downwards.
            limit: So many at the most.

        Raises `InvalidQuery`.
        """
        return [
            self._described(record) for record in search(self.records, "trial", query, sort, limit)
        ]

    def fetch_and_update_trial(
        self, query: Query, attribute: TrialUpdate, *args: object, **kwargs: object
    ) -> Trial | None:
        """Change the first trial that matches, and return it as it is then; None: there is none.

        Of any number of processes that do so at once, each changes another trial, or one that still
        matches after the others' changes::

            store.fetch_and_update_trial({"status": "CreatedGroup"}, "set_trial_status", "Running")

        Args:
            query: Which trials.
            attribute: A verb of this store that is about a trial: ``set_trial_status``,
                ``add_trial_tags``, ``log_trial_metadata``, ``add_group_trial``,
                ``log_trial_start``, ``log_trial_metrics``, ``log_trial_finish``, and so on.
            args, kwargs: What it takes beside the trial.

        Raises `UnknownAttribute`, and what the verb raises.
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
        """Set the status of a trial, and add an error to its errors."""
        return self._changed(trial, set_status(status, error))

    def add_trial_tags(self, trial: Trial | str, **tags: Value) -> Trial:
        """Set some of the tags of a trial."""
        return self._changed(trial, add_to("tags", tags))

    def log_trial_metadata(self, trial: Trial | str, **metadata: Value) -> Trial:
        """Set some of the metadata of a trial."""
        return self._changed(trial, add_to("metadata", metadata))

    def log_trial_arguments(self, trial: Trial | str, **parameters: Value) -> Trial:
        """Check that these are parameters of a trial. Raises `ParametersFixed` if they are not."""
        found = self.trial(_uid(trial))
        for name, value in plain_dict(parameters, "parameters").items():
            if name not in found.parameters or identity(found.parameters[name]) != identity(value):
                raise ParametersFixed(
                    f"the parameters of {found!r} are a part of its identity; {name!r} is not one "
                    "of them, or has another value: make a new trial, or use log_metadata"
                )
        return found

    def add_group_trial(self, group: TrialGroup | str, trial: Trial | str) -> Trial:
        """Put a trial into a group, beside those that it is in."""
        return self._changed(trial, add_group(self._require_group(group)))

    def remove_group_trial(self, group: TrialGroup | str, trial: Trial | str) -> Trial:
        """Take a trial out of a group. Where it is not in it, that does nothing."""
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
        """Check that a trial is of a project, which is a part of its identity."""
        name = project.uid if isinstance(project, Project) else project
        found = self.trial(_uid(trial))
        if found.project_id != name:
            raise InvalidName(f"{found!r} is of project {found.project_id!r}: its hash says so")
        return found

    def keep_artifact(self, trial: Trial | str, artifact: Mapping[str, StoredValue]) -> Trial:
        """Note a file that is kept with a trial; one of the same name is replaced."""

        def change(record: Record) -> None:
            others = [one for one in record["artifacts"] if one["name"] != artifact["name"]]
            record["artifacts"] = [*others, dict(artifact)]

        return self._changed(trial, change)

    def keep_environment(self, trial: Trial | str, environment: Mapping[str, StoredValue]) -> None:
        """Note in which environment a trial runs."""
        found = escaped(plain_dict(environment, "environment"))
        uid = identity("environment", found)
        self._editor.insert("environment", {"uid": uid, "environment": found})
        self._changed(trial, lambda record: record.update(environment=uid))

    def environment(self, trial: Trial | str) -> StoredRow:
        """Return the environment in which a trial ran, {} if it is not known."""
        uid = self.trial(_uid(trial)).environment
        record = None if uid is None else self.records.get("environment", uid)
        found = {} if record is None else dict(unescaped(record["environment"]))
        if isinstance(found.get("command"), str):  # an older version kept it as it was
            found["command"] = masked_line(found["command"])
        return found

    def commit(self, file_name_override: str | Path | None = None) -> None:
        """Make what was logged survive a power cut.

        Args:
            file_name_override: Write all that the store describes to this JSON document, too; see
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
        """Begin to write a trial, or go on: it is running, and this process is at it.

        A trial that has run before goes on in a new run, resumed from its last one. Raises
        `RunBusy` where another live process is at it.
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
        """See to it that a trial which a logger has started is ended, whatever comes."""
        self._loggers[id(logger)] = logger
        endings.watch(logger)

    def unwatch(self, logger: Logger) -> None:
        """Forget a logger whose trial has ended."""
        self._loggers.pop(id(logger), None)
        endings.unwatch(logger)

    def is_writing(self, uid: str, measured: Measurements) -> bool:
        """Tell whether these are still the measurements of a trial, which was not ended since."""
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
            # Some other object here is writing it.
            return self.records.open_log(record["log"])
        else:
            log = self.records.resume_log(record["log"])
        log.status["_trial"] = record["uid"]
        return log

    def resume(self, trial: Trial | str, at: int | None = None) -> None:
        """Let a trial that has run go on from a time, by default its last one.

        What it logged later stays in its old run and is seen no more. It must not be running.
        """
        record = self._editor.require("trial", _uid(trial))
        refuse_busy(record)
        if record["log"] is None:
            raise TrialNotFound(
                f"trial {record['uid']} has not run yet: there is nothing to resume"
            )
        log = self.records.resume_log(record["log"], at)
        log.close()
        self._changed(record["uid"], lambda found: found.update(log=log.h_uuid))

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
        """Begin to measure a block, which `log_trial_chrono_finish` ends."""
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
        """End the block of this name that was begun last."""
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
        """End a trial: Completed, or as an exception tells, of which the class is enough."""
        error = endings.error_of(exc_type, exc_val, exc_tb)
        return self.end(trial, *endings.told_of(error, signalled=False))

    def end(
        self,
        trial: Trial | str,
        status: AnyStatus | None,
        error: Mapping[str, StoredValue] | None = None,
    ) -> Trial:
        """Close the log of a trial and set its status; None leaves that as it is."""
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
                record["log"] = now_log  # the log may have been resumed by hand

        done = self._changed(uid, change)
        if measured is not None:
            failed = status_of(status or done.status) in (Status.Exception, Status.Broken)
            measured.log.close("failed" if failed else "finished")
        return done

    def ends(
        self, trials: Sequence[Trial], best: Mapping[str, Mode] | None = None
    ) -> list[dict[str, tuple[StoredValue, StoredValue]]]:
        """Return of trials, by metric, the last value, and the best where `best` says how."""
        uuids = [trial.log for trial in trials if trial.log is not None]
        found = self.records.ends(uuids, best or {})
        return [{} if trial.log is None else found.get(trial.log, {}) for trial in trials]

    # -- what is read of a trial -----------------------------------------------------------------

    def _changed(self, trial: Trial | str, change: Change) -> Trial:
        return self._fetched(self._editor.update("trial", _uid(trial), change))

    def _fetched(self, record: Record) -> Trial:
        (record,) = as_seen("trial", iter([dict(record)]))
        return self._described(record)

    def _described(self, record: Record) -> Trial:
        """Return the trial of a record that was read with the status that it has now."""
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
                return read_logged(measured.log)  # which sees what is not flushed yet
        try:
            log = self.records.open_log(uuid, readonly=True)
        except RunNotFound:  # it was deleted, and the trial kept
            return {"metrics": {}, "chronos": {}}
        with log:
            return read_logged(log)


def _uid(trial: Trial | str) -> str:
    return trial.uid if isinstance(trial, Trial) else str(trial)
