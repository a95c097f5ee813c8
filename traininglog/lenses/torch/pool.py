"""The pool in which numbers wait on a device, until all of them cross at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from traininglog.lenses.torch.tensors import Place, alike, place_of


class DevicePool:
    """Numbers on their way to statistics, which cross from each device once, at the drain.

    What is put is only noted: in between two steps of a training, whatever is done takes several
    times as long as when it is done for thousands at a time. From time to time the numbers are
    packed into vectors on their device, and totals worked out there, so that they do not take much
    memory; beyond a million they cross early.
    """

    _PACK, _SUM, _MOST = 4096, 2**18, 2**20

    def __init__(self) -> None:
        self._numbers: list[tuple[Any, Any, float, float]] = []  # target, number, times, plus
        self._together: list[tuple[Any, Sequence[Any]]] = []
        self._totals: list[tuple[Any, Tensor, float, float, bool]] = []
        self._to_sum = 0  # of how many numbers these totals are, about
        self._vectors: list[tuple[Any, Tensor]] = []
        self._lanes: dict[Place, _Lane] = {}
        self._packed = 0

    def put(self, target: Any, number: Any, times: float = 1.0, plus: float = 0.0) -> None:
        """Take a number."""
        self._numbers.append((target, number, times, plus))
        if len(self._numbers) >= self._PACK:
            self._pack()

    def put_together(self, target: Any, numbers: Sequence[Any]) -> None:
        """Take some numbers that belong together."""
        self._together.append((target, numbers))
        if len(self._together) >= self._PACK:
            self._pack()

    def put_total(
        self, target: Any, numbers: Tensor, times: float, plus: float, *, nonzero: bool
    ) -> None:
        """Take a total, to be worked out with those of vectors that are as long."""
        self._totals.append((target, numbers, times, plus, nonzero))
        self._to_sum += numbers.shape[0] + 64  # the memory of a short one, about
        if self._to_sum > self._SUM:
            self._pack()

    def put_vector(self, target: Any, numbers: Tensor) -> None:
        """Take several numbers for one target."""
        self._vectors.append((target, numbers))
        self._count(numbers.numel())

    def _lane(self, numbers: Tensor) -> _Lane:
        place = place_of(numbers)
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = _Lane()
        return lane

    def _pack(self) -> None:
        """Have what was noted in vectors, each on its device and in its precision."""
        numbers, together, totals = self._numbers, self._together, self._totals
        self._numbers, self._together, self._totals, self._to_sum = [], [], [], 0
        for target, number, times, plus in numbers:
            if isinstance(number, Tensor):
                self._lane(number).numbers.append((target, number, times, plus))
            else:
                target.add(float(number) * times + plus)
        for target, some in together:
            if not all(isinstance(number, Tensor) for number in some):
                target.add([float(number) for number in some])
                continue
            first = some[0]
            moved = some if alike(some) else [number.to(first) for number in some]
            self._lane(first).numbers += [(target, number, 1.0, 0.0) for number in moved]
        for target, vector, times, plus, nonzero in totals:
            of = self._lane(vector).totals.setdefault((vector.shape[0], nonzero), [])
            of.append((target, vector, times, plus))
        self._count(sum(lane.pack() for lane in self._lanes.values()))

    def _count(self, more: int) -> None:
        self._packed += more
        if self._packed > self._MOST:
            self.drain()

    def drain(self) -> None:
        """Take everything to its target."""
        self._packed = -self._MOST  # or packing might begin another
        self._pack()
        for target, vector in self._vectors:
            self._lane(vector).vectors.append((target, vector))
        lanes = self._lanes
        self.clear()
        for lane in lanes.values():
            lane.drain()

    def clear(self) -> None:
        """Forget everything."""
        self._numbers, self._together, self._totals, self._vectors = [], [], [], []
        self._lanes, self._to_sum, self._packed = {}, 0, 0


class _Lane:
    """What waits on one device in one precision."""

    __slots__ = ("numbers", "packs", "totals", "vectors")

    def __init__(self) -> None:
        self.numbers: list[tuple[Any, Tensor, float, float]] = []  # target, number, times, plus
        #: By length, and whether it is counted what is not zero: target, vector, times, plus.
        self.totals: dict[tuple[int, bool], list[tuple[Any, Tensor, float, float]]] = {}
        self.packs: list[tuple[list[Any], Tensor, list[float], list[float]]] = []
        self.vectors: list[tuple[Any, Tensor]] = []

    def pack(self) -> int:
        """Make vectors of the numbers and of the totals; return how many there were."""
        before = len(self.packs)
        if self.numbers:
            targets, numbers, times, plus = map(list, zip(*self.numbers, strict=True))
            self.packs.append((targets, torch.stack(numbers), times, plus))
        for (_, nonzero), some in self.totals.items():
            targets, vectors, times, plus = map(list, zip(*some, strict=True))
            rows = torch.stack(vectors)
            sums = (rows != 0).sum(1, dtype=rows.dtype) if nonzero else rows.sum(1)
            self.packs.append((targets, sums, times, plus))
        self.numbers, self.totals = [], {}
        return sum(len(pack[0]) for pack in self.packs[before:])

    def drain(self) -> None:
        """Take everything to its target, by one transfer."""
        parts = [pack[1] for pack in self.packs] + [part.reshape(-1) for _, part in self.vectors]
        if not parts:
            return
        everything = (parts[0] if len(parts) == 1 else torch.cat(parts)).to("cpu")
        numbers = everything.double().numpy()
        targets: list[Any] = []
        for targets_of, _, times, plus in self.packs:
            chosen = slice(len(targets), len(targets) + len(targets_of))
            numbers[chosen] = numbers[chosen] * times + plus
            targets += targets_of
        for places in _places(targets):
            targets[places[0]].add(numbers[places])
        at = len(targets)
        for target, part in self.vectors:
            target.add(numbers[at : at + part.numel()])
            at += part.numel()


def _places(objects: Sequence[Any]) -> list[NDArray[np.intp]]:
    """Return for each object, by its first place, the places at which it stands."""
    if not objects:
        return []
    numbers = np.fromiter(map(id, objects), np.uint64, len(objects))
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order])) + 1
    return sorted(np.split(order, ends), key=lambda places: int(places[0]))
