"""The files that belong to a database, beside it: what may stand under their names."""

from __future__ import annotations

from pathlib import Path

from traininglog.errors import StoreUnwritable
from traininglog.plain_files import kind_of

#: What is added to the name of a database: SQLite's own files, and ours with the locks of writers.
SUFFIXES = ("-wal", "-shm", "-journal", "-owners")

#: How many bytes the longest name beside a database adds to its own: that of a damaged journal,
#: with an epoch of up to ten digits and a position of up to sixteen.
ADDED = len("-damaged-tail-") + 32 + len("-") + 10 + len("-") + 16

#: How many the journal of a run adds at the least: nothing could be assigned without it.
LEAST_ADDED = len("-tail-") + 32 + len("-0")


def refuse_odd(path: Path) -> None:
    """Raise `StoreUnwritable` where one of the files beside a database is no regular file.

    SQLite waits for ever at a pipe, or fails with a word on the disk; and what is written to where
    a link leads is written there.
    """
    real = path.resolve()
    for suffix in SUFFIXES:
        beside = real.with_name(real.name + suffix)
        try:
            kind = kind_of(beside)
        except OSError:  # then nothing beside it can be used, as is said when that is tried
            return
        if kind is not None:
            raise StoreUnwritable(
                f"{beside} is {kind}, where a file that belongs to {path} has to be: look who put "
                "it there, and move it away; nothing was read or changed"
            )
