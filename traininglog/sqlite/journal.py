"""The tail journal: what was assigned and is not in the database yet, where a kill cannot reach it.

Each run that is being written has a file ``runs.db-tail-<uuid>`` beside the database, preallocated
and mapped into memory. An assignment is copied there before it counts as made: from then on its
bytes belong to the kernel, and outlive the process. Once a flush has committed, the journal begins
anew; the database's high-water mark, written in the same transaction, tells whoever finds a
journal left behind which of its records are in already.

A file is a header and records::

    magic (8), run (16), base (8), end (8), unused (24)
    size (4), crc32 (4), what (1), kind (1), form (1), key size (2), time (8), key, value

`base` counts the assignments of the run before the first record here. `end` is where the valid
records end; it is stored last, in one machine instruction, which is what publishes them. The
checksum begins from `base`, so that a record of an earlier round never passes for a new one.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zlib import crc32

from traininglog.encoding import Stored, encode
from traininglog.errors import CorruptLog, StoreFailed
from traininglog.sqlite.file import stat_of

SUFFIX = "-tail-"

_MAGIC = b"TLTAIL1\0"
_START = 64
_BASE, _END = 3, 4  # the positions of these fields, in units of eight bytes
_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<BBBHQ")
_FLOAT = struct.Struct("<d")
_INT = struct.Struct("<q")

_FIRST_SIZE = 2**20
#: The size up to which a journal grows while the database cannot be written.
MOST_BYTES = 2**28

ENTRY, STATUS = 0, 1


class Record(NamedTuple):
    """One assignment."""

    what: int  #: ENTRY or STATUS
    time: int  #: 0 for a status
    key: str
    kind: int
    stored: Stored


class JournalFull(StoreFailed):
    """The journal holds as much as it may and the database cannot take it."""

    code = "journal-full"


class Journal:
    """The journal of one run, held by its writer."""

    def __init__(self, database: Path, uuid: UUID, base: int) -> None:
        self.path = journal_path(database, uuid)
        found = stat_of(database)
        mode = 0o600 if found is None else found.st_mode & 0o777
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, mode)
        try:
            os.fchmod(
                self._descriptor, mode
            )  # whatever the umask: as open as the database, no more
            self._map(_FIRST_SIZE)
        except BaseException:
            os.close(self._descriptor)
            self.path.unlink()
            raise
        self._bytes[24:40] = bytes(16)
        self._bytes[8:24] = uuid.bytes
        self.begin(base)
        self._bytes[0:8] = _MAGIC  # last: without it this is not a journal yet
        self._forms: dict[str, tuple[struct.Struct, struct.Struct, bytes]] = {}

    def _map(self, size: int) -> None:
        try:
            # Not sparse: a page that the disk has no room for would kill the process when touched.
            os.posix_fallocate(self._descriptor, 0, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise JournalFull(
                    f"{self.path} cannot hold what is assigned: {error.strerror}; free space"
                ) from error
            raise
        self._size = size
        self._bytes = mmap.mmap(self._descriptor, size)
        self._fields = memoryview(self._bytes).cast("Q")

    def begin(self, base: int) -> None:
        """Begin anew: what is in here is in the database, `base` assignments in all."""
        self._fields[_END] = _START  # first: a kill in between leaves an empty journal
        self._fields[_BASE] = base
        self._end = _START
        self._seed = base & 0xFFFFFFFF

    def put(self, time: int, key: str, value: Any) -> bool:
        """Add one assignment, if it is of a float, as most are, and there is room."""
        if type(value) is not float:
            return False
        forms = self._forms.get(key)
        if forms is None:
            name = key.encode()
            body_form = struct.Struct(f"{_HEAD.format}{len(name)}sd")
            frame_form = struct.Struct(f"{_FRAME.format}{body_form.size}s")
            forms = self._forms[key] = body_form, frame_form, name
        body_form, frame_form, name = forms
        end = self._end
        stop = end + frame_form.size
        if stop > self._size:
            return False
        body = body_form.pack(ENTRY, 4, 2, len(name), time, name, value)
        frame_form.pack_into(self._bytes, end, len(body), crc32(body, self._seed), body)
        self._end = stop
        self._fields[_END] = stop
        return True

    def append(self, records: list[tuple[int, int, str, Any]]) -> bool:
        """Add assignments, given as (what, time, key, value), all or none.

        Returns False, having done nothing, if there is no room.
        """
        end, size, buffer, seed = self._end, self._size, self._bytes, self._seed
        for what, time, key, value in records:
            name = key.encode()
            kind, stored = encode(value)
            form, data = _to_bytes(stored)
            body = _HEAD.pack(what, kind, form, len(name), time) + name + data
            stop = end + 8 + len(body)
            if stop > size:
                return False
            buffer[end:stop] = _FRAME.pack(len(body), crc32(body, seed)) + body
            end = stop
        self._end = end
        self._fields[_END] = end
        return True

    def grow(self) -> None:
        """Make room, at most up to `MOST_BYTES`. Raises `JournalFull`."""
        size = self._size * 2
        if size > MOST_BYTES:
            raise JournalFull(
                f"{self.path} holds {MOST_BYTES >> 20} MiB that the database could not take: "
                "nothing more can be assigned until it can be written again"
            )
        self._unmap()
        try:
            self._map(size)
        except BaseException:
            self._map(self._size)
            raise

    def remove(self) -> None:
        """Delete the journal: everything in it is in the database."""
        self.path.unlink(missing_ok=True)
        self._unmap()
        os.close(self._descriptor)

    def _unmap(self) -> None:
        self._fields.release()
        self._bytes.close()


def journal_path(database: Path, uuid: UUID) -> Path:
    """Return where the journal of a run is: beside the file that a link leads to."""
    real = database.resolve()
    return real.with_name(f"{real.name}{SUFFIX}{uuid.hex}")


def journals_beside(database: Path) -> Iterator[tuple[UUID, Path]]:
    """Return the journals that lie beside a database, with their runs."""
    real = database.resolve()
    prefix = real.name + SUFFIX
    with os.scandir(real.parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    for name in sorted(names):
        digits = name.removeprefix(prefix)
        if len(digits) == 32 and not set(digits) - set("0123456789abcdef"):
            yield UUID(digits), real.with_name(name)


def read_journal(path: Path) -> tuple[int, list[Record]]:
    """Return the base and the records of a journal that nobody writes to.

    A journal that was being made when its process died has none. Raises `CorruptLog` where a record
    that was published does not fit its checksum; those before it are in the error's `records`.
    """
    data = path.read_bytes()
    if len(data) < _START or data[:8] != _MAGIC:
        return 0, []
    base, end = struct.unpack_from("<QQ", data, 24)
    records: list[Record] = []
    at = _START
    while at < end:
        record = _record_at(data, at, end, base & 0xFFFFFFFF)
        if record is None:
            raise DamagedJournal(
                f"{path} is damaged after {len(records)} of its assignments", base, records
            )
        at, found = record
        records.append(found)
    return base, records


class DamagedJournal(CorruptLog):
    """A journal with a record that is not what was written; `records` are those before it."""

    def __init__(self, message: str, base: int, records: list[Record]) -> None:
        super().__init__(message)
        self.base = base
        self.records = records


def _record_at(data: bytes, at: int, end: int, seed: int) -> tuple[int, Record] | None:
    if at + 8 + _HEAD.size > min(end, len(data)):
        return None
    size, checksum = _FRAME.unpack_from(data, at)
    stop = at + 8 + size
    if stop > min(end, len(data)) or crc32(data[at + 8 : stop], seed) != checksum:
        return None
    what, kind, form, key_size, time = _HEAD.unpack_from(data, at + 8)
    start = at + 8 + _HEAD.size
    key = data[start : start + key_size].decode()
    stored = _from_bytes(form, data[start + key_size : stop])
    return stop, Record(what, time, key, kind, stored)


def _to_bytes(stored: Stored) -> tuple[int, bytes]:
    if stored is None:
        return 0, b""
    if isinstance(stored, int):
        return 1, _INT.pack(stored)
    if isinstance(stored, float):
        return 2, _FLOAT.pack(stored)
    if isinstance(stored, str):
        return 3, stored.encode()
    return 4, stored


def _from_bytes(form: int, data: bytes) -> Stored:
    if form == 0:
        return None
    if form == 1:
        return int(_INT.unpack(data)[0])
    if form == 2:
        return float(_FLOAT.unpack(data)[0])
    return data.decode() if form == 3 else data
