"""The values that a log refuses, and the remedy: what to store instead.

This module imports no library to recognize its objects. It knows them by the name of their class,
by the module that defines it, and by its methods.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from pathlib import PurePath
from typing import NoReturn

from traininglog.errors import ValueTypeError

_NOTHING = "leave the value out, or store None"

#: By the name of a class, or of one that it derives from.
_BY_NAME = {
    "complex": "store value.real and value.imag under two keys",
    "Decimal": "store float(value), or str(value) to keep every digit",
    "Fraction": "store float(value), or str(value)",
    "bytearray": "store bytes(value)",
    "memoryview": "store bytes(value)",
    "range": "store list(value)",
    "NaTType": _NOTHING,
    "NAType": _NOTHING,
    "MaskedConstant": _NOTHING,
    "date": "store value.isoformat(), or a datetime",
    "time": "store value.isoformat()",
    "timedelta": "store value.total_seconds()",
    "timedelta64": "store a float of seconds: value / numpy.timedelta64(1, 's')",
    "DataFrame": "store value.to_dict('list'), or save it to a file and store the path",
    "Series": "store value.to_numpy() or value.to_list()",
    "MaskedArray": "store value.filled(...)",
    "Namespace": "store vars(value), a dict",
    "SimpleNamespace": "store vars(value), a dict",
    "ConfigParser": "store {name: dict(value[name]) for name in value}",
    "function": "store what it returns, or its name",
}

#: By an attribute of the class; the first that fits counts.
_BY_ATTRIBUTE = {
    "__dataclass_fields__": "store dataclasses.asdict(value), a dict",
    "__attrs_attrs__": "store attrs.asdict(value), a dict",
    "model_dump": "store value.model_dump(), a dict",
    "__struct_fields__": "store msgspec.structs.asdict(value), a dict",
    "__fields_set__": "store value.dict()",  # pydantic 1
    "detach": "store value.detach().cpu().numpy(), or one number per key",
    "to_numpy": "store value.to_numpy()",
    "numpy": "store value.numpy(), or one number per key",
    "to_dict": "store value.to_dict()",
}


def refuse(value: object, cause: Exception | None = None) -> NoReturn:
    """Raise `ValueTypeError` for a value, naming its type and what to store instead."""
    name = type(value).__name__
    raise ValueTypeError(f"a {name} cannot be stored: {remedy(value)}") from cause


def remedy(value: object) -> str:
    """Return what to store in the place of a value that a log refuses.

    >>> import argparse
    >>> remedy(argparse.Namespace(lr=0.1))
    'store vars(value), a dict'
    """
    kind = type(value)
    if kind.__module__.partition(".")[0] == "omegaconf":
        return "store OmegaConf.to_container(value, resolve=True)"
    if not isinstance(value, type):
        for attribute in ("__dataclass_fields__", "__attrs_attrs__", "model_dump"):
            if hasattr(kind, attribute):
                return _BY_ATTRIBUTE[attribute]
    for base in kind.__mro__:
        if base.__name__ in _BY_NAME:
            return _BY_NAME[base.__name__]
    for attribute, advice in _BY_ATTRIBUTE.items():
        if hasattr(kind, attribute):
            return advice
    return _by_protocol(value)


def _by_protocol(value: object) -> str:
    kind = type(value)
    if kind.__name__ in ("Tensor", "Parameter"):
        return _BY_ATTRIBUTE["detach"]
    if isinstance(value, PurePath):
        return "store str(value), a text"
    if isinstance(value, Mapping):
        return "store dict(value)"
    if isinstance(value, Set):
        return "store sorted(value), a list"
    if isinstance(value, Collection):
        return "store list(value)"
    if getattr(value, "__dict__", None) and not isinstance(value, type) and not callable(value):
        return "store vars(value), a dict of its attributes, or str(value)"
    return "store a number, a text, str(value), or a list or dict of such"
