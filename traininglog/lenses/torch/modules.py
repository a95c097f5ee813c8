"""The observed modules of a network, with their names and roles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules import activation, dropout
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils.parametrize import ParametrizationList

_ACTIVATIONS = tuple(
    found
    for found in vars(activation).values()
    if isinstance(found, type)
    and issubclass(found, nn.Module)
    # Attention and its linear layer are in the same file, and are no activation functions.
    and found not in (nn.Module, nn.MultiheadAttention, NonDynamicallyQuantizableLinear)
)


class FoundModule(NamedTuple):
    """A module, its name, and whether it is a leaf or represents its branch."""

    module: nn.Module
    name: str
    leaf: bool


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside DistributedDataParallel, DataParallel and compiled modules."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(
            module, (nn.DataParallel, nn.parallel.DistributedDataParallel)
        ):
            inner = module.module
        if inner is None:
            return module
        module = inner


def is_scripted(module: nn.Module) -> bool:
    """Return whether `torch.jit` made a module or a part of it."""
    return any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())


def found_in(
    root: nn.Module, depth: int, separator: str
) -> tuple[list[FoundModule], dict[str, list[str]]]:
    """Return the modules of a network in order, and the aliases of those that occur several times.

    At `depth` levels below the root (-1: no limit) a module represents its branch. A module without
    children is always a leaf. The name of the root is that of its class. The modules that
    `torch.nn.utils.parametrize` adds do not count as children.
    """
    found: dict[int, FoundModule] = {}
    aliases: dict[str, list[str]] = {}

    def visit(module: nn.Module, path: tuple[str, ...]) -> None:
        name = separator.join(path) or type(root).__name__
        known = found.get(id(module))
        if known is not None:
            aliases.setdefault(known.name, []).append(name)
            return
        children = [
            (part, child)
            for part, child in module._modules.items()
            if child is not None and not _parametrizes(child)
        ]
        leaf = len(path) == depth or not children
        found[id(module)] = FoundModule(module, name, leaf)
        if not leaf:
            for part, child in children:
                visit(unwrapped(child), (*path, part))

    visit(root, ())
    return list(found.values()), aliases


def role_of(module: Any) -> str:
    """Return the role of a module; see `State.role`."""
    if isinstance(module, _ACTIVATIONS):
        return "activation"
    if isinstance(module, dropout._DropoutNd):
        return "dropout"
    if isinstance(module, nn.MultiheadAttention):  # it calls a function, not its children
        return "whole"
    if isinstance(module, NonDynamicallyQuantizableLinear):  # the child of attention
        return "part"
    children = any(not _parametrizes(child) for child in module.children())
    return "container" if children else "other"


def parameters_of(found: FoundModule) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, parameter) of a module; the name is the last part of the parameter's name.

    Tensors that replace a parametrized, pruned or weight-normalized parameter have its name.
    """
    module, _, leaf = found
    for name, parameter in module.named_parameters(recurse=leaf):
        _, parametrized, of = name.rpartition("parametrizations.")
        if parametrized:
            yield of.partition(".")[0], parameter
        else:
            last = name.rpartition(".")[2]
            yield (_stands_for(module, last) if last == name else last), parameter
    inside = None if leaf else getattr(module, "parametrizations", None)
    for part, child in [] if inside is None else inside._modules.items():
        if child is not None:
            yield from ((part, parameter) for parameter in child.parameters())


def is_borrowed(found: Iterable[FoundModule]) -> bool:
    """Return whether `functional_call` or the like replaces parameters for this one call."""
    return any(
        not isinstance(parameter, nn.Parameter)
        for one in found
        for parameter in one.module._parameters.values()
        if parameter is not None
    )


def _stands_for(module: nn.Module, name: str) -> str:
    """Return the name of the parameter that `torch.nn.utils.prune` or `weight_norm` replaced."""
    base, _, what = name.rpartition("_")
    pruned = what == "orig" and hasattr(module, f"{base}_mask")
    normed = what in ("g", "v") and hasattr(module, f"{base}_g") and hasattr(module, f"{base}_v")
    return base if base and (pruned or normed) else name


def fingerprint(found: Iterable[FoundModule], optimizers: Sequence[Any]) -> list[Any]:
    """Return a list that changes if the network's modules or trained parameters change."""
    seen: list[Any] = []
    for one in found:
        seen += (id(one.module), type(one.module), one.name)
        for _, parameter in parameters_of(one):
            lazy = isinstance(parameter, nn.UninitializedParameter)
            seen += (id(parameter), parameter.requires_grad, parameter.dtype, parameter.device)
            seen.append(None if lazy else parameter.shape)
    for optimizer in optimizers:
        seen += (id(one) for group in optimizer.param_groups for one in group["params"])
    return seen


def _parametrizes(module: nn.Module) -> bool:
    if not isinstance(module, nn.ModuleDict):
        return False
    lists = [isinstance(child, ParametrizationList) for child in module.children()]
    return bool(lists) and all(lists)
