"""`Multiplexer`: replication of trials to several stores, one leader and its followers.

The first store is the leader: all reads and all decisions are its own. Each successful write to the
leader is repeated in the followers, and each of its logs has a twin there. If a follower fails, a
warning tells of it, and the multiplexer uses it no more. The trial goes on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from traininglog.base import TrainingLogBase
from traininglog.errors import RunNotFound, TrainingLogError, TrainingLogWarning
from traininglog.kept import copy_over
from traininglog.lineage import Descent
from traininglog.selection import Mode
from traininglog.stores import open_records
from traininglog.trials.records import Record, Records
from traininglog.trials.store import TrialStore
from traininglog.values import StoredRow
from traininglog.wrapping import LogAround


class _Follower:
    """A follower, until its first failure."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.failed = False
        self.twins: dict[str, str] = {}  # UUID of the leader's log -> UUID of the follower's log

    def does(self, act: Callable[[Records], Any]) -> Any:
        """Call `act` with the store. After a failure, warn, and ignore all later calls."""
        if self.failed:
            return None
        try:
            return act(self.records)
        except (TrainingLogError, OSError) as error:
            self.failed = True
            warnings.warn(
                f"{self.records.location} is left out from now on: {error}",
                TrainingLogWarning,
                stacklevel=2,
            )
            return None


class _LogAndTwins(LogAround):
    """A log of the leader, which also writes to its twins in the followers."""

    def __init__(
        self, inner: TrainingLogBase, twins: list[tuple[_Follower, TrainingLogBase]]
    ) -> None:
        super().__init__(inner)
        self._twins = twins

    def _each(self, act: Callable[[TrainingLogBase], Any]) -> None:
        for follower, twin in self._twins:
            follower.does(lambda _, twin=twin: act(twin))  # type: ignore[misc]

    def _write(self, rows: dict[int, StoredRow]) -> None:
        super()._write(rows)
        self._each(lambda twin: twin._write(rows))

    def _write_status(self, values: StoredRow) -> None:
        super()._write_status(values)
        own = {key: value for key, value in values.items() if key != "resumed_from"}
        self._each(lambda twin: twin._write_status(own))

    def flush(self) -> None:
        """Make all assignments visible to other processes."""
        super().flush()
        self._each(lambda twin: twin.flush())

    def commit(self) -> None:
        """Commit all assignments, so that they survive a power cut."""
        super().commit()
        self._each(lambda twin: twin.commit())

    def _close(self, outcome: Literal["finished", "failed"]) -> None:
        try:
            super()._close(outcome)
        finally:
            self._each(lambda twin: twin._close(outcome))

    def _fork(self, descent: Descent) -> None:
        super()._fork(descent)
        at = descent.at if descent.at >= 0 else None
        for follower, twin in self._twins:
            follower.does(lambda _, twin=twin: twin.resume(at, variant=descent.variant))  # type: ignore[misc]
            follower.twins[self.h_uuid] = twin.h_uuid


class MultiplexedRecords:
    """The records of a leader and its followers."""

    def __init__(self, leader: Records, followers: Sequence[Records]) -> None:
        self._leader = leader
        self._followers = [_Follower(records) for records in followers]
        self.location = leader.location

    @property
    def artifacts(self) -> Path:
        """The leader's folder of stored files."""
        return self._leader.artifacts

    def insert(self, kind: str, record: Record) -> bool:
        """Add a record to the leader, and if that succeeds, to the followers."""
        done = self._leader.insert(kind, record)
        if done:
            self._follow(kind, record)
        return done

    def replace(self, kind: str, record: Record, edit: int) -> bool:
        """Replace a record of the leader, and if that succeeds, of the followers."""
        done = self._leader.replace(kind, record, edit)
        if done:
            self._follow(kind, record)
        return done

    def _follow(self, kind: str, record: Record) -> None:
        for follower in self._followers:
            own = dict(record)
            if own.get("log") is not None:
                own["log"] = follower.twins.get(own["log"], own["log"])
            follower.does(lambda records, own=own: self._pass_on(records, kind, own))  # type: ignore[misc]

    def _pass_on(self, records: Records, kind: str, record: Record) -> None:
        for artifact in record.get("artifacts", ()):
            copy_over(self.artifacts, records.artifacts, artifact["sha256"])
        _put(records, kind, record)

    def get(self, kind: str, uid: str) -> Record | None:
        """Return the leader's record."""
        return self._leader.get(kind, uid)

    def select(self, kind: str, where: Mapping[str, Sequence[Any]]) -> Iterable[Record]:
        """Yield the leader's records."""
        return self._leader.select(kind, where)

    def new_log(self) -> TrainingLogBase:
        """Return a new log, with twins."""
        return self._with_twins(self._leader.new_log(), lambda _: lambda records: records.new_log())

    def open_log(self, uuid: str, *, readonly: bool = False) -> TrainingLogBase:
        """Return a log of the leader, with twins unless it is read-only."""
        log = self._leader.open_log(uuid, readonly=readonly)
        return log if readonly else self._with_twins(log, lambda twin: _reopened(twin(uuid)))

    def resume_log(self, uuid: str, at: int | None = None) -> TrainingLogBase:
        """Return a log that continues one of the leader, with twins."""
        log = self._leader.resume_log(uuid, at)
        return self._with_twins(log, lambda twin: _resumed(twin(uuid), at))

    def _with_twins(self, log: TrainingLogBase, make: Callable[..., Any]) -> TrainingLogBase:
        twins = []
        for follower in self._followers:

            def twin(uuid: str, follower: _Follower = follower) -> str | None:
                return self._twin(follower, uuid)

            found = follower.does(make(twin))
            if found is not None:
                follower.twins[log.h_uuid] = found.h_uuid
                twins.append((follower, found))
        return _LogAndTwins(log, twins)

    def _twin(self, follower: _Follower, uuid: str) -> str | None:
        """Return the follower's twin of a leader's log, or None if it has none."""
        if uuid in follower.twins:
            return follower.twins[uuid]
        for record in self._leader.select("trial", {"log": [uuid]}):
            if record["log"] == uuid:
                own = follower.records.get("trial", record["uid"])
                found: str | None = None if own is None else own["log"]
                return found
        return None

    def ends(
        self, uuids: Sequence[str], best: Mapping[str, Mode]
    ) -> dict[str, dict[str, tuple[Any, Any]]]:
        """Return the leader's last and best values."""
        return self._leader.ends(uuids, best)

    def close(self) -> None:
        """Close all stores."""
        try:
            self._leader.close()
        finally:
            for follower in self._followers:
                follower.does(lambda records: records.close())


class Multiplexer(TrialStore):
    """A trial store over several stores: the first one leads, the others follow.

    Args:
        stores: Paths, URLs, or `TrialStore`\\ s; at least one.

    """

    def __init__(self, *stores: str | Path | TrialStore | Any) -> None:
        if not stores:
            raise ValueError("a multiplexer needs at least one store")
        records = [
            open_records(store) if isinstance(store, (str, Path))
            else store.records if isinstance(store, TrialStore)
            else store
            for store in stores
        ]  # fmt: skip
        super().__init__(MultiplexedRecords(records[0], records[1:]))


def _put(records: Records, kind: str, record: Record) -> None:
    """Insert or replace a record, so that it equals the leader's."""
    if records.insert(kind, record):
        return
    known = records.get(kind, record["uid"])
    if known is not None:
        records.replace(kind, record, known["edit"])


def _reopened(uuid: str | None) -> Callable[[Records], TrainingLogBase]:
    return lambda records: records.new_log() if uuid is None else records.open_log(uuid)


def _resumed(uuid: str | None, at: int | None) -> Callable[[Records], TrainingLogBase]:
    def resume(records: Records) -> TrainingLogBase:
        if uuid is None:
            return records.new_log()
        try:
            return records.resume_log(uuid, at)
        except RunNotFound:
            return records.new_log()

    return resume
