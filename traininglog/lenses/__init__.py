"""Lenses: what happens inside a network, written to the log, drawn from the log.

An inspector has lenses look at a network as it trains; at each tick it writes what they tell to any
training log, as ordinary entries. Visualizers draw it, live or from a log of years ago:

>>> import numpy as np
>>> from traininglog import TrainingLog
>>> from traininglog.lenses import Inspector, LossMetrics, ParameterNorm
>>> log = TrainingLog()
>>> inspector = Inspector([LossMetrics(), ParameterNorm(comparison_plot=False)], log)
>>> for epoch in inspector.range(1, 3):
...     for loss in (2.0, 1.0):
...         inspector.push_loss(loss / epoch, train=True)
...     inspector.observe("parameter", "dense", {"weight": np.full(4, 0.5)})
>>> log[1]
{'loss/train/mean': 1.5, 'loss/train/std': 0.5, 'weight norm/dense/mean': 1.0}

`TorchInspector` does it for PyTorch, by hooks: pip install "traininglog[lenses]".
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from traininglog.errors import MissingExtra

if TYPE_CHECKING:
    from traininglog.lenses.charts import Chart
    from traininglog.lenses.histogram import Histogram
    from traininglog.lenses.inspector import Inspector
    from traininglog.lenses.lens import AbstractLens, AbstractVisualizer, Lens
    from traininglog.lenses.losses import LossMetrics
    from traininglog.lenses.matplotlib_figures import MatplotlibVisualizer
    from traininglog.lenses.memory import Memory
    from traininglog.lenses.non_finite import FirstNonFinite, NonFiniteFound
    from traininglog.lenses.outputs import OutputActivation, OutputGradientGeometry, OutputNorm
    from traininglog.lenses.parameters import (
        ParameterCondition,
        ParameterGradientActivation,
        ParameterGradientGeometry,
        ParameterNorm,
    )
    from traininglog.lenses.printing import PrintVisualizer
    from traininglog.lenses.record import LogWriter, replay, tags_of
    from traininglog.lenses.tags import TagAttributes
    from traininglog.lenses.tensorboard import TensorBoardVisualizer
    from traininglog.lenses.torch.inspector import TorchInspector
    from traininglog.lenses.updates import ParameterUpdateGeometry, UpdateRatio

_LAZY = {
    "AbstractLens": "lens",
    "AbstractVisualizer": "lens",
    "Chart": "charts",
    "FirstNonFinite": "non_finite",
    "Histogram": "histogram",
    "Inspector": "inspector",
    "Lens": "lens",
    "LogWriter": "record",
    "LossMetrics": "losses",
    "MatplotlibVisualizer": "matplotlib_figures",
    "Memory": "memory",
    "NonFiniteFound": "non_finite",
    "OutputActivation": "outputs",
    "OutputGradientGeometry": "outputs",
    "OutputNorm": "outputs",
    "ParameterCondition": "parameters",
    "ParameterGradientActivation": "parameters",
    "ParameterGradientGeometry": "parameters",
    "ParameterNorm": "parameters",
    "ParameterUpdateGeometry": "updates",
    "PrintVisualizer": "printing",
    "TagAttributes": "tags",
    "TensorBoardVisualizer": "tensorboard",
    "TorchInspector": "torch.inspector",
    "UpdateRatio": "updates",
    "replay": "record",
    "tags_of": "record",
}

__all__ = [
    "AbstractLens",
    "AbstractVisualizer",
    "Chart",
    "FirstNonFinite",
    "Histogram",
    "Inspector",
    "Lens",
    "LogWriter",
    "LossMetrics",
    "MatplotlibVisualizer",
    "Memory",
    "NonFiniteFound",
    "OutputActivation",
    "OutputGradientGeometry",
    "OutputNorm",
    "ParameterCondition",
    "ParameterGradientActivation",
    "ParameterGradientGeometry",
    "ParameterNorm",
    "ParameterUpdateGeometry",
    "PrintVisualizer",
    "TagAttributes",
    "TensorBoardVisualizer",
    "TorchInspector",
    "UpdateRatio",
    "replay",
    "tags_of",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra(
            f'{name} needs PyTorch; install it with: pip install "traininglog[lenses]"'
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
