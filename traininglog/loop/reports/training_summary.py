"""The text of `print_training_summary`: the environment of a training, and its parameters."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from traininglog.loop.states.objects import Holder


class Parameter(NamedTuple):
    """One array of parameters."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


def parameters(params: object, prefix: str = "") -> list[Parameter]:
    """Return the arrays in an object: its `named_parameters()`, or the leaves of a tree."""
    return list(_parameters(params, prefix))


def _parameters(params: Any, prefix: str) -> Iterator[Parameter]:
    if callable(getattr(params, "named_parameters", None)):
        for name, array in params.named_parameters():
            yield Parameter(_join(prefix, name), tuple(array.shape))
    elif hasattr(params, "shape"):
        yield Parameter(prefix or "params", tuple(params.shape))
    elif isinstance(params, Holder):
        yield from _parameters(params.value, prefix)
    elif isinstance(params, Mapping):
        for key, item in params.items():
            yield from _parameters(item, _join(prefix, str(key)))
    elif hasattr(params, "_asdict"):
        yield from _parameters(params._asdict(), prefix)
    elif isinstance(params, tuple) and len(params) == 2 and all(map(callable, params)):
        yield from _parameters(params[0](), prefix)
    elif isinstance(params, (list, tuple)):
        for number, item in enumerate(params):
            yield from _parameters(item, _join(prefix, str(number)))
    elif callable(getattr(params, "state_dict", None)):
        yield from _parameters(params.state_dict(), prefix)
    elif callable(getattr(params, "get_state", None)):
        yield from _parameters(params.get_state(), prefix)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def parameter_lines(found: Sequence[Parameter], groups: Iterable[str] = ()) -> list[str]:
    """Return a table of parameters with their shapes and counts.

    Args:
        found: The parameters.
        groups: Prefixes of names: each makes a group with a total; the rest is "Other".

    """
    total = sum(parameter.size for parameter in found)
    title = f"Parameters ({total:,} in total)"
    if not found:
        return [title, "  none"]
    parts: dict[str, list[Parameter]] = {group: [] for group in groups}
    others: list[Parameter] = []
    for parameter in found:
        fitting = [group for group in parts if parameter.name.startswith(group)]
        (parts[max(fitting, key=len)] if fitting else others).append(parameter)
    names = max(len(parameter.name) for parameter in found)
    shapes = max(len(_shape(parameter)) for parameter in found)
    sizes = max(len(f"{parameter.size:,}") for parameter in found)
    lines = [title]
    for group, members in [*parts.items(), ("Other", others)]:
        if not members:
            continue
        if parts:
            lines.append(f"  {group} ({sum(parameter.size for parameter in members):,})")
        lines += [
            f"  {'  ' if parts else ''}{parameter.name:<{names}}  {_shape(parameter):<{shapes}}  "
            f"{parameter.size:>{sizes},}"
            for parameter in members
        ]
    return lines


def _shape(parameter: Parameter) -> str:
    return "x".join(map(str, parameter.shape)) or "()"


def environment_lines() -> list[str]:
    """Return lines about Python, the machine, libraries and devices."""
    facts = [
        f"Python {platform.python_version()}",
        f"{platform.system()} {platform.release()} {platform.machine()}",
        f"{os.cpu_count()} processors",
    ]
    for name in ("numpy", "torch", "jax", "tensorflow"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version:
            facts.append(f"{name} {version}")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts += [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return ["Execution environment", *(f"  {fact}" for fact in facts)]
