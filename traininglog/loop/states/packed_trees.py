"""Trees of plain data as bytes, for ranks to send each other. No pickle."""

from __future__ import annotations

import io
import json
from typing import Any

from traininglog.loop.states.trees import Serializer, from_json, to_json


def packed(tree: object, serializer: Serializer | None = None) -> bytes:
    """Return a tree as bytes. Raises `NotPlain` for values that are not plain data."""
    from numpy import asanyarray
    from numpy.lib.format import write_array

    arrays: list[Any] = []
    shape = json.dumps([to_json(tree, arrays, serializer, "now"), len(arrays)], allow_nan=False)
    file = io.BytesIO()
    file.write(shape.encode() + b"\n")
    for array in arrays:
        write_array(file, asanyarray(array), allow_pickle=False)
    return file.getvalue()


def unpacked(content: bytes, serializer: Serializer | None = None) -> Any:
    """Return the tree that `packed` made."""
    from numpy.lib.format import read_array

    file = io.BytesIO(content)
    shape, count = json.loads(file.readline())
    arrays = [read_array(file, allow_pickle=False) for _ in range(count)]
    return from_json(shape, arrays, serializer)
