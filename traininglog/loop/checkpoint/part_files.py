"""The arrays of a checkpoint in a file: written, and read back without trust in what it claims."""

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
    """Write arrays to a file and sync it; return what the manifest says of it."""
    import numpy
    from numpy.lib.format import write_array

    with path.open("wb") as file:
        # As `numpy.savez` does; that of older NumPy cannot be told to refuse what needs pickle.
        with zipfile.ZipFile(file, "w") as archive:
            for place, array in enumerate(arrays):
                with archive.open(f"array-{place}.npy", "w", force_zip64=True) as member:
                    try:
                        write_array(member, numpy.asanyarray(array), allow_pickle=False)
                    except ValueError as error:
                        raise NotPlain(f"an array cannot be saved: {error}") from error
        file.flush()
        os.fsync(file.fileno())
    with path.open("rb") as file:  # zipfile goes back to patch headers: no checksum on the way
        size, crc = _summed(file)
    return {"file": path.name, "arrays": len(arrays), "bytes": size, "crc32": crc}


def read_part(path: Path, part: dict[str, Any]) -> list[Any]:
    """Return the arrays of a part of the checkpoint at a path.

    Args:
        path: The checkpoint.
        part: What its manifest says of the part.

    Raises `CheckpointDamaged` for whatever is not what was written.
    """
    name = part["file"]
    try:
        descriptor = open_plain(path / name, follow=True)  # a folder may be kept by links to files
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
            # Whatever zipfile and NumPy raise for what is not theirs.
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
    """Raise for an array that claims other than it has, before memory is taken for it."""
    from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

    # Version 3 differs from 2 in how it spells the names of fields, which do not matter here.
    short = read_magic(content) == (1, 0)
    shape, _, dtype = (read_array_header_1_0 if short else read_array_header_2_0)(content)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != size - content.tell():
        raise ValueError("an array in it claims another size than it has")
