"""What lenses ask of arrays, and how NumPy answers; PyTorch's answers are in the folder `torch`.

Numbers come back as the library's own scalars and vectors, so that nothing waits for a device.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

#: Below this, an output counts as not active.
EPSILON = 1e-8


class Activity(NamedTuple):
    """How many elements are active."""

    counts: Any  #: a vector: how many of each unit; all NaN where a NaN is in the array
    elements: int  #: how many there are, of all units together


class ArrayOperations(ABC):
    """Operations on the arrays of one library."""

    @abstractmethod
    def first(self, output: Any) -> Any:
        """Return the first array of floating point in what a module gave, out of the graph.

        It looks into tuples, lists and mappings. None where there is none, or it is empty.
        """

    @abstractmethod
    def copy(self, arrays: Sequence[Any], into: Sequence[Any] | None = None) -> list[Any]:
        """Return copies; in the memory of earlier ones, of the same shapes, if there are some."""

    @abstractmethod
    def sample_norms(self, array: Any) -> Any:
        """Return the L2 norm of each sample (of the first axis), as a vector of its own memory."""

    @abstractmethod
    def batch_mean(self, array: Any) -> Any:
        """Return the mean over the batch, the first axis."""

    @abstractmethod
    def dot(self, one: Sequence[Any], other: Sequence[Any]) -> Any:
        """Return the scalar product of two lists of arrays, each taken as one vector."""

    @abstractmethod
    def activity(self, array: Any, channel_axis: int) -> Activity:
        """Count in each channel the elements that are active: of a magnitude above `EPSILON`.

        Of what has a NaN nobody can tell: then every count is NaN.
        """

    @abstractmethod
    def unit_activity(self, arrays: Sequence[Any], unit_axis: int = 0) -> Activity:
        """Count in each unit the elements that are not zero; NaN, as `activity` does.

        The units are the rows of the axis `unit_axis`; what has one axis only is a row of units.
        """

    @abstractmethod
    def norm(self, arrays: Sequence[Any]) -> Any:
        """Return the L2 norm of arrays taken as one vector, at least in single precision."""

    @abstractmethod
    def count(self, array: Any) -> int:
        """Return how many elements an array has."""

    @abstractmethod
    def magnitude(self, array: Any) -> Any:
        """Return the L2 norm; an infinity or NaN only where there is one in the array.

        Where the norm is beyond the greatest number, it is the greatest magnitude instead.
        """

    @abstractmethod
    def extremes(self, array: Any, exact_up_to: int) -> Any:
        """Return the greatest and the least singular value of a weight, as a vector of two.

        The weight is taken as a matrix: its first axis against all others. See `golub_kahan` for
        what is done where its shorter side is longer than `exact_up_to`.
        """

    @abstractmethod
    def sample(self, array: Any, most: int) -> tuple[Any, int]:
        """Return at most `most` elements in even distance, as a vector, and how many there were."""

    @abstractmethod
    def bytes(self, array: Any) -> int:
        """Return how much memory an array takes."""

    @abstractmethod
    def floats(self, numbers: Sequence[Any]) -> list[float]:
        """Return numbers as Python's, waiting for the device once."""

    def same_shapes(self, some: Sequence[Any], others: Sequence[Any]) -> bool:
        """Tell whether arrays have the shapes of others."""
        return [array.shape for array in some] == [array.shape for array in others]


class NumpyArrays(ArrayOperations):
    """NumPy's answers; what has an ``__array__``, as JAX's arrays have, is converted."""

    def first(self, output: Any) -> Any:
        """Return the first array of floating point, or None."""
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
        """Return some elements, and how many there were."""
        flat = np.asarray(array).reshape(-1)
        return flat[:: -(-flat.size // most)][:most], flat.size

    def bytes(self, array: Any) -> int:
        """Return the memory taken."""
        return int(array.nbytes)

    def floats(self, numbers: Sequence[Any]) -> list[float]:
        """Return numbers as Python's."""
        return [float(number) for number in numbers]


def leaves(output: Any) -> Iterator[Any]:
    """Give what stands in nested tuples, lists and mappings, in order."""
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
    every vector made orthogonal to all before, from a vector as long as the shorter side. The
    greatest is very near after these steps; the least comes out too great, so that a condition
    number of it is a lower bound.
    """
    if matrix.shape[0] < matrix.shape[1]:  # or the least would be of a vector that it makes zero
        matrix = matrix.T
    steps = min(steps, *matrix.shape)
    right = library.stack([0 * matrix[0]] * steps)  # a vector a row
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
    """Return what of a vector is orthogonal to others; once is not enough for rounded numbers."""
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
