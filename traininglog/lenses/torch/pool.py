"""`DevicePool`: a buffer of numbers on a device, which are transferred all at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from traininglog.lenses.numbers.statistics import Combined
from traininglog.lenses.torch.tensors import Place, place_of


class DevicePool:
    """A buffer of numbers for statistics, with one transfer per device at the drain.

    `put` only appends to a list: between two steps of a training, each operation takes several
    times as long as in a batch of hundreds. Each full list is packed into vectors on its device,
    and totals are computed there. So the numbers take little memory and no work of the garbage
    collector, which scans the whole program once 700 objects have accumulated. Beyond a million
    numbers the pool drains early. Numbers that cannot be packed are transferred one by one, and
    those whose transfer fails are left out.

    Args:
        refused: Is called with the error of each transfer that fails. Without it, the error raises.

    """

    # The lengths at which lists are packed: of numbers, of groups of numbers, and of totals.
    _NUMBERS, _TOGETHER, _TOTALS = 128, 64, 256

    #: The maximal number of elements in vectors to sum, and the maximal number of packed numbers.
    _TO_SUM, _MOST = 2**18, 2**20

    def __init__(self, refused: Callable[[Exception], None] | None = None) -> None:
        self._refused = refused
        # Flat lists: tuples would be more objects for the garbage collector.
        self._numbers: list[Any] = []  # target, number, times, plus, target, ...
        self._together: list[Any] = []  # target, numbers, target, ...
        self._totals: list[Any] = []  # target, vector, times, plus, nonzero, target, ...
        self._to_sum = 0
        self._vectors: list[tuple[Any, Tensor]] = []
        self._lanes: dict[Place, _Lane] = {}
        self._packed: float = 0

    def put(self, target: Any, number: Any, times: float = 1.0, plus: float = 0.0) -> None:
        """Add a number."""
        self._numbers += (target, number, times, plus)
        if len(self._numbers) >= 4 * self._NUMBERS:
            self._pack_numbers()

    def put_together(self, target: Any, numbers: Sequence[Any]) -> None:
        """Add a group of numbers."""
        self._together += (target, numbers)
        if len(self._together) >= 2 * self._TOGETHER:
            self._pack_together()

    def put_total(
        self, target: Any, numbers: Tensor, times: float, plus: float, *, nonzero: bool
    ) -> None:
        """Add a total, which is computed later with those of vectors of the same length."""
        self._totals += (target, numbers, times, plus, nonzero)
        self._to_sum += numbers.shape[0]
        if len(self._totals) >= 5 * self._TOTALS or self._to_sum > self._TO_SUM:
            self._pack_totals()

    def put_vector(self, target: Any, numbers: Tensor) -> None:
        """Add a vector of numbers for one target."""
        self._vectors.append((target, numbers))
        self._count(numbers.numel())

    def _pack_numbers(self) -> None:
        noted, self._numbers = self._numbers, []
        found: dict[Place, _Numbers] = {}
        for target, number, times, plus in _rows(noted, 4):
            if isinstance(number, Tensor):
                found.setdefault(place_of(number), _Numbers()).add(target, number, times, plus)
            else:
                self._one(target, [number], times, plus)
        self._stack(found)

    def _pack_together(self) -> None:
        noted, self._together = self._together, []
        found: dict[Place, _Numbers] = {}
        for target, taken in _rows(noted, 2):
            numbers = taken
            if not all(isinstance(number, Tensor) for number in numbers):
                self._one(target, numbers)
                continue
            place = place_of(numbers[0])
            if not all(place_of(number) == place for number in numbers[1:]):
                try:
                    numbers = [number.to(numbers[0]) for number in numbers]
                except Exception:  # noqa: BLE001 - as in _stack
                    self._one(target, numbers)
                    continue
            of = found.setdefault(place, _Numbers())
            for number in numbers:
                of.add(target, number)
        self._stack(found)

    def _stack(self, found: dict[Place, _Numbers]) -> None:
        for place, some in found.items():
            try:
                packed = torch.stack(some.tensors)
            except Exception:  # noqa: BLE001 - one bad tensor must not lose the others
                for target, numbers, times, plus in some.together():
                    self._one(target, numbers, times, plus)
                continue
            self._keep(place, some, packed)

    def _one(
        self, target: Any, numbers: Sequence[Any], times: float = 1.0, plus: float = 0.0
    ) -> None:
        """Transfer a group of numbers to its target, or leave it out after an error."""
        try:
            target.add([float(number) * times + plus for number in numbers])
        except Exception as error:
            if self._refused is None:
                raise
            self._refused(error)

    def _pack_totals(self) -> None:
        noted, self._totals, self._to_sum = self._totals, [], 0
        found: dict[tuple[Place, int, bool], _Numbers] = {}
        for target, vector, times, plus, nonzero in _rows(noted, 5):
            alike = place_of(vector), vector.shape[0], nonzero
            found.setdefault(alike, _Numbers()).add(target, vector, times, plus)
        for (place, _, nonzero), some in found.items():
            try:
                totals = _totals(torch.stack(some.tensors), nonzero=nonzero)
            except Exception:  # noqa: BLE001 - as in _stack
                for target, vectors, times, plus in some.together():
                    self._one(target, [_Total(vectors[0], nonzero)], times, plus)
                continue
            self._keep(place, some, totals)

    def _keep(self, place: Place, some: _Numbers, packed: Tensor) -> None:
        lane = self._lanes.setdefault(place, _Lane())
        lane.targets += some.targets
        lane.times += some.times
        lane.plus += some.plus
        lane.packs.append(packed)
        self._count(len(packed))

    def _count(self, more: int) -> None:
        self._packed += more
        if self._packed > self._MOST:
            self.drain()

    def drain(self) -> None:
        """Transfer everything to its targets."""
        self._packed = -math.inf  # else packing could start another drain
        self._pack_numbers()
        self._pack_together()
        self._pack_totals()
        for target, vector in self._vectors:
            lane = self._lanes.setdefault(place_of(vector), _Lane())
            lane.vectors.append((target, vector))
        lanes = self._lanes
        self.clear()
        for lane in lanes.values():
            try:
                lane.drain()
            except Exception as error:
                if self._refused is None:
                    raise
                self._refused(error)

    def clear(self) -> None:
        """Forget everything."""
        self._numbers, self._together, self._totals, self._vectors = [], [], [], []
        self._lanes, self._to_sum, self._packed = {}, 0, 0


def _rows(flat: list[Any], length: int) -> Iterator[tuple[Any, ...]]:
    return zip(*[iter(flat)] * length, strict=True)


def _totals(rows: Tensor, *, nonzero: bool) -> Tensor:
    totals = rows.sum(1)
    if not nonzero:
        return totals
    alive = (rows != 0).sum(1, dtype=rows.dtype)
    return torch.where(totals.isnan(), totals, alive)  # with a NaN, the total is NaN


class _Total:
    """The total of one vector, computed by `float`."""

    def __init__(self, vector: Tensor, nonzero: bool) -> None:
        self._vector, self._nonzero = vector, nonzero

    def __float__(self) -> float:
        return float(_totals(self._vector[None], nonzero=self._nonzero)[0])


class _Numbers:
    """Tensors of one kind, with the target, factor and offset of each."""

    __slots__ = ("plus", "targets", "tensors", "times")

    def __init__(self) -> None:
        self.targets: list[Any] = []
        self.tensors: list[Tensor] = []
        self.times: list[float] = []
        self.plus: list[float] = []

    def add(self, target: Any, tensor: Tensor, times: float = 1.0, plus: float = 0.0) -> None:
        self.targets.append(target)
        self.tensors.append(tensor)
        self.times.append(times)
        self.plus.append(plus)

    def together(self) -> Iterator[tuple[Any, list[Tensor], float, float]]:
        """Yield (target, tensors, times, plus) for each group of consecutive tensors."""
        start = 0
        for number, target in enumerate(self.targets):
            last = number + 1 == len(self.targets) or self.targets[number + 1] is not target
            count = target.count if isinstance(target, Combined) else 1
            if last or number + 1 - start == count:
                yield target, self.tensors[start : number + 1], self.times[start], self.plus[start]
                start = number + 1


class _Lane:
    """The buffer of one device and one precision."""

    __slots__ = ("packs", "plus", "targets", "times", "vectors")

    def __init__(self) -> None:
        self.targets: list[Any] = []  #: one for each number in the packs
        self.times: list[float] = []
        self.plus: list[float] = []
        self.packs: list[Tensor] = []
        self.vectors: list[tuple[Any, Tensor]] = []

    def drain(self) -> None:
        """Transfer everything at once, and pass it to the targets."""
        parts = self.packs + [part.reshape(-1) for _, part in self.vectors]
        everything = (parts[0] if len(parts) == 1 else torch.cat(parts)).to("cpu")
        numbers = everything.double().numpy()
        at = len(self.targets)
        numbers[:at] = numbers[:at] * self.times + self.plus
        for places in _places(self.targets):
            self.targets[places[0]].add(numbers[places])
        for target, part in self.vectors:
            target.add(numbers[at : at + part.numel()])
            at += part.numel()


def _places(objects: Sequence[Any]) -> list[NDArray[np.intp]]:
    """Return the indices of each distinct object, sorted by its first index."""
    if not objects:
        return []
    numbers = np.fromiter(map(id, objects), np.uint64, len(objects))
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order])) + 1
    return sorted(np.split(order, ends), key=lambda places: int(places[0]))
