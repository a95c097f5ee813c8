"""Lenses: observe the inside of a network, write it to a log, and draw it from the log.

An inspector shows a network in training to its lenses. At each tick it writes their numbers to any
training log, as ordinary entries. Visualizers draw them, live or from an old log:

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

`TorchInspector` does this for PyTorch by hooks: pip install "traininglog[lenses]".
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from traininglog.errors import MissingExtra

if TYPE_CHECKING:
    from traininglog.lenses.catalogue.histogram import Histogram
    from traininglog.lenses.catalogue.losses import LossMetrics
    from traininglog.lenses.catalogue.memory import Memory
    from traininglog.lenses.catalogue.non_finite import FirstNonFinite, NonFiniteFound
    from traininglog.lenses.catalogue.outputs import (
        OutputActivation,
        OutputGradientGeometry,
        OutputNorm,
    )
    from traininglog.lenses.catalogue.parameters import (
        ParameterCondition,
        ParameterGradientActivation,
        ParameterGradientGeometry,
        ParameterNorm,
    )
    from traininglog.lenses.catalogue.updates import ParameterUpdateGeometry, UpdateRatio
    from traininglog.lenses.inspector import Inspector
    from traininglog.lenses.lens import AbstractLens, AbstractVisualizer, Lens
    from traininglog.lenses.numbers.charts import Chart
    from traininglog.lenses.pictures.matplotlib_figures import MatplotlibVisualizer
    from traininglog.lenses.pictures.printed_tables import PrintVisualizer
    from traininglog.lenses.pictures.tensorboard import TensorBoardVisualizer
    from traininglog.lenses.tags.attributes import TagAttributes
    from traininglog.lenses.tags.log_writer import LogWriter, replay, tags_of
    from traininglog.lenses.torch.inspector import TorchInspector

_LAZY = {
    "AbstractLens": "lens",
    "AbstractVisualizer": "lens",
    "Chart": "numbers.charts",
    "FirstNonFinite": "catalogue.non_finite",
    "Histogram": "catalogue.histogram",
    "Inspector": "inspector",
    "Lens": "lens",
    "LogWriter": "tags.log_writer",
    "LossMetrics": "catalogue.losses",
    "MatplotlibVisualizer": "pictures.matplotlib_figures",
    "Memory": "catalogue.memory",
    "NonFiniteFound": "catalogue.non_finite",
    "OutputActivation": "catalogue.outputs",
    "OutputGradientGeometry": "catalogue.outputs",
    "OutputNorm": "catalogue.outputs",
    "ParameterCondition": "catalogue.parameters",
    "ParameterGradientActivation": "catalogue.parameters",
    "ParameterGradientGeometry": "catalogue.parameters",
    "ParameterNorm": "catalogue.parameters",
    "ParameterUpdateGeometry": "catalogue.updates",
    "PrintVisualizer": "pictures.printed_tables",
    "TagAttributes": "tags.attributes",
    "TensorBoardVisualizer": "pictures.tensorboard",
    "TorchInspector": "torch.inspector",
    "UpdateRatio": "catalogue.updates",
    "replay": "tags.log_writer",
    "tags_of": "tags.log_writer",
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
