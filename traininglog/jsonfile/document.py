"""The JSON document: read, checked, and written whole under a lock.

Beside ``report.json`` lies ``report.json-lock``, which is empty: an OS lock on it, which the kernel
drops when its process dies, is held while the document is read, changed and written. It is written
to a file of its own, which then takes the document's name: who reads sees the old one or the new.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traininglog.errors import (
    CorruptLog,
    NotATrainingLog,
    SchemaTooNew,
    StoreFailed,
    StoreLocked,
    StoreNotFound,
    StoreUnwritable,
)

FORMAT = "traininglog trials"
VERSION = 1
PATIENCE = 30.0  # seconds

Contents = dict[str, Any]


class Document:
    """The document at a path.

    Args:
        path: The file; it is made when it is first written.
        readonly: Never write.

    Raises:
        CorruptLog: It is no JSON.
        NotATrainingLog: It is JSON of something else.
        SchemaTooNew: A newer version wrote it.
        StoreNotFound: Its folder does not exist, or it does not and is only to be read.

    Whatever is raised, the file is as it was.

    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path.absolute()
        self.readonly = readonly
        if not self.path.parent.is_dir():
            raise StoreNotFound(f"the folder of {self.path} does not exist; make it first")
        if readonly and not self.path.exists():
            raise StoreNotFound(f"there is no {self.path}")
        self._lock_path = self.path.with_name(f"{self.path.name}-lock")
        self._threads = threading.RLock()
        self._depth = 0  # of blocks in which the lock is held
        self._known: tuple[tuple[int, int, int], str] | None = None
        self.read()

    def read(self) -> Contents:
        """Return what is in the document, which is the caller's to change."""
        try:
            with self.path.open(encoding="utf-8") as stream:
                found = os.fstat(stream.fileno())
                stamp = found.st_ino, found.st_size, found.st_mtime_ns
                known = self._known
                if known is not None and known[0] == stamp:
                    return self._parsed(known[1])
                text = stream.read()
        except FileNotFoundError:
            return _empty()
        except UnicodeDecodeError as error:
            raise CorruptLog(f"{self.path} is no JSON: {error}; it was left as it is") from error
        except PermissionError as error:
            raise StoreUnwritable(f"{self.path} cannot be read; check its permissions") from error
        except OSError as error:
            raise StoreFailed(f"{self.path} cannot be read: {error.strerror}") from error
        contents = self._parsed(text)
        self._known = stamp, text
        return contents

    def _parsed(self, text: str) -> Contents:
        if not text:
            return _empty()
        try:
            contents = json.loads(text)
        except ValueError as error:
            raise CorruptLog(
                f"{self.path} is no JSON: {error}; it was left as it is, mend it or restore a copy"
            ) from error
        if not isinstance(contents, dict) or contents.get("format") != FORMAT:
            raise NotATrainingLog(f"{self.path} holds no trials; it was left as it is")
        version = contents.get("version")
        if not isinstance(version, int) or version > VERSION:
            raise SchemaTooNew(
                f"{self.path} has version {version}, this traininglog knows {VERSION}: install a "
                "newer one; it was left as it is"
            )
        return contents

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others out, in this process and elsewhere."""
        with self._threads:
            if self._depth:
                yield
                return
            descriptor = self._open_lock()
            try:
                deadline = time.monotonic() + PATIENCE
                while not _try_lock(descriptor):
                    if time.monotonic() > deadline:
                        raise StoreLocked(f"{self.path} was locked by others for {PATIENCE:.0f} s")
                    time.sleep(0.002)
                self._depth += 1
                yield
            finally:
                self._depth = 0
                os.close(descriptor)

    def _open_lock(self) -> int:
        flags = os.O_RDONLY if self.readonly else os.O_RDWR | os.O_CREAT
        try:
            return os.open(self._lock_path, flags | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # for reading only: nobody has written yet
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreUnwritable(f"{self._lock_path}: {error.strerror}") from error

    @contextlib.contextmanager
    def changing(self) -> Iterator[Contents]:
        """Give the contents to be changed; they are written in the end, or nothing is."""
        if self.readonly:
            raise StoreUnwritable(f"{self.path} was opened for reading only")
        with self.locked():
            contents = self.read()
            yield contents
            self._write(contents)

    def _write(self, contents: Contents) -> None:
        # In the same folder, as only there a name can be taken over at once.
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        text = json.dumps(contents, indent=1, allow_nan=False)
        try:
            with part.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            if self.path.exists():
                part.chmod(self.path.stat().st_mode & 0o777)
            part.replace(self.path)
        except PermissionError as error:
            raise StoreUnwritable(f"{self.path} cannot be written: {error.strerror}") from error
        except OSError as error:
            raise StoreFailed(f"{self.path} cannot be written: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def _empty() -> Contents:
    return {
        "format": FORMAT, "version": VERSION, "project": {}, "group": {}, "trial": {},
        "environment": {}, "logs": {},
    }  # fmt: skip


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
