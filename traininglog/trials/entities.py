"""Projects, groups and trials: the description of experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from traininglog.trials.errors import InvalidName
from traininglog.trials.plain import check_name, escaped, identity, plain_dict, unescaped
from traininglog.trials.statuses import AnyStatus, Status, status_of

Record = dict[str, Any]

#: The project of a trial for which none was set.
ORPHAN = "orphan"


class _Entity:
    """What has a UID. Two are equal if they have the same one."""

    @property
    def uid(self) -> str:
        """What tells it from all others of its kind."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self.uid == other.uid)

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.uid))


class Project(_Entity):
    """What groups and trials belong to. Its UID is its name.

    Args:
        name: A text of up to 512 bytes that is no path.
        description: For people.
        tags: Plain data by name, for queries; `client.to_dataframe` shows them with every trial.
        metadata: Plain data by name.

    """

    def __init__(
        self,
        name: str,
        description: str | None = None,
        tags: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = check_name(name, "project")
        self.description = _text(description, "description")
        self.tags = plain_dict(tags or {}, "tags")
        self.metadata = plain_dict(metadata or {}, "metadata")

    @property
    def uid(self) -> str:
        """The name."""
        return self.name

    def __repr__(self) -> str:
        return f"<Project {self.name!r}>"

    def to_record(self) -> Record:
        """Return the project as JSON can hold it."""
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
        return cls(
            record["name"],
            record["description"],
            unescaped(record["tags"]),
            unescaped(record["metadata"]),
        )


class TrialGroup(_Entity):
    """A named set of trials of one project. Its UID is a hash of project and name."""

    def __init__(
        self,
        name: str,
        project_id: str,
        description: str | None = None,
        tags: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
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

    def __repr__(self) -> str:
        return f"<TrialGroup {self.name!r} of {self.project_id!r}>"

    def to_record(self) -> Record:
        """Return the group as JSON can hold it."""
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
        return cls(
            record["name"],
            record["project_id"],
            record["description"],
            unescaped(record["tags"]),
            unescaped(record["metadata"]),
        )


class Trial(_Entity):
    """The description of an experiment, and what became of it.

    Its `hash` is that of project, name, version and parameters, its UID the hash and the revision,
    which counts the trials of one definition from 0.

    Args:
        name, description, version: Texts.
        tags, metadata, parameters: Plain data by name.
        project_id: The name of its project.
        group_id: The UID of its group.
        revision: Which of the trials of the same definition.

    """

    def __init__(
        self,
        name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        version: str | None = None,
        project_id: str = ORPHAN,
        group_id: str | None = None,
        revision: int = 0,
    ) -> None:
        self.name = None if name is None else check_name(name, "trial")
        self.description = _text(description, "description")
        self.version = _text(version, "version")
        self.tags = plain_dict(tags or {}, "tags")
        self.metadata = plain_dict(metadata or {}, "metadata")
        self.parameters = plain_dict(parameters or {}, "parameters")
        self.project_id = check_name(project_id, "project")
        self.group_id = _text(group_id, "group")
        self.revision = int(revision)
        self.status: AnyStatus = Status.CreatedGroup
        #: What went wrong: dicts of type, message and traceback.
        self.errors: list[Any] = []
        #: The UUID of the run that it writes, or wrote last, in hex.
        self.log: str | None = None
        #: Unix seconds.
        self.created: float | None = None
        self.started: float | None = None
        self.finished: float | None = None
        #: Seconds that it ran, in all its processes that were not killed; None before its end.
        self.runtime: float | None = None
        #: The UID of the record of the environment.
        self.environment: str | None = None
        #: The files that were kept with it: dicts of name, sha256, size, kind and mode.
        self.artifacts: list[dict[str, Any]] = []
        self._hash: str | None = None
        self._logged: dict[str, Any] | Callable[[], dict[str, Any]] = {"metrics": {}, "chronos": {}}

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
    def metrics(self) -> dict[str, Any]:
        """What was logged, as it was when first asked for.

        By name: ``{step: value}``, a list for a series without steps, or what an aggregator kept.
        """
        metrics: dict[str, Any] = self._read()["metrics"]
        return metrics

    @property
    def chronos(self) -> dict[str, Any]:
        """What was timed, by name, in seconds; see `metrics`."""
        chronos: dict[str, Any] = self._read()["chronos"]
        return chronos

    def _read(self) -> dict[str, Any]:
        if callable(self._logged):
            self._logged = self._logged()
        return self._logged

    def __repr__(self) -> str:
        return f"<Trial {self.name or ''} {self.hash[:8]}_{self.revision} {self.status}>"

    def to_record(self) -> Record:
        """Return the trial as JSON can hold it, without its metrics."""
        return {
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

    @classmethod
    def from_record(
        cls, record: Record, status: AnyStatus, logged: Callable[[], dict[str, Any]]
    ) -> Trial:
        """Return the trial of a record; `logged` reads its metrics and chronos when asked for."""
        trial = cls.__new__(cls)  # what is in a store was checked on its way there
        for name in ("name", "description", "version", "project_id", "group_id", "revision"):
            setattr(trial, name, record[name])
        for name in ("log", "created", "started", "finished", "environment", "artifacts"):
            setattr(trial, name, record[name])
        for name in ("tags", "metadata", "parameters", "errors"):
            setattr(trial, name, unescaped(record[name]))
        trial.status = status
        trial.runtime = record["chronos"].get("runtime")
        trial._hash = record["hash"]
        trial._logged = logged
        return trial


def stored_status(record: Record) -> AnyStatus:
    """Return the status that a record names."""
    return status_of(record["status"])


def _text(value: object, what: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InvalidName(f"the {what} is a text, not a {type(value).__name__}")
