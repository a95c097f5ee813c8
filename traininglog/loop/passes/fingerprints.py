"""Fingerprints of batches, to check that a replay of data yields the same batches.

A fingerprint reads at most a kilobyte of host memory, spread over the array, of each of the first
few arrays in a batch. It fetches nothing from a device. If PyTorch's `DataLoader` asks for examples
by index, the fingerprint is of the indices instead: they are the order, whatever the dataset makes
of an example.
"""

from __future__ import annotations

import sys
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

#: How much of an array, and of a batch, a fingerprint reads, in bytes.
_OF_ARRAY, _OF_BATCH = 1024, 4096
_PIECE = 64
_ITEMS, _DEPTH = 16, 5
_LONGEST = 256  # characters of a text
_KEPT = 128  # fingerprints of a reading
_SHARE = 0.01  # of the time, for fingerprints


class Prints:
    """Fingerprints of some of the batches of a reading, with their numbers.

    They take at most a hundredth of the time. A long reading keeps those of every second batch,
    then every fourth, and so on.
    """

    def __init__(self, kept: list[list[int]] | None = None) -> None:
        self.kept = [list(entry) for entry in kept or []]
        self._each = 1
        self._spent = 0.0
        self._began = perf_counter()

    def add(self, number: int, batch: object, indices: Indices | None) -> None:
        """Add the fingerprint of a batch, if there is time for it."""
        index = None if indices is None else indices.take()
        began = perf_counter()
        if number > 2 and (number % self._each or self._spent > _SHARE * (began - self._began)):
            return
        self.kept.append([number, fingerprint(batch) if index is None else index])
        if len(self.kept) > _KEPT:
            self._each *= 2
            self.kept = self.kept[:2] + [
                entry for entry in self.kept[2:] if not entry[0] % self._each
            ]
        self._spent += perf_counter() - began


def fingerprint(batch: object) -> int:
    """Return a checksum of a batch, which differs for most other batches."""
    return _Looking().at(batch)


class _Looking:
    def __init__(self) -> None:
        self.left = _OF_BATCH
        self.sum = 0

    def at(self, batch: object) -> int:
        try:
            self.look(batch, 0)
        except Exception:  # noqa: BLE001 - a user's batch may raise anything
            self.take(b"not to be looked at")
        return self.sum

    def take(self, content: Any) -> None:
        self.sum = zlib.crc32(content, self.sum)

    def look(self, thing: object, depth: int) -> None:
        kind = type(thing)
        self.take(kind.__name__.encode())
        if thing is None or isinstance(thing, (int, float, complex)):
            self.take(repr(thing)[:_LONGEST].encode())
        elif isinstance(thing, str):
            self.take(thing[:_LONGEST].encode("utf-8", "surrogatepass"))
        elif isinstance(thing, (bytes, bytearray, memoryview)):
            self.memory(memoryview(thing).cast("B") if len(thing) else memoryview(b""))
        elif hasattr(thing, "dtype") and hasattr(thing, "shape"):
            self.take(f"{thing.dtype}{thing.shape}".encode())
            self.array(thing)
        elif depth < _DEPTH:
            self.items(thing, depth)

    def items(self, thing: object, depth: int) -> None:
        if isinstance(thing, Mapping):
            for key in list(thing)[:_ITEMS]:
                self.look(str(key), depth)
                self.look(thing[key], depth + 1)
        elif isinstance(thing, (list, tuple, deque)):
            self.take(str(len(thing)).encode())
            for item in list(thing[:_ITEMS] if not isinstance(thing, deque) else thing)[:_ITEMS]:
                self.look(item, depth + 1)
        else:
            for name, value in list(getattr(thing, "__dict__", {}).items())[:_ITEMS]:
                self.look(name, depth)
                self.look(value, depth + 1)

    def array(self, array: object) -> None:
        """Add an array in host memory; of other arrays only the shape counts."""
        if self.left <= 0:
            return
        torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
        if torch is not None and isinstance(array, torch.Tensor):
            if not array.is_cpu or array.layout is not torch.strided or not array.numel():
                return
            flat = _thinned(array.detach(), array.is_contiguous())
            self.memory(memoryview(flat.reshape(-1).view(torch.uint8).numpy()))
        elif numpy is not None and isinstance(array, numpy.ndarray):
            if array.size and not array.dtype.hasobject:
                flat = _thinned(array, array.flags.c_contiguous)
                self.memory(memoryview(numpy.ascontiguousarray(flat).reshape(-1).view("u1")))
            elif array.size:
                self.take(repr(array.reshape(-1)[:_ITEMS].tolist())[:_LONGEST].encode())
        elif numpy is not None and isinstance(array, numpy.generic):
            self.take(repr(array.item())[:_LONGEST].encode())

    def memory(self, view: memoryview) -> None:
        size = len(view)
        self.take(str(size).encode())
        self.left -= min(size, _OF_ARRAY)
        if size <= _OF_ARRAY:
            self.take(view)
            return
        pieces = _OF_ARRAY // _PIECE
        apart = (size - _PIECE) // (pieces - 1)
        for start in range(0, pieces * apart, apart):
            self.take(view[start : start + _PIECE])


def _thinned(array: Any, contiguous: bool) -> Any:
    """Return a contiguous array: the array itself, or some of its elements."""
    if contiguous:
        return array
    steps = tuple(slice(None, None, max(1, length // 8)) for length in array.shape)
    thin = array[steps]
    return thin.contiguous() if hasattr(thin, "contiguous") else thin


class Indices:
    """Wraps the sampler of a loader, and keeps the fingerprints of the indices it yields."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler
        self._ahead: deque[int] = deque()

    def __iter__(self) -> Iterator[Any]:
        ahead: deque[int] = deque()
        self._ahead = ahead
        for indices in self._sampler:
            ahead.append(
                zlib.crc32(repr(indices).encode())
                if isinstance(indices, (int, list, tuple))
                else fingerprint(indices)
            )
            yield indices

    def __len__(self) -> int:
        return len(self._sampler)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_sampler":  # while a copy is being made
            raise AttributeError(name)
        return getattr(self._sampler, name)

    def take(self) -> int | None:
        """Return the fingerprint of the indices of the next batch."""
        return self._ahead.popleft() if self._ahead else None


def opened(source: Any) -> tuple[Iterator[Any], Indices | None]:
    """Return an iterator over data, and the wrapper that watches its indices, if it has any.

    The sampler of a `DataLoader` is replaced by the wrapper while the loader makes its iterator. If
    the loader is not built as expected, there is no wrapper: fingerprints are of batches then.
    """
    name = _sampler_of(source)
    if name is None:
        return iter(source), None
    sampler = source.__dict__[name]
    source.__dict__[name] = Indices(sampler)
    try:
        iterator = iter(source)
    finally:
        source.__dict__[name] = sampler
    # Persistent workers keep the iterator that they started with, and its sampler.
    watching = getattr(iterator, "_index_sampler", None)
    return iterator, watching if isinstance(watching, Indices) else None


def _sampler_of(source: object) -> str | None:
    """Return the name of the sampler that a loader takes indices from, or None."""
    module = sys.modules.get("torch.utils.data")
    if module is None or not isinstance(source, module.DataLoader):
        return None
    if isinstance(source.dataset, module.IterableDataset) or not getattr(source, "in_order", True):
        return None
    name = "batch_sampler" if source.__dict__.get("batch_sampler") is not None else "sampler"
    return name if source.__dict__.get(name) is not None else None
