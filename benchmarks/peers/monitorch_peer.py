"""monitorch, the ancestor of the lenses: it draws what it saw, and logs nothing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from monitorch import lens
from monitorch.inspector import PyTorchInspector
from torch import nn
from watching import Watch, main

LENSES = (
    "LossMetrics", "OutputActivation", "OutputNorm", "OutputGradientGeometry",
    "ParameterGradientGeometry", "ParameterGradientActivation", "ParameterNorm",
    "ParameterUpdateGeometry",
)  # fmt: skip


def attach(names: Sequence[str], model: nn.Module, optimizer: Any) -> Watch:
    """Watch a model by lenses as they are by default."""
    made = [
        getattr(lens, name)(**({"optimizer": optimizer} if "Update" in name else {}))
        for name in names
    ]
    inspector = PyTorchInspector(made, visualizer="dummy", module=model)
    # It takes numbers only, and not tensors.
    return Watch(lambda loss: inspector.push_loss(loss.item(), train=True), inspector.tick_epoch)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of PyTorch, about the hooks that it has
    sets = {name: [name] for name in LENSES} | {"all that both have": LENSES}
    main(version("monitorch"), attach, sets)
