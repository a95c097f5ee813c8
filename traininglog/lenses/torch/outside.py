"""Calls of hooks outside a compiled graph. Only Dynamo imports this module, while it traces a hook.

Dynamo makes traced code a part of a graph, and a graph can keep no state. So a hook breaks the
graph, looks, and continues. Only during the trace can we know whether the graph may be broken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

#: How often a hook could not look, because the graph had to stay whole.
kept_whole = 0


def _may_leave() -> bool:
    """Return whether the current graph may be broken. Runs once per trace."""
    global kept_whole  # noqa: PLW0603 - a trace has no other way to return a count
    try:
        from torch._dynamo.symbolic_convert import InstructionTranslator
    except ImportError:  # another version of PyTorch has it elsewhere
        return True
    try:
        tracer: Any = InstructionTranslator.current_tx()
    except AttributeError:  # no trace by Dynamo: the network is exported, and has no numbers
        return False
    whole = any(getattr(tracer, name, False) for name in ("one_graph", "error_on_graph_break"))
    kept_whole += whole
    return not whole


may_leave: Callable[[], bool] = torch.compiler.assume_constant_result(_may_leave)


def _see(hook: Any, *arguments: Any) -> None:
    hook.see(*arguments)


_see_outside = torch.compiler.disable(_see)


def see(hook: Any, *arguments: Any) -> None:
    """Call a hook outside the graph, if the graph may be broken."""
    if may_leave():
        _see_outside(hook, *arguments)
