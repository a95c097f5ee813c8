"""The options of opening a log, for signatures that pass them on."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict
from uuid import UUID

from traininglog.config import Durability, OnFull
from traininglog.identity import About
from traininglog.imported import Ending


class LogOptions(About, total=False):
    """The options of `SQLiteLog` besides a store and a UUID; see there."""

    resume: bool
    at: int | None
    durability: Durability | None
    seal: bool | None
    readonly: bool
    takeover: bool
    max_value_bytes: int | None
    max_pending_bytes: int | None
    on_full: OnFull | None
    allow_network: bool | None
    created: float | datetime | None
    host: str | None
    outcome: Ending | None
    part_of: UUID | str | None


class StoreOptions(TypedDict, total=False):
    """The options of a store for trials besides its place. A store may take fewer of them."""

    readonly: bool
    durability: Durability | None
    seal: bool | None
    max_value_bytes: int | None
    max_pending_bytes: int | None
    on_full: OnFull | None
    allow_network: bool | None
