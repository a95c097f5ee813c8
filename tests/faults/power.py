"""A recorder of what is asked of the disk, for simulated power cuts (see images.py).

It stands between SQLite and its files, in the very library that Python's sqlite3 is linked to, and
notes every write, truncation, sync and deletion in order. Journals are mapped into memory, where
nobody sees a write: of these it takes snapshots, whenever something else is noted.

Nothing here knows what a log is. A recording is a file of `Event`: for each a head, then its data.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from ctypes import CFUNCTYPE, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

SECTOR = 512
_CHUNK = 64 * SECTOR  # what is read and compared at once in a snapshot

_HEAD = struct.Struct("<cIQI")

# What happened. Files are numbered: one that is deleted and made again is another file.
CREATED = b"C"  # data: its name
WRITTEN = b"W"  # at: the offset
TRUNCATED = b"T"  # at: the size
SYNCED = b"S"
DELETED = b"X"
FOLDER_SYNCED = b"F"
NOTED = b"N"  # at: how far those who are recorded have come; data: what they say

# The same of journals, which come with numbers of their own.
JOURNALS = b"J"  # data: {name: [number, size]} of all that there are now
JOURNAL_WRITTEN = b"P"
JOURNAL_SYNCED = b"Q"  # at: the offset; data: the length, in decimal


class Event(NamedTuple):
    """Something that happened, in the order in which it did."""

    kind: bytes
    file: int
    at: int
    data: memoryview


# -- the recorder -----------------------------------------------------------------------------


class _Methods(ctypes.Structure):
    """sqlite3_io_methods, of version 3: what SQLite can do with an open file."""

    _fields_ = (
        ("version", c_int),
        *((name, c_void_p) for name in (
            "close", "read", "write", "truncate", "sync", "file_size", "lock", "unlock",
            "check_reserved_lock", "file_control", "sector_size", "device_characteristics",
            "shm_map", "shm_lock", "shm_barrier", "shm_unmap", "fetch", "unfetch",
        )),
    )  # fmt: skip


class _Vfs(ctypes.Structure):
    """The beginning of sqlite3_vfs: what SQLite can do with names."""

    _fields_ = (
        ("version", c_int), ("file_size", c_int), ("longest_path", c_int), ("next", c_void_p),
        ("name", c_char_p), ("data", c_void_p), ("open", c_void_p), ("delete", c_void_p),
    )  # fmt: skip


# Pointers are passed on as the numbers that they are: SQLite looks for more beside a name.
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)

# From sqlite3.h.
_IOERR = 10
_DELETE_ON_CLOSE = 0x00000008
_CREATE = 0x00000004
_ANY_JOURNAL = 0x00000800 | 0x00004000 | 0x00080000  # of a database, of several, and the WAL


class _Opened(NamedTuple):
    """A file that SQLite has open."""

    number: int
    methods: int  #: where its own methods are
    real: _Methods


class _Seen:
    """A journal as it was at the last snapshot."""

    def __init__(self, number: int, descriptor: int) -> None:
        self.number = number
        self.descriptor = descriptor  # stays open, so that no other file gets the inode
        self.chunks: list[bytes] = []


def library() -> ctypes.CDLL:
    """Return the SQLite that Python's sqlite3 uses. Raises `AttributeError` if it hides itself."""
    import _sqlite3

    # A symbol is looked for in what a module is linked to as well.
    found = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    found.sqlite3_vfs_find.argtypes = [c_char_p]
    found.sqlite3_vfs_find.restype = c_void_p
    return found


def why_not() -> str:
    """Return why nothing can be recorded here; an empty text if it can."""
    try:
        library()
    except (AttributeError, ImportError, OSError) as error:
        return f"the SQLite that Python uses cannot be reached by ctypes: {error}"
    return ""


class Recorder:
    """Records, from `with` to its end, what becomes of the files in a folder.

    To be used in a process of its own, in which it changes SQLite, and Python's ways to sync.
    `journals` begins the names of the files of which snapshots are to be taken.
    """

    def __init__(self, folder: Path, journals: str, into: Path) -> None:
        self._folder = str(folder.resolve())
        self._journals = journals
        self._into = into
        # One lock: what SQLite does from several threads is in one order, in the recording and on
        # the disk. Re-entrant: collecting garbage in here may close a database.
        self._lock = threading.RLock()
        self._broken: BaseException | None = None
        self._count = 0
        self._names: dict[str, int] = {}
        self._open: dict[int, _Opened] = {}
        self._owing: set[int] = set()  # open files whose first sync is one of the folder, too
        self._tables: dict[int, _Methods] = {}
        self._listing: dict[str, list[int]] = {}
        self._seen: dict[int, _Seen] = {}  # by inode
        self._unseen = 0  # how many notes there were since the last snapshot
        self._recording = False

    def __enter__(self) -> Recorder:
        self._file = self._into.open("wb")
        self._vfs = _Vfs.from_address(library().sqlite3_vfs_find(None))
        self._original = self._vfs.open, self._vfs.delete
        # They live as long as this object, which keeps them.
        self._callbacks = {
            "open": _OPEN(self._guarded(self._on_open)),
            "delete": _DELETE(self._guarded(self._on_delete)),
            "close": _CLOSE(self._guarded(self._on_close)),
            "write": _WRITE(self._guarded(self._on_write)),
            "truncate": _TRUNCATE(self._guarded(self._on_truncate)),
            "sync": _SYNC(self._guarded(self._on_sync)),
        }
        self._real_open = _OPEN(self._vfs.open)
        self._real_delete = _DELETE(self._vfs.delete)
        self._vfs.open = _address(self._callbacks["open"])
        self._vfs.delete = _address(self._callbacks["delete"])
        self._patches = contextlib.ExitStack()
        self._see_syncs()
        self._recording = True
        sys.addaudithook(self._on_audit)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            try:
                self._snapshot()
            finally:
                self._recording = False
                self._patches.close()
                self._vfs.open, self._vfs.delete = self._original
                for address, opened in self._open.items():
                    c_void_p.from_address(address).value = opened.methods
                for seen in self._seen.values():
                    os.close(seen.descriptor)
                self._file.close()
        if self._broken is not None:
            raise self._broken

    def note(self, progress: int, **what: Any) -> None:
        """Record how far the one who calls has come, and anything else that can be JSON."""
        with self._lock:
            self._unseen += 1
            if what or self._unseen > 40:
                self._snapshot()
            self._put(NOTED, 0, progress, json.dumps(what).encode())

    def _put(self, kind: bytes, file: int, at: int = 0, data: bytes = b"") -> None:
        self._file.write(_HEAD.pack(kind, file, at, len(data)) + data)

    # -- what SQLite does -------------------------------------------------------------------

    def _guarded(self, act: Callable[..., int]) -> Callable[..., int]:
        """Let SQLite know of an error in here, and keep it: nobody else would see it."""

        def guarded(*arguments: int) -> int:
            with self._lock:
                try:
                    return act(*arguments)
                except BaseException as error:  # noqa: BLE001 - `__exit__` raises it
                    self._broken = self._broken or error
                    return _IOERR

        return guarded

    def _on_open(self, vfs: int, name: int, file: int, flags: int, out: int) -> int:
        code = int(self._real_open(vfs, name, file, flags, out))
        if code or not name or flags & _DELETE_ON_CLOSE:
            return code
        folder, base = os.path.split(os.fsdecode(ctypes.string_at(name)))
        if folder != self._folder:
            return code
        if base not in self._names:
            self._count += 1
            self._names[base] = self._count
            self._put(CREATED, self._count, 0, base.encode())
            self._snapshot()
        address = c_void_p.from_address(file).value
        assert address is not None
        real = _Methods.from_address(address)
        self._open[file] = _Opened(self._names[base], address, real)
        if flags & _CREATE and flags & _ANY_JOURNAL:
            self._owing.add(file)
        c_void_p.from_address(file).value = ctypes.addressof(self._table(address, real))
        return code

    def _table(self, address: int, real: _Methods) -> _Methods:
        """Return methods that are the real ones, but for those that we watch."""
        if address not in self._tables:
            assert real.version >= 3, f"methods of version {real.version} are not known here"
            table = _Methods.from_buffer_copy(real)
            table.version = 3  # the rest of a later one was not copied
            for name in ("close", "write", "truncate", "sync"):
                setattr(table, name, _address(self._callbacks[name]))
            self._tables[address] = table
        return self._tables[address]

    def _on_delete(self, vfs: int, name: int, sync_folder: int) -> int:
        self._snapshot()
        code = int(self._real_delete(vfs, name, sync_folder))
        folder, base = os.path.split(os.fsdecode(ctypes.string_at(name)))
        if not code and folder == self._folder:
            number = self._names.pop(base, None)
            if number is not None:
                self._put(DELETED, number)
            if sync_folder:
                self._put(FOLDER_SYNCED, 0)
        return code

    def _on_close(self, file: int) -> int:
        opened = self._open.pop(file)
        self._owing.discard(file)
        return int(_CLOSE(opened.real.close)(file))

    def _on_write(self, file: int, data: int, length: int, at: int) -> int:
        opened = self._open[file]
        if self._unseen:
            self._snapshot()
        code = int(_WRITE(opened.real.write)(file, data, length, at))
        if not code:
            self._put(WRITTEN, opened.number, at, ctypes.string_at(data, length))
        return code

    def _on_truncate(self, file: int, size: int) -> int:
        opened = self._open[file]
        self._snapshot()
        code = int(_TRUNCATE(opened.real.truncate)(file, size))
        if not code:
            self._put(TRUNCATED, opened.number, size)
        return code

    def _on_sync(self, file: int, _: int) -> int:
        # Not passed on: that SQLite waits for the disk here is all that counts.
        self._snapshot()
        self._put(SYNCED, self._open[file].number)
        if file in self._owing:
            self._owing.discard(file)
            self._put(FOLDER_SYNCED, 0)
        return 0

    # -- journals ---------------------------------------------------------------------------

    def _snapshot(self) -> None:
        """Record what of the journals is not as it was at the last snapshot."""
        if not self._recording:
            return
        listing: dict[str, list[int]] = {}
        found: list[_Seen] = []
        with os.scandir(self._folder) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(self._journals)]
        for name in sorted(names):
            path = os.path.join(self._folder, name)  # noqa: PTH118 - often, and quickly
            try:
                inode = os.stat(path).st_ino  # noqa: PTH116
                # Once only: to close a file drops the locks that this process has on it.
                if inode not in self._seen:
                    self._count += 1
                    self._seen[inode] = _Seen(self._count, os.open(path, os.O_RDONLY))
                    self._list(self._listing | {name: [self._count, 0]})  # so it began
            except FileNotFoundError:  # just now
                continue
            seen = self._seen[inode]
            listing[name] = [seen.number, os.fstat(seen.descriptor).st_size]
            found.append(seen)
        self._list(listing)
        for seen in found:
            self._compare(seen)
        self._unseen = 0

    def _list(self, listing: dict[str, list[int]]) -> None:
        if listing != self._listing:
            self._listing = listing
            self._put(JOURNALS, 0, 0, json.dumps(listing).encode())

    def _compare(self, seen: _Seen) -> None:
        size = os.fstat(seen.descriptor).st_size
        for start in range(0, max(size, len(seen.chunks) * _CHUNK), _CHUNK):
            number = start // _CHUNK
            now = os.pread(seen.descriptor, _CHUNK, start).ljust(_CHUNK, b"\0")
            if number == len(seen.chunks):
                seen.chunks.append(bytes(_CHUNK))
            before = seen.chunks[number]
            if now == before:
                continue
            for at in range(0, _CHUNK, SECTOR):
                sector = now[at : at + SECTOR]
                if sector != before[at : at + SECTOR]:
                    self._put(JOURNAL_WRITTEN, seen.number, start + at, sector)
            seen.chunks[number] = now

    def _on_audit(self, name: str, arguments: tuple[Any, ...]) -> None:
        # A hook stays for ever; and it is called before what it tells of.
        if self._recording and name in ("os.remove", "os.rename", "os.truncate"):
            with self._lock:
                self._snapshot()

    def _see_syncs(self) -> None:
        """Record the syncs that Python is asked for: of journals, and of the folder."""
        recorder = self

        def fsync(file: Any) -> None:
            found = os.fstat(file if isinstance(file, int) else file.fileno())
            recorder._on_python_sync(found, 0, found.st_size)

        class Map(mmap.mmap):
            found: os.stat_result | None

            def __new__(cls, fileno: int, *arguments: Any, **options: Any) -> Map:
                made = super().__new__(cls, fileno, *arguments, **options)
                made.found = None if fileno < 0 else os.fstat(fileno)
                return made

            def flush(self, offset: int = 0, size: int | None = None) -> None:
                if self.found is not None:
                    size = len(self) if size is None else size
                    recorder._on_python_sync(self.found, offset, size)

        # Not every system has the second.
        both = mock.patch.multiple(os, create=True, fsync=fsync, fdatasync=fsync)
        self._patches.enter_context(both)
        self._patches.enter_context(mock.patch.object(mmap, "mmap", Map))

    def _on_python_sync(self, found: os.stat_result, at: int, length: int) -> None:
        with self._lock:
            self._snapshot()
            if os.path.samestat(found, os.stat(self._folder)):  # noqa: PTH116
                self._put(FOLDER_SYNCED, 0)
            elif found.st_ino in self._seen:
                number = self._seen[found.st_ino].number
                self._put(JOURNAL_SYNCED, number, at, str(length).encode())
            else:  # a file of SQLite's that the package syncs itself
                for base, number in self._names.items():
                    path = os.path.join(self._folder, base)  # noqa: PTH118 - as above
                    with contextlib.suppress(FileNotFoundError):
                        if os.path.samestat(found, os.stat(path)):  # noqa: PTH116
                            self._put(SYNCED, number)


def _address(callback: Any) -> int:
    found = ctypes.cast(callback, c_void_p).value
    assert found is not None
    return found


def events(path: Path) -> Iterator[Event]:
    """Read a recording."""
    data = memoryview(path.read_bytes())
    start = 0
    while start < len(data):
        kind, file, at, length = _HEAD.unpack_from(data, start)
        start += _HEAD.size
        yield Event(kind, file, at, data[start : start + length])
        start += length
