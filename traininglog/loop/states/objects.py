"""Taking and restoring the state of the user's objects: parameters, optimizers, anything.

`take` and `put` are inverse to each other. They use the first of these ways that an object has:

1. ``get_state()`` and ``set_state(state)``
2. ``state_dict()`` and ``load_state_dict(state)``
3. a pair of functions, ``(getter, setter)``
4. random generators: of Python, NumPy, torch
5. a `Holder`, for trees that cannot be changed
6. arrays and tensors, lists and mappings of all of these, in place

Anything else raises `NotPlain`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

from traininglog.loop.errors import CheckpointUnusable, NotPlain
from traininglog.loop.states.numpy_states import examine, is_of_numpy
from traininglog.loop.states.trees import NamedFields, copied

_PROTOCOLS = (("get_state", "set_state"), ("state_dict", "load_state_dict"))


class Holder:
    """Holds a tree that cannot be changed in place, so that another can replace it.

    It is for parameters of JAX and similar libraries: nested tuples, named tuples, dicts and lists
    of immutable arrays. A restored tree has the classes of the present one.

    >>> params = Holder((1.0, 2.0))
    >>> params.value = (3.0, *params.value[1:])
    """

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Holder({self.value!r})"


def checked(thing: object, name: str) -> Any:
    """Return the object, if its state can be taken and restored; an iterator becomes a list.

    Raises `NotPlain` for anything else.
    """
    if isinstance(thing, Iterator):  # as model.parameters() returns
        thing = list(thing)
    if _functions(thing) is None and not isinstance(thing, (MutableMapping, list, Holder)):
        if not _array(thing):
            raise NotPlain(
                f"{name} is a {type(thing).__name__}, whose state cannot be taken and put back: "
                "give it state_dict() and load_state_dict(), or pass a (getter, setter) pair, "
                "a list or dict of arrays, or a Holder"
            )
    elif isinstance(thing, (MutableMapping, list)) and _functions(thing) is None:
        for key, item in _items(thing):
            if callable(item) and _functions(item) is None:
                raise NotPlain(
                    f"{name}/{key} is a {type(item).__name__}, whose state cannot be taken: give "
                    "it state_dict() and load_state_dict(), or pass a (getter, setter) pair"
                )
    return thing


def is_random(thing: object) -> bool:
    """Return whether an object is a generator of random numbers."""
    if isinstance(thing, random.Random) or hasattr(thing, "bit_generator") or is_of_numpy(thing):
        return True
    kind = type(thing)
    return kind.__name__ == "Generator" and kind.__module__.partition(".")[0] == "torch"


def take(thing: object) -> Any:
    """Return the state of an object: a tree that shares no memory with it."""
    functions = _functions(thing)
    if functions is not None:
        return copied(functions[0]())
    if isinstance(thing, Holder):
        return copied(thing.value)
    if isinstance(thing, MutableMapping):
        return {key: take(item) for key, item in thing.items()}
    if isinstance(thing, list):
        return [take(item) for item in thing]
    return copied(thing)


def put(thing: object, state: object, where: str) -> None:
    """Restore a state that `take` returned into an object.

    Raises `CheckpointUnusable` if it does not fit; `where` names the object in the error.
    """
    _put(thing, copied(state), where)


def _put(thing: Any, state: Any, where: str) -> Any:
    """Restore a state into an object; return the object, or its replacement."""
    functions = _functions(thing)
    if functions is not None:
        if is_of_numpy(thing):
            try:
                examine(state, thing)
            except ValueError as error:
                raise CheckpointUnusable(f"{where} cannot be put back: {error}") from error
        functions[1](state)
        return thing
    if isinstance(thing, Holder):
        thing.value = _put(thing.value, state, where)
        return thing
    if isinstance(thing, (MutableMapping, list)):
        return _put_all(thing, state, where)
    if isinstance(thing, tuple):
        values = list(state.fields.values()) if isinstance(state, NamedFields) else list(state)
        if len(values) != len(thing):
            raise _misfit(where, f"{len(thing)} items", f"{len(values)}")
        new = [
            _put(item, value, f"{where}/{number}")
            for number, (item, value) in enumerate(zip(thing, values, strict=True))
        ]
        return type(thing)(*new) if hasattr(thing, "_fields") else tuple(new)
    if _array(thing):
        return _put_array(thing, state, where)
    return state


def _put_all(thing: Any, state: Any, where: str) -> Any:
    if isinstance(thing, list):
        if not isinstance(state, list):
            raise _misfit(where, "a list", f"a {type(state).__name__}")
        if any(_functions(item) or _array(item) for item in thing) and len(thing) != len(state):
            raise _misfit(where, f"{len(thing)} items", f"{len(state)}")
        old = thing[: len(state)] + state[len(thing) :]
        thing[:] = [
            _put(item, value, f"{where}/{number}")
            for number, (item, value) in enumerate(zip(old, state, strict=True))
        ]
        return thing
    if not isinstance(state, dict):
        raise _misfit(where, "a mapping", f"a {type(state).__name__}")
    for key in [key for key in thing if key not in state]:
        if _functions(thing[key]) or _array(thing[key]):
            raise CheckpointUnusable(f"{where}/{key} is not in the checkpoint")
        del thing[key]
    for key, value in state.items():
        thing[key] = _put(thing[key], value, f"{where}/{key}") if key in thing else value
    return thing


def _put_array(thing: Any, state: Any, where: str) -> Any:
    shape = tuple(getattr(state, "shape", ()))
    if tuple(thing.shape) != shape:
        raise _misfit(where, f"the shape {tuple(thing.shape)}", f"{shape}")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(thing, torch.Tensor):
        with torch.no_grad():
            thing.copy_(torch.as_tensor(state))
        return thing
    flags = getattr(thing, "flags", None)
    if getattr(flags, "writeable", False):
        if thing.dtype != state.dtype:
            raise _misfit(where, f"the dtype {thing.dtype}", f"{state.dtype}")
        thing[...] = state
        return thing
    namespace = getattr(thing, "__array_namespace__", None)  # the array API, of JAX and others
    return state if namespace is None else namespace().asarray(state)


def _misfit(where: str, has: str, saved: str) -> CheckpointUnusable:
    return CheckpointUnusable(f"{where} has {has}, the checkpoint {saved}: it is another model's")


def _functions(thing: object) -> tuple[Any, Any] | None:
    """Return the getter and the setter of the state of an object, None if it has none."""
    for getter, setter in _PROTOCOLS:
        if callable(getattr(thing, getter, None)) and callable(getattr(thing, setter, None)):
            return getattr(thing, getter), getattr(thing, setter)
    if isinstance(thing, tuple) and len(thing) == 2 and all(map(callable, thing)):
        return thing[0], thing[1]
    if isinstance(thing, random.Random):
        return thing.getstate, thing.setstate
    bits = getattr(thing, "bit_generator", None)
    if bits is not None:
        return lambda: bits.state, lambda state: setattr(bits, "state", state)
    return None


def _array(thing: object) -> bool:
    return hasattr(thing, "dtype") and hasattr(thing, "shape")


def _items(thing: Any) -> Iterable[tuple[Any, Any]]:
    return thing.items() if isinstance(thing, MutableMapping) else enumerate(thing)
