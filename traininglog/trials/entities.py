"""Projects, groups and trials: the description of experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from traininglog.plain_json import escaped, unescaped
from traininglog.trial_records import groups_of
from traininglog.trials.plain import check_name, identity, plain_data, plain_dict
from traininglog.trials.statuses import AnyStatus, Status, status_of
from traininglog.trials.trial_errors import InvalidName, InvalidParameter
from traininglog.values import StoredRow, StoredValue, check_uuid

Record = StoredRow

#: The project of a trial without a project.
ORPHAN = "orphan"


#: Called with "group" or "trial", it reads the groups or trials of an entity from the store.
Reader = Callable[[str], list[Any]]


class _Entity:
    """An object with a UID. Two entities of one class are equal if their UIDs are."""

    _reader: Reader | None = None

    @property
    def uid(self) -> str:
        """The identity of the entity among those of its class."""
        raise NotImplementedError

    def read_by(self, reader: Reader) -> Self:
        """Set the function that reads its groups and trials from its store."""
        self._reader = reader
        return self

    def _belonging(self, kind: str) -> list[Any]:
        return [] if self._reader is None else self._reader(kind)

    def __getstate__(self) -> StoredRow:
        # A copy in another process has no store to read.
        return {name: value for name, value in self.__dict__.items() if name != "_reader"}

    def to_record(self) -> Record:
        """Return the entity as a record of a store."""
        raise NotImplementedError

    def to_json(self) -> Record:
        """Return the whole entity as plain data for strict JSON; see `from_json`."""
        return self.to_record()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self.uid == other.uid)

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.uid))


class Project(_Entity):
    """A set of groups and trials. Its UID is its name.

    Args:
        name: A text of up to 512 bytes that is no path.
        description: A text for people.
        tags: Plain data by name. The trials and groups of the project inherit them: queries find
            trials by these tags, and `client.to_dataframe` shows them. A trial's own tag of the
            same name takes precedence.
        metadata: Plain data by name.

    """

    def __init__(
        self,
        name: str,
        description: str | None = None,
        tags: Mapping[str, StoredValue] | None = None,
        metadata: Mapping[str, StoredValue] | None = None,
    ) -> None:
        self.name = check_name(name, "project")
        self.description = _text(description, "description")
        self.tags = plain_dict(tags or {}, "tags")
        self.metadata = plain_dict(metadata or {}, "metadata")

    @property
    def uid(self) -> str:
        """The name."""
        return self.name

    @property
    def groups(self) -> list[TrialGroup]:
        """The groups of the project, read from its store; [] if it has no store."""
        return self._belonging("group")

    @property
    def trials(self) -> list[Trial]:
        """The trials of the project, read from its store; [] if it has no store."""
        return self._belonging("trial")

    def __repr__(self) -> str:
        return f"<Project {self.name!r}>"

    def to_record(self) -> Record:
        """Return the project as a record, in a form for strict JSON."""
        return {
            "uid": self.uid,
            "name": self.name,
            "description": self.description,
            "tags": escaped(self.tags),
            "metadata": escaped(self.metadata),
        }

    @classmethod
    def from_record(cls, record: Record) -> Project:
        """Return the project of a record."""
        return cls(record["name"], **_described(record))

    @classmethod
    def from_json(cls, data: Mapping[str, StoredValue]) -> Project:
        """Return the project of the result of `to_json`; absent fields get their defaults."""
        return cls.from_record(_checked(data, "project", "name"))


class TrialGroup(_Entity):
    """A named set of trials of one project. Its UID is a hash of project and name.

    A trial can be in several groups.

    Args:
        name: A text of up to 512 bytes that is no path.
        project_id: The name of its project.
        description: A text for people.
        tags, metadata: Plain data by name.

    """

    def __init__(
        self,
        name: str,
        project_id: str,
        description: str | None = None,
        tags: Mapping[str, StoredValue] | None = None,
        metadata: Mapping[str, StoredValue] | None = None,
    ) -> None:
        self.name = check_name(name, "group")
        self.project_id = check_name(project_id, "project")
        self.description = _text(description, "description")
        self.tags = plain_dict(tags or {}, "tags")
        self.metadata = plain_dict(metadata or {}, "metadata")

    @property
    def uid(self) -> str:
        """The hash of project and name."""
        return identity("group", self.project_id, self.name)

    @property
    def trials(self) -> list[Trial]:
        """The trials of the group, read from its store; [] if it has no store."""
        return self._belonging("trial")

    def __repr__(self) -> str:
        return f"<TrialGroup {self.name!r} of {self.project_id!r}>"

    def to_record(self) -> Record:
        """Return the group as a record, in a form for strict JSON."""
        return {
            "uid": self.uid,
            "name": self.name,
            "project_id": self.project_id,
            "description": self.description,
            "tags": escaped(self.tags),
            "metadata": escaped(self.metadata),
        }

    @classmethod
    def from_record(cls, record: Record) -> TrialGroup:
        """Return the group of a record."""
        return cls(record["name"], record["project_id"], **_described(record))

    @classmethod
    def from_json(cls, data: Mapping[str, StoredValue]) -> TrialGroup:
        """Return the group of the result of `to_json`; absent fields get their defaults."""
        return cls.from_record(_checked(data, "group", "name", "project_id"))


class Trial(_Entity):
    """The description of an experiment, and its results.

    Its `hash` is made of project, name, version and parameters. Its UID is the hash and the
    revision. The revision counts the trials of one definition from 0.

    Args:
        name, description, version: Texts.
        tags, metadata, parameters: Plain data by name.
        project_id: The name of its project.
        group_id: The UID of its first group.
        revision: The number of the trial among those of the same definition.
        groups: The UIDs of its groups, or `TrialGroup` objects.
        status: Its status.
        errors: Its errors, as plain data.
        metrics: The logged metrics, by name: ``{step: value}``, a list, or the values of an
            aggregator.
        chronos: The measured durations, by name.
        log: The UUID of its run.
        created, started, finished: Unix seconds.
        environment: The UID of the record of its environment.
        artifacts: The entries of its stored files.

    """

    def __init__(
        self,
        name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, StoredValue] | None = None,
        metadata: Mapping[str, StoredValue] | None = None,
        parameters: Mapping[str, StoredValue] | None = None,
        version: str | None = None,
        project_id: str = ORPHAN,
        group_id: str | None = None,
        revision: int = 0,
        *,
        groups: Iterable[str | TrialGroup] = (),
        status: AnyStatus | str | Mapping[str, StoredValue] = Status.CreatedGroup,
        errors: Iterable[object] = (),
        metrics: Mapping[str, StoredValue] | None = None,
        chronos: Mapping[str, StoredValue] | None = None,
        log: str | None = None,
        created: float | None = None,
        started: float | None = None,
        finished: float | None = None,
        environment: str | None = None,
        artifacts: Iterable[Mapping[str, StoredValue]] = (),
    ) -> None:
        self.name = None if name is None else check_name(name, "trial")
        self.description = _text(description, "description")
        self.version = _text(version, "version")
        self.tags = plain_dict(tags or {}, "tags")
        self.metadata = plain_dict(metadata or {}, "metadata")
        self.parameters = plain_dict(parameters or {}, "parameters")
        self.project_id = check_name(project_id, "project")
        #: The UIDs of its groups.
        self.groups: list[str] = _uids_of(group_id, groups)
        self.revision = int(revision)
        self.status: AnyStatus = status_of(status)
        #: Its errors: dicts of type, message and traceback.
        self.errors: list[Any] = [plain_data(error, "the error") for error in errors]
        #: The UUID of its current or last run, in hex.
        self.log: str | None = None if log is None else check_uuid(log).hex
        #: Unix seconds.
        self.created: float | None = created
        self.started: float | None = started
        self.finished: float | None = finished
        #: The UID of the record of the environment.
        self.environment: str | None = _text(environment, "environment")
        #: Its stored files: dicts of name, sha256, size, kind and mode.
        self.artifacts: list[StoredRow] = [dict(artifact) for artifact in artifacts]
        self._hash: str | None = None
        self._logged: StoredRow | Callable[[], StoredRow] = {
            "metrics": _measured(metrics), "chronos": plain_dict(chronos or {}, "chronos"),
        }  # fmt: skip
        #: The seconds of all its processes that were not killed; None before its end.
        self.runtime: float | None = self.chronos.get("runtime")

    @property
    def group_id(self) -> str | None:
        """The UID of its first group, or None if it has no group."""
        return self.groups[0] if self.groups else None

    @property
    def hash(self) -> str:
        """The hash of project, name, version and parameters: 64 hex digits."""
        if self._hash is None:
            self._hash = identity(
                "trial", self.project_id, self.name, self.version, self.parameters
            )
        return self._hash

    @property
    def uid(self) -> str:
        """The hash and the revision."""
        return f"{self.hash}_{self.revision}"

    @property
    def metrics(self) -> StoredRow:
        """The logged metrics, by name. The first access reads them; later ones return the same.

        A metric is ``{step: value}``, a list for a series without steps, or an aggregator's values.
        """
        metrics: StoredRow = self._read()["metrics"]
        return metrics

    @property
    def chronos(self) -> StoredRow:
        """The measured durations, by name, in seconds; see `metrics`."""
        chronos: StoredRow = self._read()["chronos"]
        return chronos

    def _read(self) -> StoredRow:
        if callable(self._logged):
            self._logged = self._logged()
        return self._logged

    def __getstate__(self) -> StoredRow:
        self._read()
        return super().__getstate__()

    def __repr__(self) -> str:
        return f"<Trial {self.name or ''} {self.hash[:8]}_{self.revision} {self.status}>"

    def to_record(self) -> Record:
        """Return the trial as a record of a store. Its metrics are not in it, but in its log."""
        created = {} if self.created is None else {"created": self.created}
        return created | {
            "uid": self.uid,
            "hash": self.hash,
            "revision": self.revision,
            "name": self.name,
            "description": self.description,
            "version": self.version,
            "tags": escaped(self.tags),
            "metadata": escaped(self.metadata),
            "parameters": escaped(self.parameters),
            "project_id": self.project_id,
            "group_id": self.group_id,
            "groups": self.groups,
            "status": self.status.to_json(),
            "errors": escaped(self.errors),
            "log": self.log,
            "started": self.started,
            "finished": self.finished,
            "environment": self.environment,
            "artifacts": self.artifacts,
            "chronos": {},
            "owner": None,
        }

    def to_json(self) -> Record:
        """Return the whole trial, with its metrics, as plain data for strict JSON."""
        metrics = {
            name: {str(key): value for key, value in kept.items()} if isinstance(kept, dict)
            else kept
            for name, kept in self.metrics.items()
        }  # fmt: skip
        shown = self.to_record() | {"metrics": metrics, "chronos": self.chronos}
        return {
            name: escaped(value) if name in ("metrics", "chronos") else value
            for name, value in shown.items() if name != "owner"
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, StoredValue]) -> Trial:
        """Return the trial of the result of `to_json`; absent fields get their defaults.

        The data of a report is valid input, too.
        """
        fields = _checked(data, "trial")
        for name in ("tags", "metadata", "parameters", "errors", "metrics", "chronos"):
            if name in fields:
                fields[name] = unescaped(fields[name])
        return cls(**{name: fields[name] for name in _OF_A_TRIAL if fields.get(name) is not None})

    @classmethod
    def from_record(
        cls,
        record: Record,
        status: AnyStatus | None = None,
        logged: Callable[[], StoredRow] | None = None,
    ) -> Trial:
        """Return the trial of a record.

        Args:
            record: The record.
            status: Its current status. Defaults to the status in the record.
            logged: Reads its metrics and chronos at the first access. By default the trial has no
                metrics, and the chronos of the record.

        """
        trial = cls.__new__(cls)  # without checks: the store has only checked records
        for name in ("name", "description", "version", "project_id", "revision"):
            setattr(trial, name, record[name])
        trial.groups = groups_of(record)
        for name in ("log", "created", "started", "finished", "environment", "artifacts"):
            setattr(trial, name, record.get(name))
        for name in ("tags", "metadata", "parameters", "errors"):
            setattr(trial, name, unescaped(record[name]))
        trial.status = stored_status(record) if status is None else status
        trial.runtime = record["chronos"].get("runtime")
        trial._hash = record["hash"]
        written = {"metrics": {}, "chronos": unescaped(record["chronos"])}
        trial._logged = written if logged is None else logged
        return trial


#: The fields of a trial's JSON that its constructor takes; the others follow from these.
_OF_A_TRIAL = (
    "name", "description", "tags", "metadata", "parameters", "version", "project_id", "group_id",
    "revision", "groups", "status", "errors", "metrics", "chronos", "log", "created", "started",
    "finished", "environment", "artifacts",
)  # fmt: skip


def uid_of_group(group: TrialGroup | str) -> str:
    """Return the UID of a group, from the group or from the UID itself."""
    return group.uid if isinstance(group, TrialGroup) else str(group)


def _uids_of(first: object, groups: Iterable[str | TrialGroup]) -> list[str]:
    if isinstance(groups, (str, TrialGroup)):
        groups = [groups]
    one = _text(first.uid if isinstance(first, TrialGroup) else first, "group")
    return list(dict.fromkeys([*([] if one is None else [one]), *map(uid_of_group, groups)]))


def _measured(metrics: Mapping[str, StoredValue] | None) -> StoredRow:
    """Return metrics with steps as integers; in JSON the steps are texts."""
    found = {}
    for name, kept in (metrics or {}).items():
        steps = isinstance(kept, Mapping) and kept and all(map(_is_step, kept))
        found[str(name)] = (
            {int(step): plain_data(value, f"metric {name!r}") for step, value in kept.items()}
            if steps
            else plain_data(kept, f"metric {name!r}")
        )
    return found


def _is_step(key: object) -> bool:
    if isinstance(key, str):
        return key.isascii() and key.isdecimal()
    return isinstance(key, int) and not isinstance(key, bool) and key >= 0


def _described(record: Mapping[str, StoredValue]) -> StoredRow:
    return {
        "description": record.get("description"),
        "tags": unescaped(record.get("tags") or {}),
        "metadata": unescaped(record.get("metadata") or {}),
    }


def _checked(data: Mapping[str, StoredValue], what: str, *needed: str) -> Record:
    if not isinstance(data, Mapping):
        raise InvalidParameter(
            f"a {what} is made of a dict, not of a {type(data).__name__}: use json.loads(text)"
        )
    missing = [name for name in needed if data.get(name) is None]
    if missing:
        raise InvalidName(f"this is not the JSON of a {what}: it has no {', '.join(missing)}")
    return dict(data)


def stored_status(record: Record) -> AnyStatus:
    """Return the status that a record stores."""
    return status_of(record["status"])


def _text(value: object, what: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InvalidName(f"the {what} is a text, not a {type(value).__name__}")
