"""A training log: a persistent mapping from a time to a row, and from a key to a value.

Open one, write to it in the loop, and look at it:

>>> from traininglog import SQLiteLog
>>> log = SQLiteLog(":memory:")          # or a path: "runs.db"
>>> for i in range(1, 5):
...     log[i]["loss"] = 1 / i
...     log.status["iterations_done"] = i
>>> log[4]["loss"]
0.25
>>> log[2:4]["loss"]
time
2    0.500000
3    0.333333
Name: loss, dtype: float64

Resume from an earlier point, as a new run that sees the old one only up to there:

>>> log.resume(at=2)
>>> log[3]["loss"] = 0.3
>>> log.to_dataframe()
      loss
time
1      1.0
2      0.5
3      0.3
>>> [resumed_at for uuid, resumed_at in log.lineage()]
[2, None]
>>> log.close()

`TrainingLog` does the same in memory, `Store` reads all runs of a file, and `open_log` takes a URL.
Every error that the package raises on purpose is a `TrainingLogError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from traininglog.errors import (
    AmbiguousRun,
    BadQuery,
    ConfigurationError,
    CorruptLog,
    ForkedLog,
    InvalidKey,
    InvalidState,
    InvalidTime,
    InvalidUUID,
    LogClosed,
    MissingExtra,
    NetworkFileSystem,
    NotATrainingLog,
    ReadOnlyLog,
    ReadOnlyValue,
    RunBusy,
    RunHasChildren,
    RunNotFound,
    RunTakenOver,
    SchemaTooNew,
    SchemaTooOld,
    StoreFailed,
    StoreLocked,
    StoreNotFound,
    StoreUnwritable,
    TrainingLogError,
    TrainingLogWarning,
    UnknownScheme,
    ValueRangeError,
    ValueTooLarge,
    ValueTypeError,
)

if TYPE_CHECKING:
    from traininglog.base import TrainingLogBase
    from traininglog.columns import Point
    from traininglog.config import Durability, OnFull
    from traininglog.flattening import flatten
    from traininglog.imported import Ending, Outcome
    from traininglog.lineage import Ancestor
    from traininglog.log_options import LogOptions
    from traininglog.memory import TrainingLog
    from traininglog.run_info import RunInfo, State
    from traininglog.selection import Layout, Mode
    from traininglog.sqlite.log import SQLiteLog
    from traininglog.sqlite.store import Store
    from traininglog.stores import open_log, open_store, register
    from traininglog.values import StoredValue, Value

__version__ = "0.1.0"

__all__ = [
    "AmbiguousRun",
    "Ancestor",
    "BadQuery",
    "ConfigurationError",
    "CorruptLog",
    "Durability",
    "Ending",
    "ForkedLog",
    "InvalidKey",
    "InvalidState",
    "InvalidTime",
    "InvalidUUID",
    "Layout",
    "LogClosed",
    "LogOptions",
    "MissingExtra",
    "Mode",
    "NetworkFileSystem",
    "NotATrainingLog",
    "OnFull",
    "Outcome",
    "Point",
    "ReadOnlyLog",
    "ReadOnlyValue",
    "RunBusy",
    "RunHasChildren",
    "RunInfo",
    "RunNotFound",
    "RunTakenOver",
    "SQLiteLog",
    "SchemaTooNew",
    "SchemaTooOld",
    "State",
    "Store",
    "StoreFailed",
    "StoreLocked",
    "StoreNotFound",
    "StoreUnwritable",
    "StoredValue",
    "TrainingLog",
    "TrainingLogBase",
    "TrainingLogError",
    "TrainingLogWarning",
    "UnknownScheme",
    "Value",
    "ValueRangeError",
    "ValueTooLarge",
    "ValueTypeError",
    "__version__",
    "flatten",
    "open_log",
    "open_store",
    "register",
]

# Loaded at the first access, so that a program pays only for the store that it uses.
_LAZY = {
    "Ancestor": "traininglog.lineage",
    "Durability": "traininglog.config",
    "Ending": "traininglog.imported",
    "Layout": "traininglog.selection",
    "LogOptions": "traininglog.log_options",
    "Mode": "traininglog.selection",
    "OnFull": "traininglog.config",
    "Outcome": "traininglog.imported",
    "Point": "traininglog.columns",
    "RunInfo": "traininglog.run_info",
    "SQLiteLog": "traininglog.sqlite.log",
    "State": "traininglog.run_info",
    "Store": "traininglog.sqlite.store",
    "StoredValue": "traininglog.values",
    "TrainingLog": "traininglog.memory",
    "TrainingLogBase": "traininglog.base",
    "Value": "traininglog.values",
    "flatten": "traininglog.flattening",
    "open_log": "traininglog.stores",
    "open_store": "traininglog.stores",
    "register": "traininglog.stores",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
