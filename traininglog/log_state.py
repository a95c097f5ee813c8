"""The state of a log as a small plain dict, for a model checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from traininglog.encoding import from_plain_json, is_plain_json, to_plain_json
from traininglog.errors import CorruptLog, InvalidState
from traininglog.values import StoredRow, StoredValue, check_time, check_uuid, thaw

_NAMES = {"store", "uuid", "time", "status"}


class LogState(NamedTuple):
    """Where a log was: its store, its run, its last time (None: none yet), and its status."""

    store: str
    uuid: UUID
    time: int | None
    status: StoredRow

    def to_dict(self) -> StoredRow:
        """Return the state as types of strict JSON; ``"coded"`` names the status keys to decode."""
        coded = [key for key, value in self.status.items() if not is_plain_json(value)]
        state: StoredRow = {
            "store": self.store,
            "uuid": self.uuid.hex,
            "time": self.time,
            "status": {
                key: to_plain_json(value) if key in coded else thaw(value)
                for key, value in self.status.items()
            },
        }
        return state | {"coded": coded} if coded else state

    @classmethod
    def from_dict(cls, state: Mapping[str, StoredValue]) -> LogState:
        """Return the state that `to_dict` returned as a dict. Raises `InvalidState`."""
        if not isinstance(state, Mapping) or set(state) - {"coded"} != _NAMES:
            raise InvalidState(
                "expected what state_dict() returned: a dict of 'store', 'uuid', 'time', 'status'"
            )
        if not isinstance(state["status"], Mapping):
            raise InvalidState("the 'status' of a state must be a mapping")
        status = dict(state["status"])
        coded = state.get("coded", [])  # older states have no coded values
        if not isinstance(coded, (list, tuple)) or not all(key in status for key in coded):
            raise InvalidState("the 'coded' of a state must be a list of keys of its 'status'")
        for key in coded:
            try:
                status[key] = from_plain_json(status[key])
            except CorruptLog as error:
                raise InvalidState(f"the state's status {key!r}: {error}") from None
        time = None if state["time"] is None else check_time(state["time"])
        return cls(state["store"], check_uuid(state["uuid"]), time, status)
