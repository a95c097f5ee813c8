"""The JSON document: read, checked, and written whole under a lock.

It is written to a file of its own, which then takes the document's name: who reads sees the old one
or the new. See `traininglog.jsonfile.locking` for the lock.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traininglog import parts
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
from traininglog.jsonfile.reading import Stamp, parsed, read_text, stamp_of
from traininglog.trial_records import KINDS

FORMAT = "traininglog trials"
VERSION = 1

# How many bytes the longest name beside a document adds to its own: that of a run's tail.
_ADDED = len("-tail-") + 32

Contents = dict[str, Any]


class Document:
    """The document at a path.

    Args:
        path: The file; it is made when it is first written. Of a link, what it leads to.
        readonly: Never write.

    Raises:
        CorruptLog: It is no JSON, or a part of it is not what was written.
        NotATrainingLog: It is JSON of something else, or no file.
        SchemaTooNew: A newer version wrote it.
        StoreNotFound: Its folder does not exist, or it does not and is only to be read.

    Whatever is raised, the file is as it was.

    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        # A link is followed here and once: by its own name it would be replaced when it is written.
        self.path = Path(os.path.realpath(path))
        self.readonly = readonly
        if not self.path.parent.is_dir():
            raise StoreNotFound(f"the folder of {self.path} does not exist; make it first")
        if not readonly:
            refuse_long(self.path, _ADDED)
        if readonly and not self.path.exists():
            raise StoreNotFound(f"there is no {self.path}")
        self._lock = DocumentLock.of(self.path)
        self._known: tuple[Stamp, str] | None = None
        self._swept = False
        self.read()

    def read(self) -> Contents:
        """Return what is in the document, which is the caller's to change."""
        known = self._known
        try:
            stamp, text = read_text(self.path, FORMAT, None if known is None else known[0])
        except FileNotFoundError:
            return _empty()
        if text is None:
            assert known is not None  # noqa: S101 - it was given
            return self._parsed(known[1], checked=True)
        contents = self._parsed(text)
        self._known = stamp, text
        return contents

    def _parsed(self, text: str, *, checked: bool = False) -> Contents:
        if not text:
            return _empty()
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
        if not checked:
            try:
                check_document(contents)
            except Damaged as error:
                raise CorruptLog(
                    f"{self.path} is damaged: {error}; it was left as it is, mend it or restore "
                    "a copy"
                ) from error
        return contents

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Keep all others out, in this process and elsewhere; give whether this thread did before.

        Raises `StoreLocked` if others are at it for too long.
        """
        with self._lock.held(readonly=self.readonly) as before:
            yield before

    @contextlib.contextmanager
    def changing(self) -> Iterator[Contents]:
        """Give the contents to be changed; they are written in the end, or nothing is.

        A signal handler may change them in the midst of another change: it is given the same
        contents, which are written at the end of the first.
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
    def is_changing(self) -> bool:
        """Whether whoever has the lock is about to write: to be asked by who has it."""
        return self._lock.contents is not None

    def stamp(self) -> Stamp | None:
        """Return what changes whenever the document is written; None: it is not there."""
        try:
            return stamp_of(self.path.stat())
        except OSError:
            return None

    def _write(self, contents: Contents) -> None:
        text = json.dumps(contents, indent=1, allow_nan=False)
        try:
            if not self._swept:  # nobody else has the lock, so that all of them are left over
                self._swept = True
                parts.sweep(self.path, alone=True)
            like = self.path if self.path.exists() else None
            with parts.making(self.path, like) as part:
                with part.open("w", encoding="utf-8") as stream:
                    stream.write(text)
                    stream.flush()
                    os.fsync(stream.fileno())
                part.replace(self.path)
            parts.sync_folder(self.path.parent)
        except (StoreUnwritable, StoreFailed):
            raise
        except PermissionError as error:
            raise StoreUnwritable(f"{self.path} cannot be written: {error.strerror}") from error
        except OSError as error:
            raise StoreFailed(f"{self.path} cannot be written: {error.strerror}") from error


def _empty() -> Contents:
    kinds: Contents = {kind: {} for kind in KINDS}
    return {"format": FORMAT, "version": VERSION, **kinds, "logs": {}}
