"""The arrays of a checkpoint in a file; the reader does not trust the sizes that it claims."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

from traininglog.loop.errors import CheckpointDamaged, NotPlain
from traininglog.plain_files import open_plain

_CHUNK = 2**20


def write_part(path: Path, arrays: list[Any]) -> dict[str, Any]:
    """Write arrays to a file and sync it; return its entry for the manifest."""
    import numpy
    from numpy.lib.format import write_array

    with path.open("wb") as file:
        # Like `numpy.savez`, which in older NumPy has no `allow_pickle=False`.
        with zipfile.ZipFile(file, "w") as archive:
            for place, array in enumerate(arrays):
                with archive.open(f"array-{place}.npy", "w", force_zip64=True) as member:
                    try:
                        write_array(member, numpy.asanyarray(array), allow_pickle=False)
                    except ValueError as error:
                        raise NotPlain(f"an array cannot be saved: {error}") from error
        file.flush()
        os.fsync(file.fileno())
    with path.open("rb") as file:  # zipfile seeks back to patch headers: sum the finished file
        size, crc = _summed(file)
    return {"file": path.name, "arrays": len(arrays), "bytes": size, "crc32": crc}


def read_part(path: Path, part: dict[str, Any]) -> list[Any]:
    """Return the arrays of a part of the checkpoint at a path.

    Args:
        path: The checkpoint.
        part: The entry of the part in its manifest.

    Raises `CheckpointDamaged` if the file is missing or differs from what was written.
    """
    name = part["file"]
    try:
        descriptor = open_plain(path / name, follow=True)  # some keep a folder as links to files
    except FileNotFoundError:
        raise CheckpointDamaged(f"the checkpoint {path} has lost its {name}") from None
    except OSError as error:
        raise CheckpointDamaged(
            f"{name} of the checkpoint {path} cannot be read: {error.strerror or error}"
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        try:
            if os.fstat(descriptor).st_size != part["bytes"] or _summed(file)[1] != part["crc32"]:
                raise ValueError("its checksum is another")
            file.seek(0)
            return _arrays(file, part)
        except MemoryError:
            raise
        except Exception as error:
            # zipfile and NumPy may raise anything for a file that is not theirs.
            raise CheckpointDamaged(
                f"{name} of the checkpoint {path} is damaged: {error}"
            ) from error


def _summed(file: Any) -> tuple[int, int]:
    size = crc = 0
    while chunk := file.read(_CHUNK):
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
    return size, crc


def _arrays(file: Any, part: dict[str, Any]) -> list[Any]:
    from numpy.lib.format import read_array

    with zipfile.ZipFile(file) as archive:
        if len(archive.infolist()) != part["arrays"]:
            raise ValueError("it has another number of arrays")
        found = []
        for place in range(part["arrays"]):
            member = archive.getinfo(f"array-{place}.npy")
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > part["bytes"]:
                raise ValueError("it claims to hold more than it is long")
            with archive.open(member) as content:
                _refuse_claims(content, member.file_size)
            with archive.open(member) as content:
                found.append(read_array(content, allow_pickle=False))
        return found


def _refuse_claims(content: Any, size: int) -> None:
    """Raise `ValueError` if an array claims another size than it has, before it takes memory."""
    from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

    # Version 3 differs from 2 only in the encoding of field names, which do not matter here.
    short = read_magic(content) == (1, 0)
    shape, _, dtype = (read_array_header_1_0 if short else read_array_header_2_0)(content)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != size - content.tell():
        raise ValueError("an array in it claims another size than it has")
