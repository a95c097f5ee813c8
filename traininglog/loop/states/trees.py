"""Trees of plain data as JSON and arrays, and back, to the bit. No pickle.

A tree consists of numbers, texts, lists, dicts and similar, with NumPy arrays and torch tensors at
its leaves. `state_dict()` returns a tree nearly everywhere. The shape of the tree goes into JSON,
the arrays go beside it into an ``.npz`` file. Other values go through the user's `Serializer`;
without one they raise an error that names their place.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from traininglog.encoding import decode, encode
from traininglog.loop.errors import CheckpointUnusable, NotPlain
from traininglog.plain_json import (
    MAX_INT_BITS,
    READERS,
    bytes_to_text,
    float_to_json,
    has_plain_keys,
    text_to_json,
)


class Serializer(NamedTuple):
    """The user's functions to save values that are not plain, to bytes and back.

    Reading a pickle runs code in it: pass ``(pickle.dumps, pickle.loads)`` only if nobody else
    writes to the folder of checkpoints.
    """

    dump: Callable[[Any], bytes]
    load: Callable[[bytes], Any]


class NamedFields(NamedTuple):
    """The fields of a saved named tuple; restoring uses the class of the tuple that it replaces."""

    name: str
    fields: dict[str, Any]


def to_json(
    tree: Any, arrays: list[Any], serializer: Serializer | None = None, where: str = ""
) -> Any:
    """Return a tree as data of strict JSON; append its arrays to `arrays`.

    Raises `NotPlain` with the place in the tree for a value that is not plain data.
    """
    writer = _TreeWriter(arrays, serializer)
    return writer.write(tree, where)


def from_json(data: Any, arrays: Any, serializer: Serializer | None = None) -> Any:
    """Return the tree that `to_json` wrote.

    Raises `CheckpointUnusable` if this process cannot read it; the error says what is missing.
    """
    return _TreeReader(arrays, serializer).read(data)


class _TreeWriter:
    def __init__(self, arrays: list[Any], serializer: Serializer | None) -> None:
        self.arrays = arrays
        self.serializer = serializer

    def write(self, value: Any, where: str) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if value.bit_length() <= MAX_INT_BITS else {"$int": hex(value)}
        if kind is str:
            return text_to_json(value)
        if kind is float:
            return float_to_json(value)
        if kind is list:
            return self.items(value, where)
        if kind in (dict, OrderedDict, Counter):
            return self.mapping(value, where)
        if isinstance(value, tuple):
            names = getattr(value, "_fields", None)
            if names is None:
                return {"$tuple": self.items(value, where)}
            return {
                "$named": [kind.__name__, self.mapping(dict(zip(names, value, strict=True)), where)]
            }
        if kind is bytes:
            return {"$bytes": bytes_to_text(value)}
        if kind is complex:
            return {"$complex": [self.write(part, where) for part in (value.real, value.imag)]}
        if kind in (set, frozenset):
            return {f"${kind.__name__}": self.items(sorted(value, key=repr), where)}
        if isinstance(value, (datetime, UUID, Path, Enum)):
            stored_as, stored = encode(value)
            return {"$value": [stored_as, self.write(stored, where)]}
        return self.foreign(value, where)

    def items(self, values: Any, where: str) -> list[Any]:
        return [self.write(value, f"{where}/{number}") for number, value in enumerate(values)]

    def mapping(self, value: dict[Any, Any], where: str) -> Any:
        kind = type(value)
        if kind is dict and all(type(key) is str for key in value) and has_plain_keys(value):
            return {key: self.write(item, f"{where}/{key}") for key, item in value.items()}
        pairs = [
            [self.write(key, where), self.write(item, f"{where}/{key}")]
            for key, item in value.items()
        ]
        if kind is Counter:
            return {"$counter": pairs}
        if kind is OrderedDict:  # torch keeps the versions of modules in its `_metadata`
            return {"$ordered": [pairs, self.write(getattr(value, "_metadata", None), where)]}
        return {"$dict": pairs}

    def foreign(self, value: Any, where: str) -> Any:
        torch = sys.modules.get("torch")  # a program with a tensor has imported it
        if torch is not None and isinstance(value, torch.Tensor):
            return self.tensor(torch, value, where)
        if hasattr(value, "__array__") and hasattr(value, "dtype"):
            import numpy

            array = numpy.asarray(value)
            if numpy.dtype(numpy.lib.format.dtype_to_descr(array.dtype)) == array.dtype and not (
                array.dtype.hasobject
            ):
                return {
                    "$scalar" if isinstance(value, numpy.generic) else "$array": self.add(array)
                }
        if self.serializer is not None:
            import numpy

            content = numpy.frombuffer(self.serializer.dump(value), numpy.uint8)
            return {"$custom": [type(value).__name__, self.add(content)]}
        raise NotPlain(
            f"a {type(value).__name__} at {where or 'the top'} cannot be saved as JSON and arrays: "
            "leave it out of the state, turn it into numbers, texts, lists, dicts or arrays, or "
            "give the loop a serializer=(dump, load)"
        )

    def tensor(self, torch: Any, value: Any, where: str) -> Any:
        host = value.detach()
        if host.layout is not torch.strided or host.is_quantized:
            raise NotPlain(
                f"a sparse or quantized tensor at {where or 'the top'} cannot be saved: "
                "store it dense, with to_dense() or dequantize()"
            )
        host = host.cpu().resolve_conj().resolve_neg().contiguous()
        try:
            return {"$tensor": self.add(host.numpy())}
        except TypeError:  # bfloat16 and similar types, which NumPy lacks
            content = host.reshape(-1).view(torch.uint8).numpy()
            name = str(host.dtype).removeprefix("torch.")
            return {"$tensor": [self.add(content), name, list(host.shape)]}

    def add(self, array: Any) -> int:
        self.arrays.append(array)
        return len(self.arrays) - 1


class _TreeReader:
    def __init__(self, arrays: Any, serializer: Serializer | None) -> None:
        self.arrays = arrays
        self.serializer = serializer

    def read(self, data: Any) -> Any:
        if isinstance(data, list):
            return [self.read(item) for item in data]
        if not isinstance(data, dict):
            return data
        if len(data) == 1:
            ((tag, inner),) = data.items()
            if tag[:1] == "$":
                return self.tagged(tag, inner)
        return {key: self.read(item) for key, item in data.items()}

    def tagged(self, tag: str, inner: Any) -> Any:
        if tag in READERS:
            return READERS[tag](inner)
        if tag == "$int":
            return int(inner, 16)
        if tag == "$array":
            return self.array(inner)
        if tag == "$scalar":
            return self.array(inner)[()]
        if tag == "$tensor":
            return self.tensor(inner)
        if tag == "$named":
            return NamedFields(inner[0], self.read(inner[1]))
        if tag == "$ordered":
            ordered = OrderedDict(self.read(inner[0]))
            if inner[1] is not None:
                ordered._metadata = self.read(inner[1])  # type: ignore[attr-defined]
            return ordered
        if tag == "$value":
            return decode(inner[0], self.read(inner[1]))
        if tag == "$custom":
            if self.serializer is None:
                raise CheckpointUnusable(
                    f"the checkpoint has a {inner[0]} that a serializer of yours saved: "
                    "give the loop the same serializer=(dump, load)"
                )
            content = self.array(inner[1]).tobytes()
            try:
                return self.serializer.load(content)
            except Exception as error:
                raise CheckpointUnusable(
                    f"your serializer cannot load the {inner[0]} that it saved: {error!r}"
                ) from error
        make: Any = _CONTAINERS[tag]
        return make(self.read(inner))

    def array(self, place: Any) -> Any:
        if type(place) is not int or place < 0:
            raise ValueError(f"{place!r} is not the place of an array")
        return self.arrays[place]

    def tensor(self, inner: Any) -> Any:
        torch = sys.modules.get("torch")
        if torch is None:
            raise CheckpointUnusable(
                "the checkpoint has torch tensors in it: import torch before it is restored"
            )
        if isinstance(inner, int):
            return torch.from_numpy(self.array(inner))
        place, name, shape = inner
        dtype = getattr(torch, name, None)
        if not isinstance(dtype, torch.dtype):
            raise CheckpointUnusable(f"this torch knows no dtype {name}, which the checkpoint has")
        if 0 in shape:
            return torch.empty(shape, dtype=dtype)
        return torch.from_numpy(self.array(place)).view(dtype).reshape(shape)


def _counter(pairs: list[Any]) -> Counter[Any]:
    return Counter(dict(pairs))


_CONTAINERS = {
    "$tuple": tuple,
    "$dict": dict,
    "$counter": _counter,
    "$set": set,
    "$frozenset": frozenset,
    "$complex": lambda parts: complex(*parts),
}


def copied(tree: Any) -> Any:
    """Return a deep copy of a tree in host memory, which shares no memory with the original.

    Values that are neither containers nor arrays are not copied.
    """
    if isinstance(tree, dict):
        same = {key: copied(item) for key, item in tree.items()}
        if type(tree) not in (OrderedDict, Counter):
            return same
        copy: Any = type(tree)(same)
        if hasattr(tree, "_metadata"):
            copy._metadata = copied(tree._metadata)
        return copy
    if isinstance(tree, list):
        return [copied(item) for item in tree]
    if isinstance(tree, tuple):
        items = [copied(item) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(tree, torch.Tensor):
        return tree.detach().to("cpu", copy=True)
    if hasattr(tree, "__array__") and hasattr(tree, "dtype"):
        import numpy

        return tree if isinstance(tree, numpy.generic) else numpy.array(tree)
    return tree
