"""Checks that records can come from a log, beyond their checksums.

Anyone can make a file of records with right checksums. So recovery checks the records of a journal
that another process left: the database must never hold a value that could not have been assigned.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import error as StructError  # noqa: N812 - the module names it in lower case

from traininglog.encoding import Kind, fits
from traininglog.errors import CorruptLog, InvalidKey
from traininglog.journal.bulk import MOST_KEYS
from traininglog.journal.record import Batch
from traininglog.values import MAX_TIME, check_text

#: The errors of reading records with right checksums and impossible contents.
NOT_AS_WRITTEN = (
    StructError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError, CorruptLog,
)  # fmt: skip

_NUMBERS = {Kind.INT.value, Kind.FLOAT.value}


def is_credible(batch: Batch, names: Mapping[int, str]) -> bool:
    """Return whether a log can have written a batch, given the names of all keys by number."""
    codes = set(batch.numbers.flat()[::3])
    times = batch.times()
    used = {code & MOST_KEYS for code in codes} | {number for _, number in batch.others}
    return (
        (times is None or (times[0] >= 0 and times[1] <= MAX_TIME))
        and {code >> 24 for code in codes} <= _NUMBERS
        and used <= names.keys()
        and len(set(names.values())) == len(names)
        and all(_is_name(name) for name in batch.names.values())
        and all(fits(kind, stored) for kind, stored in batch.others.values())
    )


def _is_name(name: str) -> bool:
    try:
        check_text(name)
    except InvalidKey:
        return False
    return True
