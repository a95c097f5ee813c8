"""What a store knows of a run without reading its rows: `RunInfo`.

Lists, the command line and frames of runs are made of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from traininglog.columns import Point
from traininglog.values import StoredValue

#: How a run stands: a live process is writing it, it was closed, an exception left it, or its
#: process is gone without a word.
State = Literal["running", "finished", "failed", "lost"]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run, as `Store.iter_runs` tells of it.

    A key that the run has no value of is not in `last`. A value None is a `Point` with the value
    None, and its `kind` is ``"none"``; that of a NaN is ``"float"``. So the three differ.

    What a damaged line of the store cannot tell is None.
    """

    uuid: UUID
    #: The value of ``status["name"]``, if that is a text.
    name: str | None
    #: As it was when the run was read: it is worked out from who is alive, not stored.
    state: State
    #: When the run began (UTC).
    created: datetime | None
    #: When something was written to it last (UTC).
    updated: datetime | None
    #: The machine that wrote it last.
    host: str | None
    #: The run that it was resumed from.
    resumed_from: UUID | None
    #: The last time of that run that it sees; -1: none of its rows.
    resumed_at: int | None
    #: The first and the last time that the run logged itself, without what it inherits.
    first_time: int | None
    last_time: int | None
    #: How many rows and values it logged itself.
    rows: int
    values: int
    #: The last value of each key asked for, as the run sees it, with its time.
    last: Mapping[str, Point] = field(default_factory=dict)
    #: The smallest (or largest) number of each key asked for.
    best: Mapping[str, int | float] = field(default_factory=dict)
    #: The value of ``status["config"]`` and of ``status["tags"]``, if that is a dict.
    config: Mapping[str, StoredValue] | None = None
    tags: Mapping[str, StoredValue] | None = None
