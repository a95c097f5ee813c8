"""Turning a value of any library into one number: its own, or the mean of the numbers in it.

A wrong number is worse than none. Masked numbers do not count. A complex number, a text, a date, a
quantity with a unit and a number beyond the greatest float are refused, alone or in an array.
"""

from __future__ import annotations

import math
import sys
from typing import Any


def as_number(value: object) -> float:
    """Return a value as a float: the mean of several numbers, NaN for none.

    Raises `TypeError`, with the reason, for a value without real numbers.
    """
    try:
        return _mean(value)[0]
    except TypeError:
        raise
    except Exception as error:
        # A library may raise anything for a value that it cannot turn into numbers.
        raise TypeError(str(error) or type(error).__name__) from error


def _mean(value: Any) -> tuple[float, int]:
    """Return the mean of the numbers in a value, and their count."""
    if isinstance(value, (bool, int, float)):
        return float(value), 1
    if isinstance(value, (list, tuple)):
        return _mean_of_items(value)
    if isinstance(value, (str, bytes)) or value is None:
        raise TypeError(f"a {type(value).__name__} is no number")
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        return _mean_of_tensor(torch, value)
    if hasattr(type(value), "detach") and not hasattr(value, "__array__"):
        tensor = value.detach().cpu()  # a library with the interface of PyTorch
        if tensor.is_complex():
            raise TypeError("complex numbers have no order")
        return float(tensor.double().mean().item()), math.prod(tensor.shape)
    if hasattr(value, "shape") or hasattr(value, "__array__"):
        if numpy is None:
            import numpy
        array = real_array(value)
        return _mean_of_array(numpy, array), array.size
    number = value.item() if callable(getattr(value, "item", None)) else value
    if isinstance(number, (str, bytes, complex)):
        raise TypeError(f"a {type(number).__name__} is no real number")
    found = float(number)
    if math.isinf(found) and found != number:
        raise TypeError("it is beyond the greatest float")
    return found, 1


def is_masked(value: object) -> bool:
    """Return whether a value has a mask, which may hide some of its numbers."""
    numpy = sys.modules.get("numpy")
    return (numpy is not None and isinstance(value, numpy.ma.MaskedArray)) or hasattr(
        value, "get_mask"
    )


def hides(value: object) -> bool:
    """Return whether the mask of a value hides something."""
    if hasattr(value, "get_mask"):
        return not bool(value.get_mask().all())
    numpy = sys.modules["numpy"]
    return bool(numpy.ma.getmaskarray(value).any())


def _mean_of_items(items: Any) -> tuple[float, int]:
    parts = [_mean(item) for item in items]
    count = sum(size for _, size in parts)
    if not count:
        return math.nan, 0
    return math.fsum(mean * (size / count) for mean, size in parts if size), count


def _mean_of_tensor(torch: Any, tensor: Any) -> tuple[float, int]:
    if hasattr(tensor, "get_mask"):  # torch.masked
        tensor = tensor.get_data()[tensor.get_mask()]
    if hasattr(tensor, "full_tensor"):
        raise TypeError("it is spread over devices: collect tensor.full_tensor(), on all of them")
    tensor = tensor.detach()
    if tensor.is_complex():
        raise TypeError("complex numbers have no order: collect value.abs()")
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    elif tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    count = tensor.numel()
    if not count:
        return math.nan, 0
    double = tensor.double()
    mean = float(double.mean().item())
    if math.isinf(mean) and bool(torch.isfinite(double).all()):
        mean = float((double / count).sum().item())  # the sum was too large, not the mean
    return mean, count


def real_array(value: Any) -> Any:
    """Return the numbers of an array as float64, in one row, without masked ones.

    Raises `TypeError` for an array of anything else.
    """
    import numpy

    if isinstance(value, numpy.ma.MaskedArray):
        value = value.compressed()
    elif _has_unit(value):
        value = numpy.asarray(float(value.mean() if getattr(value, "shape", ()) else value))
    array = numpy.asarray(value).reshape(-1)
    kind = array.dtype.kind
    if kind == "O":
        found = [_mean(item)[0] for item in array.tolist()]
        return numpy.array(found, dtype=float)
    if kind not in "biuf" and not (kind == "V" and array.dtype.isbuiltin == 2):  # bfloat16
        advice = {"c": ": collect abs(value)", "m": ": collect the seconds of it"}.get(kind, "")
        raise TypeError(f"{array.dtype} is no kind of real numbers{advice}")
    with numpy.errstate(all="ignore"):
        double = array.astype(float)
    if array.dtype.itemsize > 8 and (numpy.isinf(double) & ~numpy.isinf(array)).any():
        raise TypeError("it is beyond the greatest float")
    return double


def shaped_array(value: Any) -> Any:
    """Return an array of real numbers as float64, in its shape, with masked numbers as well.

    Raises `TypeError` for an array of anything else.
    """
    import numpy

    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        if value.is_complex():
            raise TypeError("complex numbers have no order: collect value.abs()")
        return value.detach().double().cpu().numpy()
    array = numpy.asarray(numpy.ma.getdata(value))
    return real_array(array).reshape(array.shape)


def _has_unit(value: object) -> bool:
    """Return whether a value is a quantity, whose unit NumPy would drop."""
    unit = getattr(value, "unit", None) or getattr(value, "units", None)
    return unit is not None and callable(getattr(value, "to", None)) and hasattr(value, "mean")


def _mean_of_array(numpy: Any, array: Any) -> float:
    if not array.size:
        return math.nan
    with numpy.errstate(all="ignore"):  # infinities that cancel out show in the result
        mean = float(array.mean())
        if math.isinf(mean) and numpy.isfinite(array).all():
            mean = float((array / array.size).sum())
    return mean
