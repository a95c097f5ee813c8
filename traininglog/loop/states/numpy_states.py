"""Checks of states of NumPy's random generators, before NumPy loads them.

NumPy trusts a state. If its position is past the end of the array of numbers, NumPy reads there;
and before 2.0, values of some other types end the process.
"""

from __future__ import annotations

from typing import Any

# By position, the array beside it, whose length limits the position.
_POSITIONS = {"pos": "key", "buffer_pos": "buffer"}
_FLAGS = ("has_gauss", "has_uint32")


def is_of_numpy(generator: object) -> bool:
    """Return whether it is a `Generator` or `RandomState` of NumPy, and no subclass of one."""
    kind = type(generator)
    return kind.__name__ in ("Generator", "RandomState") and (
        kind.__module__.partition(".")[0] == "numpy"
    )


def examine(state: Any, generator: Any) -> None:
    """Raise `ValueError` if this cannot be a state of this generator.

    A state of `RandomState` may be a tuple, NumPy's legacy form.
    """
    bits = getattr(generator, "bit_generator", None)
    now = bits.state if bits is not None else generator.get_state(legacy=False)
    if bits is None and isinstance(state, tuple):
        state = _named(state)
    _compare(state, now, "state")


def _named(state: tuple[Any, ...]) -> dict[str, Any]:
    """Return a tuple state as a dict; only later versions of NumPy have its last two items."""
    if len(state) not in (3, 5):
        raise ValueError(f"the state of NumPy's generator has {len(state)} items")
    name, key, position, has_gauss, gauss = (*state, 0, 0.0)[:5]
    return {
        "bit_generator": name, "state": {"key": key, "pos": position},
        "has_gauss": has_gauss, "gauss": gauss,
    }  # fmt: skip


def _compare(state: Any, now: Any, where: str) -> None:
    """Raise `ValueError` unless a state has the structure of the generator's present state."""
    if type(state) is not type(now):
        raise ValueError(f"{where} of NumPy's generator is a {type(state).__name__}")
    if isinstance(now, dict):
        for name, value in now.items():
            if name not in state:
                raise ValueError(f"{where} of NumPy's generator has no {name}")
            _compare(state[name], value, name)
            if name in _FLAGS and state[name] not in (0, 1):
                raise ValueError(f"{name} of NumPy's generator is {state[name]}")
            beside = now.get(_POSITIONS.get(name, ""))
            if beside is not None and not 0 <= state[name] <= len(beside):
                raise ValueError(
                    f"{name} of NumPy's generator is {state[name]}, not from 0 to {len(beside)}"
                )
    elif isinstance(now, str):
        if state != now:
            raise ValueError(f"the state is of a {state!r} of NumPy's, the generator a {now}")
    elif hasattr(now, "dtype") and (state.shape, state.dtype) != (now.shape, now.dtype):
        raise ValueError(f"{where} of NumPy's generator has the shape {state.shape}, {state.dtype}")
