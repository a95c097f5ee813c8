"""Floats and ints on their way to the database: few as a list, many as arrays.

A few records become numbers of Python, as when a program reads back what it has just assigned.
Many records never become objects, if the program has imported NumPy anyway: a flush of ten thousand
values must not keep a training loop waiting.
"""

from __future__ import annotations

import sys
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from traininglog.encoding import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Keys are numbered from 1 up to here.
MOST_KEYS = 2**24 - 1

#: The bytes of one number in the record of a row: its head and its value.
CELL = Struct("<Id").size

# From so many records on, arrays are faster.
_MANY = 256


class Arrays(NamedTuple):
    """Numbers in the order in which they were assigned."""

    codes: NDArray[np.uint32]  #: the number of the key, with the value's kind in the byte above
    times: NDArray[np.int64]
    words: NDArray[np.uint64]  #: the 64 bits of the float or int

    def part(self, which: Any) -> Arrays:
        """Return the numbers that a NumPy index picks."""
        return Arrays(self.codes[which], self.times[which], self.words[which])

    def flat(self) -> list[Any]:
        """Return code, time, value, code, time, value, ..."""
        import numpy as np

        floats: list[Any] = self.words.view(np.float64).tolist()
        whole = np.flatnonzero(self.codes >> 24 != Kind.FLOAT)
        for place, value in zip(
            whole.tolist(), self.words[whole].view(np.int64).tolist(), strict=True
        ):
            floats[place] = value
        flat: list[Any] = [None] * (3 * len(floats))
        flat[0::3], flat[1::3], flat[2::3] = self.codes.tolist(), self.times.tolist(), floats
        return flat


class Numbers:
    """Floats and ints by time and key. Of several for one time and key, the last one counts."""

    def __init__(self) -> None:
        self._parts: list[list[Any] | Arrays] = []

    def __len__(self) -> int:
        return sum(
            len(part) // 3 if isinstance(part, list) else len(part.codes) for part in self._parts
        )

    def add(self, more: list[Any] | Arrays) -> None:
        """Append later numbers, flat or as arrays."""
        parts = self._parts
        if isinstance(more, list) and parts and isinstance(parts[-1], list):
            parts[-1] += more
        elif not isinstance(more, list) or more:
            parts.append(more)

    def extend(self, later: Numbers) -> None:
        """Append the numbers of a later batch."""
        for part in later._parts:
            self.add(part[:] if isinstance(part, list) else part)

    def flat(self) -> list[Any]:
        """Return code, time, value, code, time, value, ... The caller must not change the list."""
        if len(self._parts) != 1 or not isinstance(self._parts[0], list):
            whole: list[Any] = []
            for part in self._parts:
                whole += part if isinstance(part, list) else part.flat()
            self._parts = [whole]
        return self._parts[0]  # type: ignore[return-value]

    def arrays(self) -> Arrays:
        """Return the numbers as arrays."""
        import numpy as np

        parts = [_as_arrays(part) if isinstance(part, list) else part for part in self._parts]
        if not parts:
            parts = [_as_arrays([])]
        whole = Arrays(*(np.concatenate(part) for part in zip(*parts, strict=True)))
        self._parts = [whole]
        return whole

    def span(self) -> tuple[int, int] | None:
        """Return the first and the last time, or None."""
        spans = []
        for part in self._parts:
            times = part[1::3] if isinstance(part, list) else part.times
            if len(times):
                spans += [int(min(times)), int(max(times))] if isinstance(times, list) else [
                    int(times.min()), int(times.max()),
                ]  # fmt: skip
        return (min(spans), max(spans)) if spans else None


def _as_arrays(flat: list[Any]) -> Arrays:
    import numpy as np

    codes = np.array(flat[0::3], np.uint32)
    values = flat[2::3]
    floats = codes >> 24 == Kind.FLOAT
    if floats.all():
        words = np.array(values, np.float64).view(np.uint64)
    else:
        words = np.empty(len(values), np.uint64)
        for chosen, dtype in ((floats, np.float64), (~floats, np.int64)):
            mine = [value for value, yes in zip(values, chosen.tolist(), strict=True) if yes]
            words[chosen] = np.array(mine, dtype).view(np.uint64)
    return Arrays(codes, np.array(flat[1::3], np.int64), words)


# -- records, many at once ----------------------------------------------------------------------


def worth(count: int) -> bool:
    """Return whether to read so many records as arrays."""
    if count < _MANY or "numpy" not in sys.modules:
        return False
    try:
        import numpy  # noqa: F401 - another thread may be importing it, and that may fail
    except Exception:  # noqa: BLE001 - then one by one, without NumPy
        return False
    return True


def read_fixed(data: bytes, at: int, count: int, tag: int, step: int) -> tuple[Arrays, int]:
    """Read records of the fixed size, up to the first damaged one; return numbers and their count.

    Numbers of the status are among them; their codes tell.

    Args:
        data: Records.
        at: Where the first of them begins.
        count: How many there are.
        tag: The tag of the first.
        step: The difference between the tags of neighbours.

    """
    import numpy as np

    found = np.frombuffer(data, _fixed(np), count, at)
    sound = (
        (found["head"] == found["head2"])
        & (found["time"] == found["time2"])
        & (found["word"] == found["word2"])
        & (found["tag"] == _tags(np, tag, step, count))
    )
    if not sound.all():
        count = int(np.argmin(sound))
        found = found[:count]
    return Arrays(found["head"].copy(), found["time"].astype(np.int64), found["word"].copy()), count


def read_rows(data: bytes, at: int, size: int, tag: int, step: int) -> tuple[Arrays, int]:
    """Read records of rows of one size, up to the first damaged one.

    Returns the numbers in them, and how many records there are.

    Args:
        data: Records.
        at: Where the first of them begins.
        size: The bytes of each.
        tag: The tag of the first.
        step: The difference between the tags of neighbours.

    """
    import numpy as np

    width = (size - _ROW_FRAME) // CELL
    found = np.frombuffer(data, _row(np, width), (len(data) - at) // size, at)
    alike = (found["type"] == found["type"][0]) & (found["tag"] == _tags(np, tag, step, len(found)))
    count = len(found) if alike.all() else int(np.argmin(alike))
    view = memoryview(data)
    sums = found["crc"][:count].tolist()
    for number, checksum in enumerate(sums):
        start = at + number * size
        if crc32(view[start : start + size - 8], tag + step * number) != checksum:
            count = number
            break
    found = found[:count]
    return Arrays(
        found["heads"].ravel(),
        np.repeat(found["time"].astype(np.int64), width),
        found["words"].ravel(),
    ), count


def _tags(np: Any, tag: int, step: int, count: int) -> Any:
    return tag + step * np.arange(count, dtype=np.int64)


# The bytes of a row's record beside heads and values: type, size, time, crc32 and tag.
_ROW_FRAME = Struct("<IIQII").size


def _fixed(np: Any) -> Any:
    return np.dtype([
        ("head", "<u4"), ("time", "<u8"), ("word", "<u8"), ("word2", "<u8"), ("time2", "<u8"),
        ("head2", "<u4"), ("tag", "<u4"),
    ])  # fmt: skip


def _row(np: Any, width: int) -> Any:
    return np.dtype([
        ("type", "<u8"), ("time", "<u8"), ("heads", "<u4", (width,)), ("words", "<u8", (width,)),
        ("crc", "<u4"), ("tag", "<u4"),
    ])  # fmt: skip
