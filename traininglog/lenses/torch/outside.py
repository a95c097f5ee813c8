"""Looking out of a compiled graph; imported by Dynamo, while it traces a hook, and by nobody else.

What Dynamo traces it makes part of a graph, in which nothing may be kept. So a hook has it leave
the graph, look, and go on. Whether it may leave is known only while it traces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

#: How often a hook could not look, as the whole of a graph was to stay in one piece.
kept_whole = 0


def _may_leave() -> bool:
    """Tell whether the graph that is traced now may be left; runs once, while it is traced."""
    global kept_whole  # noqa: PLW0603 - there is no other way out of a trace
    try:
        from torch._dynamo.symbolic_convert import InstructionTranslator
    except ImportError:  # PyTorch keeps it elsewhere
        return True
    try:
        tracer: Any = InstructionTranslator.current_tx()
    except AttributeError:  # nothing is traced: the network is exported, and has no numbers
        return False
    whole = any(getattr(tracer, name, False) for name in ("one_graph", "error_on_graph_break"))
    kept_whole += whole
    return not whole


may_leave: Callable[[], bool] = torch.compiler.assume_constant_result(_may_leave)


def _see(hook: Any, *arguments: Any) -> None:
    hook.see(*arguments)


_see_outside = torch.compiler.disable(_see)


def see(hook: Any, *arguments: Any) -> None:
    """Have a hook see what it would see where nothing is compiled."""
    if may_leave():
        _see_outside(hook, *arguments)
