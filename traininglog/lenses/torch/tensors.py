"""The array operations of lenses in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.linalg import vector_norm

from traininglog.lenses.numbers.operations import (
    EPSILON,
    Activity,
    ArrayOperations,
    golub_kahan,
    leaves,
)

#: A device (None for the CPU) and a precision.
Place: TypeAlias = "tuple[torch.device | None, torch.dtype]"  # a text, for readers without PyTorch

_SMALL = (torch.float16, torch.bfloat16)

_PLAIN = (Tensor, torch.nn.Parameter)

# PyTorch has no public function for this. Without the private one, a wrapped tensor raises later,
# and the error is counted.
_is_wrapped: Any = getattr(
    getattr(torch._C, "_functorch", None), "is_functorch_wrapped_tensor", lambda tensor: False
)

# A limit, as shapes can change from batch to batch.
_MOST_MASKS = 256


class TorchArrays(ArrayOperations):
    """The operations in PyTorch, on detached tensors. Half precision is summed in single."""

    def __init__(self) -> None:
        self._scratch: dict[torch.dtype, Tensor] = {}
        self._masks: dict[tuple[torch.dtype, torch.Size], Tensor] = {}  # views of `_scratch`
        self._shared: Tensor | None = None
        self._shared_norm: Tensor | None = None

    def first(self, output: Any) -> Any:
        """Return the first floating point tensor, detached from the graph, or None."""
        found = first_tensor(output)
        return None if found is None else found.detach()

    def copy(self, arrays: Sequence[Tensor], into: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return copies."""
        if into is None:
            return [array.clone() for array in arrays]
        for target, array in zip(into, arrays, strict=True):
            target.copy_(array)
        return list(into)

    def share(self, array: Tensor | None) -> None:
        """Cache the norm of this array, for all callers of `norm`, until the next call."""
        self._shared, self._shared_norm = array, None

    def same_shapes(self, some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
        """Return whether two lists of tensors have the same shapes, precisions and devices."""
        return all(
            one.shape == other.shape and one.dtype is other.dtype and one.device == other.device
            for one, other in zip(some, others, strict=False)
        ) and len(some) == len(others)

    def norm(self, arrays: Sequence[Tensor]) -> Tensor:
        """Return the joint norm."""
        if len(arrays) == 1:
            array = arrays[0]
            if array is not self._shared:
                return _norm(array)
            if self._shared_norm is None:
                self._shared_norm = _norm(array)
            return self._shared_norm
        return vector_norm(_vector([self.norm([array]) for array in arrays]))

    def each_norm(self, arrays: Sequence[Tensor]) -> list[Tensor]:
        """Return the norm of each tensor, by one call for all."""
        if any(array.dtype in _SMALL for array in arrays):
            return [self.norm([array]) for array in arrays]
        return list(torch._foreach_norm(list(arrays)))

    def sample_norms(self, array: Tensor) -> Tensor:
        """Return the norms of samples."""
        dtype = torch.float32 if array.dtype in _SMALL else None
        if array.ndim < 2:
            return array.abs().reshape(-1).to(dtype)
        if array.ndim > 2 and array.is_contiguous():
            array = array.flatten(1)
        return vector_norm(array, dim=tuple(range(1, array.ndim)), dtype=dtype)

    def batch_mean(self, array: Tensor) -> Tensor:
        """Return the mean over the batch."""
        return array.mean(0) if array.ndim else array.clone()

    def dot(self, one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """Return the scalar product."""
        dots = [_dot(a, b) for a, b in zip(one, other, strict=True)]
        return dots[0] if len(dots) == 1 else _vector(dots).sum()

    def activity(self, array: Tensor, channel_axis: int) -> Activity:
        """Count active elements."""
        axis = channel_axis % array.ndim if array.ndim > 1 else None
        return self._activity(array, axis, EPSILON)

    def unit_activity(self, arrays: Sequence[Tensor], unit_axis: int = 0) -> Activity:
        """Count non-zero elements."""
        found = [
            self._activity(
                array, None if not array.ndim else unit_axis % array.ndim if unit_axis else 0, 0.0
            )
            for array in arrays
        ]
        if len(found) == 1:
            return found[0]
        counts, elements = zip(*found, strict=True)
        return Activity(torch.cat([part.to(counts[0]) for part in counts]), sum(elements))

    def _activity(self, array: Tensor, axis: int | None, epsilon: float) -> Activity:
        # `sign` is NaN if the array has a NaN, and at most zero otherwise. So the maximum of `sign`
        # and a count is the count, or NaN.
        sign = self.norm([array]).neg() if epsilon == 0 else None
        if array.is_complex():
            array = array.abs()
        units = 1 if axis is None else array.shape[axis]
        total = torch.float32 if array.dtype in _SMALL else array.dtype
        if axis is not None and not (array.is_contiguous() and axis < 2):
            others = [number for number in range(array.ndim) if number != axis]
            mask, sign = _mask(array, epsilon, torch.empty_like(array), sign)
            counts = mask.sum(others, dtype=total) if others else mask.to(total)
            return Activity(torch.maximum(counts, sign), mask.numel())
        # Summing the rows of a matrix is by far the fastest.
        rows = units if axis == 0 else array.shape[0] * units if axis == 1 else 1
        array = array.view(rows, -1)
        if rows < array.numel():
            mask, sign = _mask(array, epsilon, self._memory(array), sign)
            counts = mask.sum(1, dtype=total)
        else:  # one element per row: if it is not summed below, it must not use shared memory
            out = self._memory(array) if axis == 1 else torch.empty_like(array)
            mask, sign = _mask(array, epsilon, out, sign)
            counts = mask.view(-1)
        if axis == 1:
            counts = counts.view(-1, units).sum(0, dtype=total)
        elif counts.dtype is not total:
            counts = counts.to(total)
        return Activity(torch.maximum(counts, sign), array.numel())

    def _memory(self, like: Tensor) -> Tensor:
        """Return memory for a mask. On a CPU it is reused, as new memory is slow."""
        if not like.is_cpu:
            return torch.empty_like(like)
        place = like.dtype, like.shape
        mask = self._masks.get(place)
        if mask is None:
            scratch, count = self._scratch.get(like.dtype), like.numel()
            larger = scratch is None or scratch.numel() < count
            if larger or len(self._masks) >= _MOST_MASKS:
                self._masks.clear()
            if scratch is None or larger:
                with torch.inference_mode(mode=False):  # else it could be used only in inference
                    scratch = self._scratch[like.dtype] = torch.empty(count, dtype=like.dtype)
            mask = self._masks[place] = scratch[:count].view(like.shape)
        return mask

    def clear(self) -> None:
        """Release the memory."""
        self._scratch.clear()
        self._masks.clear()

    def magnitude(self, array: Tensor) -> Any:
        """Return the norm, or the greatest magnitude."""
        norm = self.norm([array])
        if norm.is_cpu:  # reading it needs no wait, and a Python number is cheaper later
            number = norm.item()
            return number if math.isfinite(number) else _greatest(array).item()
        return torch.where(norm.isfinite(), norm, _greatest(array))

    def extremes(self, array: Tensor, exact_up_to: int) -> Tensor:
        """Return the extreme singular values."""
        matrix = array.reshape(array.shape[0], -1)
        exact = min(matrix.shape) <= exact_up_to and matrix.device.type != "mps"
        matrix = matrix.to(torch.float64 if exact else torch.float32)
        low, high = torch.aminmax(matrix)
        usable = low.isfinite() & high.isfinite()  # no `if`, which would wait for the device
        matrix = torch.where(usable, matrix, 0.0)
        if min(matrix.shape) > exact_up_to:
            chance = torch.Generator().manual_seed(0)  # leaves the program's generators unchanged
            start = torch.randn(min(matrix.shape), generator=chance, dtype=matrix.dtype)
            matrix = golub_kahan(matrix, start.to(matrix.device), torch)
        values = torch.linalg.svdvals(matrix)[[0, -1]].float()
        return torch.where(usable, values, torch.nan)

    def sample(self, array: Tensor, most: int) -> tuple[Tensor, int]:
        """Return evenly spaced elements, and the number of all."""
        flat = (array.abs() if array.is_complex() else array).reshape(-1)
        some = flat[:: -(-flat.numel() // most)][:most]
        return (some.float() if some.dtype in _SMALL else some.clone()), flat.numel()

    def bytes(self, array: Tensor) -> int:
        """Return the memory in bytes."""
        return array.numel() * array.element_size()

    def count(self, array: Tensor) -> int:
        """Return the number of elements."""
        return array.numel()

    def floats(self, numbers: Sequence[Any]) -> list[float]:
        """Return numbers as Python floats."""
        tensors = [number for number in numbers if isinstance(number, Tensor)]
        found = iter(_vector([t.float() for t in tensors]).tolist() if tensors else ())
        return [next(found) if isinstance(number, Tensor) else float(number) for number in numbers]


def first_tensor(output: Any) -> Tensor | None:
    """Return the first floating point tensor that is not empty, without detaching it, or None."""
    for leaf in (output,) if type(output) is Tensor else leaves(output):
        if (
            isinstance(leaf, Tensor)
            and (leaf.is_floating_point() or leaf.is_complex())
            and leaf.numel()
            and leaf.layout is torch.strided
            and not leaf.is_meta
        ):
            return whole(leaf)
    return None


def is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor is of PyTorch's own classes, which hold all their numbers."""
    return type(tensor) in _PLAIN


def whole(tensor: Tensor) -> Tensor | None:
    """Return a tensor with all its numbers in this process now, or None if that is impossible.

    It is impossible within the transforms of `torch.func` (their tensors represent several tensors
    or none), in a model that is only traced or on the device "meta", and if a `DTensor` is sharded
    over several processes.
    """
    if type(tensor) in _PLAIN:
        return None if tensor.is_meta or _is_wrapped(tensor) else tensor
    if hasattr(tensor, "placements") and hasattr(tensor, "to_local"):
        if any(placement.is_partial() for placement in tensor.placements):
            return None
        parts: Any = tensor.detach()
        local: Tensor = parts.to_local()
        return local if local.shape == tensor.shape else None
    if type(tensor).__name__ in ("FakeTensor", "FunctionalTensor") or tensor.is_meta:
        return None
    return None if _is_wrapped(tensor) else tensor


def without_numbers(output: Any) -> Tensor | None:
    """Return the first floating point tensor for which `whole` is None."""
    for leaf in leaves(output):
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and whole(leaf) is None:
            return leaf
    return None


def _norm(array: Tensor) -> Tensor:
    return vector_norm(array, dtype=torch.float32 if array.dtype in _SMALL else None)


def _mask(array: Tensor, epsilon: float, out: Tensor, sign: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return 1 for each magnitude above `epsilon`, else 0; for an epsilon of 0, 1 for non-zeros.

    The mask has floats: on a CPU, comparisons to booleans take six times as long. The second result
    is NaN if the array has a NaN, see `sign` in `TorchArrays._activity`.
    """
    if sign is not None:
        return torch.ne(array, 0, out=out), sign
    magnitudes = torch.abs(array, out=out)
    small = array.dtype in _SMALL
    sign = magnitudes.sum(dtype=torch.float32 if small else None).neg_()
    return magnitudes.gt_(epsilon), sign


def _greatest(array: Tensor) -> Tensor:
    """Return the greatest magnitude without a copy; for complex numbers, that of their parts."""
    low, high = torch.aminmax(torch.view_as_real(array) if array.is_complex() else array)
    return torch.maximum(-low, high)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    if one.dtype in _SMALL:
        one, other = one.float(), other.float()
    if one.ndim != 1:
        one, other = one.reshape(-1), other.reshape(-1)
    return torch.vdot(one, other).real if one.is_complex() else torch.dot(one, other)


def _vector(numbers: Sequence[Tensor]) -> Tensor:
    """Return scalars as one vector, on the device and in the precision of the first."""
    first = numbers[0]
    return torch.stack(list(numbers) if _alike(numbers) else [n.to(first) for n in numbers])


def _alike(numbers: Sequence[Tensor]) -> bool:
    """Return whether all tensors are on one device and of one precision."""
    place = place_of(numbers[0])
    for number in numbers:  # noqa: SIM110 - a generator takes twice as long
        if place_of(number) != place:
            return False
    return True


def place_of(numbers: Tensor) -> Place:
    """Return device and precision of a tensor. On the CPU it skips `.device`, which is slow."""
    return None if numbers.is_cpu else numbers.device, numbers.dtype
