"""What lenses ask of arrays, as PyTorch answers; and the pool in which numbers wait on a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vector_norm

from traininglog.lenses.arrays import EPSILON, Arrays, golub_kahan, leaves

_SMALL = (torch.float16, torch.bfloat16)


class TorchArrays(Arrays):
    """PyTorch's answers. What it is given has left the graph; halves are summed in single."""

    def first(self, output: Any) -> Any:
        """Return the first tensor of floating point, out of the graph, or None."""
        found = first_tensor(output)
        return None if found is None else found.detach()

    def copy(self, arrays: Sequence[Tensor], into: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return copies."""
        if into is None:
            return [array.clone() for array in arrays]
        for target, array in zip(into, arrays, strict=True):
            target.copy_(array)
        return list(into)

    def norms(self, arrays: Sequence[Tensor]) -> Tensor:
        """Return the norms, by one call for all."""
        if any(array.dtype in _SMALL for array in arrays):
            return self.vector([self.norm([array]) for array in arrays])
        return self.vector(torch._foreach_norm(list(arrays)))

    def vector(self, numbers: Sequence[Tensor]) -> Tensor:
        """Return scalars as one vector, on the device and in the precision of the first."""
        first = numbers[0]
        alike = all(n.device == first.device and n.dtype == first.dtype for n in numbers)
        return torch.stack(list(numbers) if alike else [n.to(first) for n in numbers])

    def norm(self, arrays: Sequence[Tensor]) -> Tensor:
        """Return the joint norm."""
        if len(arrays) == 1:
            dtype = torch.float32 if arrays[0].dtype in _SMALL else None
            return vector_norm(arrays[0], dtype=dtype)
        return vector_norm(self.norms(arrays))

    def joint_norms(self, norms: Tensor, groups: Sequence[int], count: int) -> Tensor:
        """Return the norms of groups."""
        if len(groups) == count:  # in order, and each by itself
            return norms
        sums = torch.zeros(count, dtype=norms.dtype, device=norms.device)
        places = torch.tensor(groups, device=norms.device)
        return sums.index_add_(0, places, norms.square()).sqrt_()

    def ratio(self, over: Any, under: Any) -> Any:
        """Return a ratio."""
        return over / (under + ((under == 0) & (over == 0)))

    def sample_norm(self, array: Tensor, *, by_size: bool) -> Tensor:
        """Return the mean norm of samples."""
        dtype = torch.float32 if array.dtype in _SMALL else None
        if array.ndim < 2:
            norms = array.abs() if dtype is None else array.abs().to(dtype)
        elif array.is_contiguous():
            norms = vector_norm(array.flatten(1), dim=1, dtype=dtype)
        else:
            norms = vector_norm(array, dim=tuple(range(1, array.ndim)), dtype=dtype)
        mean = norms.mean()
        return mean / (array.numel() / max(1, norms.numel())) ** 0.5 if by_size else mean

    def batch_mean(self, array: Tensor) -> Tensor:
        """Return the mean over the batch."""
        return array.mean(0) if array.ndim else array.clone()

    def dot(self, one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """Return the scalar product."""
        dots = [_dot(a, b) for a, b in zip(one, other, strict=True)]
        return dots[0] if len(dots) == 1 else self.vector(dots).sum()

    def activity(self, array: Tensor, channel_axis: int) -> tuple[Tensor, Tensor]:
        """Return the share of active elements, and of dead channels."""
        active = array.abs() > EPSILON
        axis = channel_axis % array.ndim if array.ndim > 1 else None
        return _rates(active, axis)

    def unit_activity(self, arrays: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the share of elements that are not zero, and of rows without any."""
        if len(arrays) == 1:
            return _rates(arrays[0] != 0, 0 if arrays[0].ndim else None)
        rows = [(a != 0).flatten(1 if a.ndim > 1 else 0).reshape(a.shape[0], -1) for a in arrays]
        active = torch.stack([row.sum() for row in rows]).sum()
        deaths = torch.cat([~row.any(1) for row in rows])
        return active / sum(a.numel() for a in arrays), deaths.float().mean()

    def largest(self, array: Tensor) -> Tensor:
        """Return the largest magnitude."""
        if array.is_complex():
            array = torch.view_as_real(array)
        low, high = torch.aminmax(array)  # of a NaN both are NaN
        return torch.maximum(-low, high)

    def extremes(self, array: Tensor, exact_up_to: int) -> Tensor:
        """Return the extreme singular values."""
        matrix = array.reshape(array.shape[0], -1)
        matrix = matrix.to(torch.float32 if matrix.device.type == "mps" else torch.float64)
        usable = matrix.isfinite().all()  # not asked: that would wait for the device
        matrix = torch.where(usable, matrix, 0.0)
        if min(matrix.shape) > exact_up_to:
            chance = torch.Generator().manual_seed(0)  # its own, so that nobody else's moves on
            start = torch.randn(matrix.shape[1], generator=chance, dtype=matrix.dtype)
            matrix = golub_kahan(matrix, start.to(matrix.device), torch)
        values = torch.linalg.svdvals(matrix)[[0, -1]].float()
        return torch.where(usable, values, torch.nan)

    def sample(self, array: Tensor, most: int) -> tuple[Tensor, int]:
        """Return some elements, and how many there were."""
        flat = (array.abs() if array.is_complex() else array).reshape(-1)
        some = flat[:: -(-flat.numel() // most)][:most]
        return (some.float() if some.dtype in _SMALL else some.clone()), flat.numel()

    def bytes(self, array: Tensor) -> int:
        """Return the memory taken."""
        return array.numel() * array.element_size()

    def count(self, array: Tensor) -> int:
        """Return the number of elements."""
        return array.numel()

    def floats(self, numbers: Sequence[Any]) -> list[float]:
        """Return numbers as Python's."""
        tensors = [number for number in numbers if isinstance(number, Tensor)]
        found = iter(self.vector([t.float() for t in tensors]).tolist() if tensors else ())
        return [next(found) if isinstance(number, Tensor) else float(number) for number in numbers]


def first_tensor(output: Any) -> Tensor | None:
    """Return the first tensor of floating point that has an element, as it is."""
    for leaf in (output,) if type(output) is Tensor else leaves(output):
        if (
            isinstance(leaf, Tensor)
            and (leaf.is_floating_point() or leaf.is_complex())
            and leaf.numel()
            and leaf.layout is torch.strided
            and not leaf.is_meta
        ):
            return leaf
    return None


def _dot(one: Tensor, other: Tensor) -> Tensor:
    if one.dtype in _SMALL:
        one, other = one.float(), other.float()
    product = torch.vdot if one.is_complex() else torch.dot
    return product(one.reshape(-1), other.reshape(-1)).real


def _rates(active: Tensor, axis: int | None) -> tuple[Tensor, Tensor]:
    if axis is None:
        rate = active.float().mean()
        return rate, (rate == 0).float()
    others = [number for number in range(active.ndim) if number != axis]
    counts = active.sum(others, dtype=torch.float32) if others else active.float()
    return counts.sum() / active.numel(), (counts == 0).float().mean()


class DevicePool:
    """Numbers on their way to statistics, which cross from each device once, at the drain.

    In between, and so that many do not take much memory, they are packed into vectors on their
    device; beyond a million they cross early.
    """

    _PACK, _MOST = 4096, 2**20

    def __init__(self) -> None:
        self._lanes: dict[tuple[torch.device, torch.dtype], _Lane] = {}
        self._waiting = 0

    def _lane(self, numbers: Tensor) -> _Lane:
        place = (numbers.device, numbers.dtype)
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = _Lane()
        return lane

    def put(self, target: Any, number: Any) -> None:
        """Take a number."""
        if not isinstance(number, Tensor):
            target.add(float(number))
            return
        lane = self._lane(number)
        lane.targets.append(target)
        lane.numbers.append(number)
        if len(lane.numbers) >= self._PACK:
            self._waiting += lane.pack()
            if self._waiting > self._MOST:
                self.drain()

    def put_many(self, targets: Sequence[Any], numbers: Tensor) -> None:
        """Take a number for each target."""
        self._lane(numbers).vectors.append((list(targets), numbers))

    def put_vector(self, target: Any, numbers: Tensor) -> None:
        """Take several numbers for one target."""
        self._lane(numbers).vectors.append((target, numbers))
        self._waiting += numbers.numel()
        if self._waiting > self._MOST:
            self.drain()

    def drain(self) -> None:
        """Take everything to its target."""
        lanes, self._lanes, self._waiting = self._lanes, {}, 0
        for lane in lanes.values():
            lane.drain()

    def clear(self) -> None:
        """Forget everything."""
        self._lanes, self._waiting = {}, 0


class _Lane:
    """What waits on one device in one precision."""

    __slots__ = ("numbers", "targets", "vectors")

    def __init__(self) -> None:
        self.targets: list[Any] = []
        self.numbers: list[Tensor] = []
        self.vectors: list[tuple[Any, Tensor]] = []

    def pack(self) -> int:
        count = len(self.numbers)
        if count:
            self.vectors.append((self.targets, torch.stack(self.numbers)))
            self.targets, self.numbers = [], []
        return count

    def drain(self) -> None:
        self.pack()
        if not self.vectors:
            return
        parts = [numbers.reshape(-1) for _, numbers in self.vectors]
        everything = (parts[0] if len(parts) == 1 else torch.cat(parts)).to("cpu")
        if everything.dtype in _SMALL or not everything.is_floating_point():
            everything = everything.double()
        numbers = everything.numpy()
        places: dict[int, tuple[Any, list[int]]] = {}
        at = 0
        for targets, part in self.vectors:
            if not isinstance(targets, list):
                targets.add(numbers[at : at + part.numel()])
            else:
                for place, target in enumerate(targets, at):
                    found = places.get(id(target))
                    if found is None:
                        places[id(target)] = (target, [place])
                    else:
                        found[1].append(place)
            at += part.numel()
        for target, chosen in places.values():
            target.add(numbers[chosen])
