"""Finding the random generators that data draws from.

A sampler, a dataset or a function that makes batches may have generators of its own, which users
forget to save. The search walks through the parts of the data: the attributes of objects, the
closure of a function and the names of its module that it uses, and the items of containers.
"""

from __future__ import annotations

import functools
import random
import sys
import types
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from traininglog.loop.passes.fingerprints import fingerprint
from traininglog.loop.states.objects import is_random, put, take

_MOST = 2000  # objects to look at
_DEPTH = 8
_ITEMS = 32  # of a container

_LEAVES = (str, bytes, bytearray, int, float, complex, type, types.ModuleType, type(None))


def generators_in(data: object, name: str = "data") -> dict[str, Any]:
    """Return the random generators in data, by their path: ``data.sampler.generator``."""
    return {path: thing for path, thing in _walk(data, name) if is_random(thing)}


def state_print(data: object) -> int:
    """Return a checksum of the state of data, its generators left out."""
    found = 0
    for path, thing in _walk(data, "data"):
        if isinstance(thing, (type, types.ModuleType)):
            continue
        if isinstance(thing, (bool, int, float, str, bytes)) or hasattr(thing, "dtype"):
            found = zlib.crc32(f"{path}{fingerprint(thing)}".encode(), found)
    return found


def _walk(data: object, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the parts of data with their paths, breadth first."""
    seen = _common()
    waiting = deque([(name, data, 0)])
    while waiting and len(seen) < _MOST:
        path, thing, depth = waiting.popleft()
        if isinstance(thing, _LEAVES):
            yield path, thing
            continue
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        yield path, thing
        if depth < _DEPTH and not hasattr(thing, "dtype") and not is_random(thing):
            waiting.extend((place, inner, depth + 1) for place, inner in _inner(path, thing))


def _common() -> set[int]:
    """Return the ids of the global generators, which `randomness.capture` saves."""
    common = [getattr(random, "_inst", None)]
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        common.append(getattr(numpy.random.seed, "__self__", None))
    if torch is not None:
        common.append(torch.default_generator)
    return {id(one) for one in common if one is not None}


def _inner(path: str, thing: object) -> Iterator[tuple[str, Any]]:
    """Yield the direct parts of an object with their paths, without running any of its code."""
    if isinstance(thing, dict):
        for key in list(thing)[:_ITEMS]:
            yield f"{path}[{key!r:.40}]", thing[key]
    elif isinstance(thing, (list, tuple)):
        for place, item in enumerate(thing[:_ITEMS]):
            yield f"{path}[{place}]", item
    elif isinstance(thing, types.FunctionType):
        yield from _of_function(path, thing)
    elif isinstance(thing, functools.partial):
        yield f"{path}.func", thing.func
        yield f"{path}.args", thing.args
        yield f"{path}.keywords", thing.keywords
    elif isinstance(thing, (types.MethodType, types.BuiltinMethodType)):
        yield f"{path}.__self__", thing.__self__
        yield f"{path}.__func__", getattr(thing, "__func__", None)
    else:
        if isinstance(thing, Mapping):
            return
        yield from ((f"{path}.{name}", value) for name, value in _attributes(thing))
        # Its methods may use names of their module: a dataset's __iter__ may draw from a generator.
        for name in ("__iter__", "__getitem__", "__call__"):
            method = getattr(type(thing), name, None)
            if isinstance(method, types.FunctionType) and _is_programs(method):
                yield f"{path}.{name}", method


def _is_programs(function: types.FunctionType) -> bool:
    """Return whether a function belongs to the program, and not to PyTorch, NumPy or us."""
    return function.__module__.partition(".")[0] not in ("torch", "numpy", "traininglog")


def _attributes(thing: object) -> list[tuple[str, Any]]:
    own = getattr(thing, "__dict__", None)
    found = list(own.items())[: 4 * _ITEMS] if isinstance(own, dict) else []
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            member = kind.__dict__.get(name)
            if isinstance(member, types.MemberDescriptorType):
                try:
                    found.append((name, member.__get__(thing)))
                except AttributeError:  # not set
                    continue
    return found


def _of_function(path: str, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"{path}.{name}", cell.cell_contents
        except ValueError:  # not bound yet
            continue
    yield f"{path}.__defaults__", function.__defaults__
    yield f"{path}.__kwdefaults__", function.__kwdefaults__
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield f"{path}.{name}", function.__globals__[name]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def states_of(generators: Mapping[str, object]) -> dict[str, Any]:
    """Return the states of generators by path; those without a state are left out."""
    states = {}
    for path, generator in generators.items():
        try:
            states[path] = take(generator)
        except NotImplementedError:  # random.SystemRandom has no state
            continue
    return states


def set_states(generators: Mapping[str, object], states: Mapping[str, object]) -> None:
    """Set the generators to the states of the same paths."""
    for path, generator in generators.items():
        if path in states:
            put(generator, states[path], path)
