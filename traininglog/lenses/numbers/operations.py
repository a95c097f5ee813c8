"""Operations on arrays for lenses, and their NumPy version; PyTorch's is in the folder `torch`.

The results are scalars and vectors of the library itself, so that nothing waits for a device.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

#: An element is active if its magnitude exceeds this.
EPSILON = 1e-8


class Activity(NamedTuple):
    """The number of active elements."""

    counts: Any  #: a vector: active elements of each unit; all NaN if the array has a NaN
    elements: int  #: the number of all elements of all units


class ArrayOperations(ABC):
    """Operations on the arrays of one library."""

    @abstractmethod
    def first(self, output: Any) -> Any:
        """Return the first floating point array in a module's output, detached from the graph.

        It searches tuples, lists and mappings. Returns None if there is none, or it is empty.
        """

    @abstractmethod
    def copy(self, arrays: Sequence[Any], into: Sequence[Any] | None = None) -> list[Any]:
        """Return copies. They reuse the memory of `into`, earlier copies of the same shapes."""

    @abstractmethod
    def sample_norms(self, array: Any) -> Any:
        """Return the L2 norm of each sample (along the first axis), as a new vector."""

    @abstractmethod
    def batch_mean(self, array: Any) -> Any:
        """Return the mean over the batch, the first axis."""

    @abstractmethod
    def dot(self, one: Sequence[Any], other: Sequence[Any]) -> Any:
        """Return the scalar product of two lists of arrays; each list counts as one vector."""

    @abstractmethod
    def activity(self, array: Any, channel_axis: int) -> Activity:
        """Count the active elements of each channel, with a magnitude above `EPSILON`.

        If the array has a NaN, every count is NaN.
        """

    @abstractmethod
    def unit_activity(self, arrays: Sequence[Any], unit_axis: int = 0) -> Activity:
        """Count the non-zero elements of each unit; all counts are NaN if there is a NaN.

        The units are along the axis `unit_axis`. Each element of a vector is a unit.
        """

    @abstractmethod
    def norm(self, arrays: Sequence[Any]) -> Any:
        """Return the L2 norm of arrays as one vector, at least in single precision."""

    @abstractmethod
    def count(self, array: Any) -> int:
        """Return the number of elements of an array."""

    @abstractmethod
    def magnitude(self, array: Any) -> Any:
        """Return the L2 norm. It is infinite or NaN only if the array has such an element.

        If the norm overflows, return the greatest magnitude instead.
        """

    @abstractmethod
    def extremes(self, array: Any, exact_up_to: int) -> Any:
        """Return the greatest and the least singular value of a weight, as a vector of two.

        The weight is reshaped to a matrix: its first axis against all others. If the shorter side
        is longer than `exact_up_to`, the values are estimates, see `golub_kahan`.
        """

    @abstractmethod
    def sample(self, array: Any, most: int) -> tuple[Any, int]:
        """Return at most `most` evenly spaced elements as a vector, and the number of all."""

    @abstractmethod
    def bytes(self, array: Any) -> int:
        """Return the memory of an array in bytes."""

    @abstractmethod
    def floats(self, numbers: Sequence[Any]) -> list[float]:
        """Return numbers as Python floats, with one wait for the device."""

    def same_shapes(self, some: Sequence[Any], others: Sequence[Any]) -> bool:
        """Return whether two lists of arrays have the same shapes."""
        return [array.shape for array in some] == [array.shape for array in others]


class NumpyArrays(ArrayOperations):
    """The operations in NumPy. Objects with ``__array__``, such as JAX's arrays, are converted."""

    def first(self, output: Any) -> Any:
        """Return the first floating point array, or None."""
        for leaf in leaves(output):
            if hasattr(leaf, "__array__") or isinstance(leaf, (float, np.floating)):
                array = np.asarray(leaf)
                if array.dtype.kind in "fc" and array.size:
                    return _wide(array)
        return None

    def copy(self, arrays: Sequence[Any], into: Sequence[Any] | None = None) -> list[Any]:
        """Return copies."""
        return [np.array(array) for array in arrays]

    def sample_norms(self, array: Any) -> Any:
        """Return the norms of samples."""
        return np.linalg.norm(_rows(array), axis=1)

    def batch_mean(self, array: Any) -> Any:
        """Return the mean over the batch."""
        return array.mean(axis=0) if array.ndim else array

    def dot(self, one: Sequence[Any], other: Sequence[Any]) -> Any:
        """Return the scalar product."""
        return sum(float(np.vdot(a, b).real) for a, b in zip(one, other, strict=True))

    def activity(self, array: Any, channel_axis: int) -> Activity:
        """Count active elements."""
        active = np.abs(array) > EPSILON
        channels = np.moveaxis(active, channel_axis, 0) if active.ndim > 1 else active[None]
        return _activity(channels, array)

    def unit_activity(self, arrays: Sequence[Any], unit_axis: int = 0) -> Activity:
        """Count elements that are not zero."""
        found = []
        for array in arrays:
            units = np.moveaxis(array, unit_axis, 0) if array.ndim > 1 else array
            found.append(_activity(_rows(units != 0), array))
        counts, elements = zip(*found, strict=True)
        return Activity(np.concatenate(counts), sum(elements))

    def norm(self, arrays: Sequence[Any]) -> Any:
        """Return the joint norm."""
        norms = [np.linalg.norm(_wide(array).reshape(-1)) for array in arrays]
        return float(np.linalg.norm(norms))

    def count(self, array: Any) -> int:
        """Return the number of elements."""
        return int(array.size)

    def magnitude(self, array: Any) -> Any:
        """Return the norm, or the greatest magnitude."""
        with np.errstate(over="ignore", invalid="ignore"):
            norm = self.norm([array])
        return norm if math.isfinite(norm) else float(np.abs(array).max())

    def extremes(self, array: Any, exact_up_to: int) -> Any:
        """Return the extreme singular values."""
        matrix = np.asarray(array, dtype=np.float64)
        matrix = matrix.reshape(matrix.shape[0], -1)
        if not np.isfinite(matrix).all():
            return np.full(2, np.nan)
        if min(matrix.shape) > exact_up_to:
            start = np.random.default_rng(0).standard_normal(min(matrix.shape))
            matrix = golub_kahan(matrix, start, np)
        values = np.linalg.svd(matrix, compute_uv=False)
        return values[[0, -1]]

    def sample(self, array: Any, most: int) -> tuple[Any, int]:
        """Return evenly spaced elements, and the number of all."""
        flat = np.asarray(array).reshape(-1)
        return flat[:: -(-flat.size // most)][:most], flat.size

    def bytes(self, array: Any) -> int:
        """Return the memory in bytes."""
        return int(array.nbytes)

    def floats(self, numbers: Sequence[Any]) -> list[float]:
        """Return numbers as Python floats."""
        return [float(number) for number in numbers]


def leaves(output: Any) -> Iterator[Any]:
    """Yield the leaves of nested tuples, lists and mappings, in order."""
    if isinstance(output, Mapping):
        for value in output.values():
            yield from leaves(value)
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from leaves(value)
    else:
        yield output


def golub_kahan(matrix: Any, start: Any, library: Any, steps: int = 32) -> Any:
    """Return a small bidiagonal matrix whose extreme singular values approach those of `matrix`.

    Golub and Kahan, "Calculating the Singular Values and Pseudo-Inverse of a Matrix" (1965), with
    full reorthogonalization. `start` is a vector of the length of the shorter side. After these
    steps the greatest value is very accurate. The least value is an overestimate, so a condition
    number from it is a lower bound.
    """
    if matrix.shape[0] < matrix.shape[1]:  # else the least value could belong to the null space
        matrix = matrix.T
    steps = min(steps, *matrix.shape)
    right = library.stack([0 * matrix[0]] * steps)  # one vector per row
    right[0] = start / library.linalg.norm(start)
    left = library.stack([0 * matrix[:, 0]] * steps)
    diagonal, above = [], []
    for step in range(steps):
        u = _apart(matrix @ right[step], left[:step])
        diagonal.append(library.linalg.norm(u))
        left[step] = u / (diagonal[-1] + (diagonal[-1] == 0))
        if step + 1 < steps:
            v = _apart(matrix.T @ left[step], right[: step + 1])
            above.append(library.linalg.norm(v))
            right[step + 1] = v / (above[-1] + (above[-1] == 0))
    small = library.diag(library.stack(diagonal))
    return small + library.diag(library.stack(above), 1) if above else small


def _apart(vector: Any, others: Any) -> Any:
    """Return the component of a vector orthogonal to others. Rounding requires two passes."""
    for _ in range(2):
        vector = vector - others.T @ (others @ vector)
    return vector


def _activity(units: Any, array: Any) -> Activity:
    counts = np.count_nonzero(units.reshape(units.shape[0], -1), axis=1)
    if np.isnan(array).any():
        counts = np.full(counts.shape, np.nan)
    return Activity(counts, units.size)


def _rows(array: Any) -> Any:
    return array.reshape(array.shape[0], -1) if array.ndim else array.reshape(1, 1)


def _wide(array: Any) -> Any:
    """Return an array in at least single precision."""
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype == np.float16 else array
