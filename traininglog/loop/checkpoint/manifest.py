"""The manifest of a checkpoint: JSON that ends in its own checksum, and is validated when read.

The checksum is the last member of the JSON object, and covers every byte before it::

    {"format": 2, "training": "...", ..., "crc32": "0f0e0d0c"}

Format 1, of older versions, has no checksum: the reader accepts it if it has the right shape.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traininglog.loop.errors import CheckpointDamaged, CheckpointUnusable
from traininglog.plain_files import is_hollow, open_plain

FORMAT = 2
MANIFEST = "manifest.json"

_SEAL = re.compile(rb', "crc32": "([0-9a-f]{8})"\}')
_SEAL_SIZE = len(b', "crc32": "01234567"}')

#: The names that parts may have: none of them leads out of the checkpoint.
_PART = re.compile(r"part-[0-9]{1,9}\.npz")


def sealed(manifest: Mapping[str, object]) -> bytes:
    """Return the bytes of a manifest: strict JSON with a checksum."""
    content = json.dumps(dict(manifest), allow_nan=False).encode()[:-1]
    return content + b', "crc32": "%08x"}' % zlib.crc32(content)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of the checkpoint at a path.

    Raises:
        CheckpointDamaged: It is missing, cannot be read, or differs from what was written.
        CheckpointUnusable: A newer version wrote it.
        FileNotFoundError: There is nothing at all at that path.

    """
    try:
        content = read_whole(path / MANIFEST)
    except FileNotFoundError:
        if not os.path.lexists(path):
            raise
        raise CheckpointDamaged(f"the checkpoint {path} has lost its manifest") from None
    except OSError as error:
        raise CheckpointDamaged(
            f"the manifest of the checkpoint {path} cannot be read: {error.strerror or error}"
        ) from error
    try:
        return _parsed(content)
    except _TooNew as error:
        raise CheckpointUnusable(
            f"the checkpoint {path} has format {error}, this version of traininglog "
            f"reads {FORMAT}: upgrade traininglog"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointDamaged(
            f"the manifest of the checkpoint {path} is damaged: {error}"
        ) from error


class _TooNew(Exception):
    """The manifest has a format of a later version; the argument is its number."""


def _parsed(content: bytes) -> dict[str, Any]:
    """Parse and check a manifest. Raises `ValueError` if it is damaged."""
    seal = _SEAL.fullmatch(content[-_SEAL_SIZE:])
    if seal is not None and b"%08x" % zlib.crc32(content[:-_SEAL_SIZE]) != seal[1]:
        raise ValueError("its checksum is another")
    manifest = json.loads(content, parse_constant=_refuse_constant)
    if not isinstance(manifest, dict):
        raise ValueError("it is no JSON object")
    number = manifest.get("format")
    if type(number) is not int or number < 1:
        raise ValueError("it does not say its format")
    if number > FORMAT:
        raise _TooNew(number)
    if number > 1 and seal is None:
        raise ValueError("it has lost its checksum")
    _check_shape(manifest)
    return manifest


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _check_shape(manifest: dict[str, object]) -> None:
    if type(manifest.get("training")) is not str:
        raise ValueError("it does not name its training")
    trees, parts = manifest.get("trees"), manifest.get("parts")
    if not isinstance(trees, dict) or not isinstance(parts, dict) or not parts.keys() <= {*trees}:
        raise ValueError("it does not say what is in the checkpoint")
    for part in parts.values():
        if not isinstance(part, dict):
            raise ValueError("what it says of a part is not an object")
        name = part.get("file")
        if type(name) is not str or not _PART.fullmatch(name):
            raise ValueError(f"{str(name)[:80]!r} is not the name of a part")
        for count in ("arrays", "bytes", "crc32"):
            if type(part.get(count)) is not int or part[count] < 0:
                raise ValueError(f"it does not tell the {count} of {name}")


def read_whole(path: Path) -> bytes:
    """Return the content of a regular file, or of the regular file that a link leads to.

    Raises `OSError` for anything else, and for a sparse file that is nearly all hole: its size says
    more than the disk holds.
    """
    descriptor = open_plain(path, follow=True)
    with os.fdopen(descriptor, "rb") as file:
        if is_hollow(os.fstat(descriptor)):
            raise OSError(f"{path.name} is large and nearly all of it a hole")
        return file.read()
