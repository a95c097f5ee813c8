"""The JSON document: read, checked, and written whole under a lock.

It is written to a temporary file, which is then renamed to the document's name: a reader sees the
old one or the new one. See `traininglog.jsonfile.locking` for the lock.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traininglog import parts
from traininglog.callers import warn_caller
from traininglog.errors import (
    CorruptLog,
    NotATrainingLog,
    SchemaTooNew,
    StoreFailed,
    StoreNotFound,
    StoreUnwritable,
)
from traininglog.file_names import refuse_long
from traininglog.jsonfile.checks import Damaged, check_document
from traininglog.jsonfile.locking import DocumentLock
from traininglog.jsonfile.pieces import Pieces
from traininglog.jsonfile.reading import Stamp, parsed, read_text, stamp_of

FORMAT = "traininglog trials"
VERSION = 1

# How many bytes the longest name beside a document adds to its own: that of a run's journal.
_ADDED = len("-tail-") + 32 + len("-") + 9

Contents = dict[str, Any]

#: From so many trials on, or so many bytes, a database is the better place; see `Document`.
MANY = 500
LARGE = 2**22
_TOLD: set[Path] = set()  # the documents of which this process has warned


class Document:
    """The document at a path.

    Args:
        path: The file, which the first write makes. A link is followed.
        readonly: Never write.

    Raises:
        CorruptLog: It is no JSON, or no version can have written a part of it.
        NotATrainingLog: It is JSON of something else, or no file.
        SchemaTooNew: A newer version wrote it.
        StoreNotFound: Its folder does not exist, or with `readonly` the file does not.

    After any of these errors the file is as it was.

    From `MANY` trials on it warns, once, and says how to move them to a database.

    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        # A link is followed here, once: writing to the name of the link would replace the link.
        self.path = Path(os.path.realpath(path))
        self.readonly = readonly
        if not self.path.parent.is_dir():
            raise StoreNotFound(f"the folder of {self.path} does not exist; make it first")
        if not readonly:
            refuse_long(self.path, _ADDED)
        if readonly and not self.path.exists():
            raise StoreNotFound(f"there is no {self.path}")
        self._lock = DocumentLock.of(self.path)
        # The state of the file that was read or written last, and its checked contents.
        self._known: tuple[Stamp, Pieces] | None = None
        self._swept = False
        self.read()

    def read(self) -> Contents:
        """Return the contents of the document, which the caller may change.

        Records and runs are in mappings that parse each of them at its first access.
        """
        known = self._known
        try:
            stamp, text = read_text(self.path, FORMAT, None if known is None else known[0])
        except FileNotFoundError:
            return _none().contents()
        if text is None:
            assert known is not None  # noqa: S101 - it was given
            return known[1].contents()
        pieces = _none()
        if text:
            pieces = Pieces(self._parsed(text), None if known is None else known[1])
        self._known = stamp, pieces
        return pieces.contents()

    def get(self, kind: str, uid: str) -> Any:
        """Return a record, or None."""
        return self.read()[kind].get(uid)

    def _parsed(self, text: str) -> Contents:
        try:
            contents = parsed(text)
        except ValueError as error:
            raise CorruptLog(
                f"{self.path} is no JSON: {error}; it was left as it is, mend it or restore a copy"
            ) from error
        if not isinstance(contents, dict) or contents.get("format") != FORMAT:
            raise NotATrainingLog(f"{self.path} holds no trials; it was left as it is")
        version = contents.get("version")
        if type(version) is not int or version < 1:
            raise CorruptLog(
                f"{self.path} is damaged: it has no version; it was left as it is, mend it or "
                "restore a copy"
            )
        if version > VERSION:
            raise SchemaTooNew(
                f"{self.path} has version {version}, this traininglog knows {VERSION}: install a "
                "newer one; it was left as it is"
            )
        try:
            check_document(contents)
        except Damaged as error:
            raise CorruptLog(
                f"{self.path} is damaged: {error}; it was left as it is, mend it or restore a copy"
            ) from error
        return contents

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock, in this process and elsewhere; yield whether this thread already held it.

        Raises `StoreLocked` if others hold it for too long.
        """
        with self._lock.held(readonly=self.readonly) as before:
            yield before

    @contextlib.contextmanager
    def changing(self) -> Iterator[Contents]:
        """Yield the contents to change, and write them in the end, unless the block raises.

        A signal handler may change them in the middle of another change. It gets the same contents,
        which are written at the end of the first block.
        """
        if self.readonly:
            raise StoreUnwritable(f"{self.path} was opened for reading only")
        with self.locked():
            if self._lock.contents is not None:
                yield self._lock.contents
                return
            contents = self._lock.contents = self.read()
            try:
                yield contents
            finally:
                self._lock.contents = None
            self._write(contents)

    @property
    def is_held_here(self) -> bool:
        """Whether this thread has the lock, so that no other one can have it."""
        return self._lock.is_held_here

    def stamp(self) -> Stamp | None:
        """Return a stamp that changes whenever the document is written, or None without a file."""
        try:
            return stamp_of(self.path.stat())
        except OSError:
            return None

    def _write(self, contents: Contents) -> None:
        pieces = Pieces(contents)
        try:
            if not self._swept:  # this process has the lock, so all parts are left over
                self._swept = True
                parts.sweep(self.path, alone=True)
            like = self.path if self.path.exists() else None
            with parts.making(self.path, like) as part:
                with part.open("w", encoding="utf-8") as stream:
                    stream.writelines(pieces.texts())
                    stream.flush()
                    os.fsync(stream.fileno())
                    found = os.fstat(stream.fileno())
                    stamp = stamp_of(found)  # renaming the file does not change it
                part.replace(self.path)
                self._known = stamp, pieces
            parts.sync_folder(self.path.parent)
        except (StoreUnwritable, StoreFailed):
            raise
        except PermissionError as error:
            raise StoreUnwritable(f"{self.path} cannot be written: {error.strerror}") from error
        except OSError as error:
            raise StoreFailed(f"{self.path} cannot be written: {error.strerror}") from error
        if len(contents["trial"]) >= MANY or found.st_size >= LARGE:
            self._say_where_it_ends(len(contents["trial"]), found.st_size)

    def _say_where_it_ends(self, trials: int, size: int) -> None:
        if self.path in _TOLD:
            return
        _TOLD.add(self.path)
        warn_caller(
            f"{self.path} has {trials} trials and {size / 2**20:.1f} MiB, all of which is written "
            "at every change, so that each trial takes longer than the one before; in a database "
            f"it does not. To move: traininglog import {shlex.quote(str(self.path))} "
            f"--store {shlex.quote(str(self.path.with_suffix('.db')))}"
        )


def _none() -> Pieces:
    return Pieces.none(format=FORMAT, version=VERSION)
