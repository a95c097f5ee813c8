"""Which modules of a network are observed, under which names, and what they do."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules import activation, dropout

_ACTIVATIONS = tuple(
    found
    for found in vars(activation).values()
    if isinstance(found, type)
    and issubclass(found, nn.Module)
    and found not in (nn.Module, nn.MultiheadAttention)
)


class Found(NamedTuple):
    """A module, its name, and whether it is a leaf or stands for its branch."""

    module: nn.Module
    name: str
    leaf: bool


def unwrapped(module: nn.Module) -> nn.Module:
    """Return what is inside of DistributedDataParallel, DataParallel and compiled modules."""
    while True:
        inner = module.__dict__.get("_modules", {}).get("_orig_mod")
        if inner is None and isinstance(
            module, (nn.DataParallel, nn.parallel.DistributedDataParallel)
        ):
            inner = module.module
        if inner is None:
            return module
        module = inner


def is_compiled(module: nn.Module) -> bool:
    """Tell whether a module, or a part of it, was compiled."""
    return any(
        "_orig_mod" in part._modules or getattr(part, "_compiled_call_impl", None) is not None
        for part in module.modules()
    )


def found_in(
    root: nn.Module, depth: int, separator: str
) -> tuple[list[Found], dict[str, list[str]]]:
    """Return the modules of a network in its order, and other names of those it has several times.

    At `depth` levels below the root (-1: however many there are) a module stands for its branch;
    what has no children is a leaf wherever it is. The root goes by the name of its class.
    """
    found: dict[int, Found] = {}
    aliases: dict[str, list[str]] = {}

    def visit(module: nn.Module, path: tuple[str, ...]) -> None:
        name = separator.join(path) or type(root).__name__
        known = found.get(id(module))
        if known is not None:
            aliases.setdefault(known.name, []).append(name)
            return
        children = list(module._modules.items())
        leaf = len(path) == depth or not any(child is not None for _, child in children)
        found[id(module)] = Found(module, name, leaf)
        if not leaf:
            for part, child in children:
                if child is not None:
                    visit(unwrapped(child), (*path, part))

    visit(root, ())
    return list(found.values()), aliases


def role_of(module: Any) -> str:
    """Return what a module does."""
    if isinstance(module, _ACTIVATIONS):
        return "activation"
    if isinstance(module, dropout._DropoutNd):
        return "dropout"
    return "container" if next(module.children(), None) is not None else "other"
