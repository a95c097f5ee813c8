"""A folder of checkpoints, each written atomically.

A checkpoint is a folder of its own. ``manifest.json`` contains all data but the arrays, and one
``.npz`` file contains the arrays of each tree. The writer makes the folder under a temporary name,
syncs every file and the folder, and then renames it. So a kill or a power cut never leaves a
manifest under a checkpoint's name. The manifest contains the size and the CRC of each part, and a
CRC of itself, so the reader detects later damage before it restores anything.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from traininglog.errors import TrainingLogWarning
from traininglog.loop.checkpoint.manifest import FORMAT, MANIFEST, read_manifest, sealed
from traininglog.loop.checkpoint.ownership import Ownership
from traininglog.loop.checkpoint.part_files import read_part, write_part
from traininglog.loop.errors import (
    CheckpointDamaged,
    CheckpointNotFound,
    CheckpointUnusable,
)
from traininglog.loop.states.trees import Serializer, from_json, to_json

_FULL = {getattr(errno, name, errno.ENOSPC) for name in ("ENOSPC", "EDQUOT")}

#: The number of the checkpoint, which always grows, and the step, which need not grow.
_NAME = re.compile(r"checkpoint-(\d{6,})-step-(\d+)")
_LEFTOVER = re.compile(r"\.(partial|removed)-.*")


Check = Callable[["Checkpoint"], None]


class Checkpoint(NamedTuple):
    """The content of a checkpoint."""

    path: Path
    facts: dict[str, Any]
    trees: dict[str, Any]


class CheckpointFolder:
    """The checkpoints in a folder, the newest last.

    Args:
        path: The folder; the first checkpoint creates it.
        keep: How many checkpoints of one training to keep; None or 0 keeps all.
        serializer: Saves objects that are not plain data.

    """

    def __init__(
        self, path: str | Path, keep: int | None = None, serializer: Serializer | None = None
    ) -> None:
        self.path = Path(path).absolute()
        self._keep = keep
        self._serializer = serializer
        self.ownership = Ownership(self.path)

    def names(self) -> list[str]:
        """Return the names of the checkpoints, oldest first."""
        try:
            found = [file.name for file in self.path.iterdir() if _NAME.fullmatch(file.name)]
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            raise CheckpointUnusable(
                f"{self.path} is no folder, and checkpoints need one: name another checkpoint_dir"
            ) from None
        return sorted(found, key=_number)

    def try_out(self) -> None:
        """Check that the folder can be written, and claim it.

        Raises `OSError` if it cannot, `CheckpointsBusy` if another training has claimed it, and
        `CheckpointUnusable` if it is no folder. A full disk raises nothing.
        """
        self.names()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.ownership.claim()
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"tried")
                _sync(file)
        except OSError as error:
            if error.errno in _FULL:  # the disk may have room later
                return
            raise OSError(
                error.errno,
                f"no checkpoint can be written in {self.path}, name another checkpoint_dir: "
                f"{error.strerror}",
            ) from error

    def write(
        self, training: str, step: int, facts: Mapping[str, Any], trees: Mapping[str, Any]
    ) -> Path:
        """Write a checkpoint, and only then remove surplus ones.

        On a full disk, remove surplus ones first and write again.

        Args:
            training: The ID of the training; only its own checkpoints are ever removed.
            step: The last step before the checkpoint.
            facts: Plain JSON.
            trees: See `traininglog.loop.states.trees`.

        Raises `NotPlain` for a tree that cannot be saved, before it writes anything.
        """
        shapes, arrays = {}, {}
        for name, tree in trees.items():
            arrays[name] = found = list[Any]()
            shapes[name] = to_json(tree, found, self._serializer, name)
        if self.ownership.wanted:
            self.ownership.claim()  # again: another process may have removed the folder
        self.path.mkdir(parents=True, exist_ok=True)
        with _lock(self.path):
            self._sweep()
            names = self.names()
            number = 1 + (_number(names[-1]) if names else 0)
            target = self.path / f"checkpoint-{number:06}-step-{step}"
            manifest = {"format": FORMAT, "training": training, **facts}
            try:
                self._write(target, number, manifest, shapes, arrays)
            except OSError as error:
                # Checkpoints that would be removed afterwards may go first, as long as one stays.
                if error.errno not in _FULL or not self._prune(training, new=1):
                    raise
                self._write(target, number, manifest, shapes, arrays)
            self._prune(training)
        return target

    def _write(
        self,
        target: Path,
        number: int,
        manifest: Mapping[str, Any],
        shapes: Mapping[str, Any],
        arrays: Mapping[str, list[Any]],
    ) -> None:
        partial = self.path / f".partial-{number:06}"
        partial.mkdir()
        try:
            parts = {
                name: write_part(partial / f"part-{place}.npz", found)
                for place, (name, found) in enumerate(arrays.items())
                if found
            }
            content = sealed({**manifest, "parts": parts, "trees": shapes})
            _write_file(partial / MANIFEST, content)
            _sync_folder(partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        partial.rename(target)
        _sync_folder(self.path)

    def newest(self, check: Check | None = None) -> Checkpoint | None:
        """Read the newest checkpoint that is undamaged; None if there is no checkpoint at all.

        Skips a damaged one with a warning. Raises `CheckpointUnusable` if all are damaged: a
        training that asks to resume must not begin from the start.

        Args:
            check: See `read`.

        """
        names = self.names()
        for name in reversed(names):
            try:
                return self.read(self.path / name, check)
            except CheckpointDamaged as error:
                warnings.warn(f"{error}; the one before it is taken", TrainingLogWarning, 4)
            except FileNotFoundError:  # pruned by another process in this moment
                continue
        if names:
            raise CheckpointUnusable(
                f"none of the {len(names)} checkpoints in {self.path} can be read: name a folder "
                "that is empty to begin anew, or pass restore_checkpoint=False"
            )
        return None

    def read(self, path: Path, check: Check | None = None) -> Checkpoint:
        """Read one checkpoint, after a check for damage.

        Args:
            path: The folder of the checkpoint.
            check: Raises `ValueError` if the content is not the checkpoint that the caller needs.

        Raises `CheckpointDamaged` if a part is missing or differs from what was written, and
        `CheckpointUnusable` if this program cannot read it.
        """
        facts = read_manifest(path)
        parts = facts["parts"]
        arrays = {name: read_part(path, part) for name, part in parts.items()}
        try:
            trees = {
                name: from_json(shape, arrays.get(name, []), self._serializer)
                for name, shape in facts.pop("trees").items()
            }
            found = Checkpoint(path, facts, trees)
            if check is not None:
                check(found)
        except (CheckpointUnusable, MemoryError):
            raise
        except Exception as error:
            # Reading data of another shape as a tree can raise anything.
            raise CheckpointDamaged(
                f"the manifest of the checkpoint {path} is damaged: {error!r}"
            ) from error
        return found

    def _prune(self, training: str, new: int = 0) -> int:
        """Remove surplus checkpoints, to leave room for `new` more; return the number removed."""
        if not self._keep:
            return 0
        own = []
        for name in self.names():
            with contextlib.suppress(CheckpointUnusable, FileNotFoundError):
                if read_manifest(self.path / name)["training"] == training:
                    own.append(name)
        surplus = own[: -max(1, self._keep - new)]
        for name in surplus:
            # Rename first, in one step: a folder half removed must not look like a checkpoint.
            (self.path / name).rename(self.path / f".removed-{name}")
        self._sweep()
        return len(surplus)

    def _sweep(self) -> None:
        """Remove leftovers of killed writers; the caller holds the lock, so no other one writes."""
        for file in list(self.path.iterdir()):
            if _LEFTOVER.fullmatch(file.name):
                if file.is_dir() and not file.is_symlink():
                    shutil.rmtree(file, ignore_errors=True)
                else:
                    file.unlink(missing_ok=True)


def find(
    place: str | Path, serializer: Serializer | None = None, check: Check | None = None
) -> Checkpoint:
    """Read the checkpoint at a path, or the newest one in that folder.

    Raises `CheckpointNotFound` if there is none.
    """
    path = Path(place).absolute()
    if os.path.lexists(path / MANIFEST):
        return CheckpointFolder(path.parent, serializer=serializer).read(path, check)
    newest = CheckpointFolder(path, serializer=serializer).newest(check)
    if newest is None:
        raise CheckpointNotFound(f"there is no checkpoint at {path}")
    return newest


def _number(name: str) -> int:
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        _sync(file)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    if os.name != "posix":  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Lock the folder against other writers; the kernel drops the lock when a process dies."""
    try:
        import fcntl
    except ImportError:  # Windows has no lock: only one process may write checkpoints there
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
