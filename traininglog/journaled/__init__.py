"""Logs in a third-party store of eight methods, with the same journal as our own.

See `traininglog.journaled.log.JournaledLog`.
"""

from traininglog.journaled.log import JournaledLog
from traininglog.journaled.spool import spool_of
from traininglog.writer.sink import Birth, Lease, LogStore, Saving, Start, StoredRun

__all__ = [
    "Birth", "JournaledLog", "Lease", "LogStore", "Saving", "Start", "StoredRun", "spool_of",
]  # fmt: skip
