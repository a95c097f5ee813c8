"""A training loop that counts, measures, prints, logs, keeps checkpoints, and can be resumed.

>>> from traininglog import TrainingLog
>>> from traininglog.loop import TrainLoop
>>> log = TrainingLog()
>>> with TrainLoop(log=log, max_epoch=2, progress=False) as loop:
...     for epoch in loop.iter_epochs():
...         for step, batch in loop.iter_steps([1.0, 3.0]):
...             loop.collect_metrics(loss=batch / epoch)
>>> log[4]["loss"], log[4]["epoch/loss"], log.status["epochs_done"]
(1.5, 1.0, 2)

The loop depends on no framework. It saves and restores an object by the methods that the object has
(see `traininglog.loop.states.objects`), and it writes to any `TrainingLogBase`.
"""

from traininglog.display.durations import format_duration
from traininglog.loop.errors import (
    CheckpointDamaged,
    CheckpointNotFound,
    CheckpointsBusy,
    CheckpointUnusable,
    DataDiffers,
    LoopMisuse,
    NoBatches,
    NotPlain,
    RankLost,
)
from traininglog.loop.events import EventKeys, EventSource
from traininglog.loop.loop import TrainLoop
from traininglog.loop.measures.metrics import MetricFormatter
from traininglog.loop.measures.statistics import Statistics, StatisticsCollector
from traininglog.loop.states.objects import Holder

__all__ = [
    "CheckpointDamaged",
    "CheckpointNotFound",
    "CheckpointUnusable",
    "CheckpointsBusy",
    "DataDiffers",
    "EventKeys",
    "EventSource",
    "Holder",
    "LoopMisuse",
    "MetricFormatter",
    "NoBatches",
    "NotPlain",
    "RankLost",
    "Statistics",
    "StatisticsCollector",
    "TrainLoop",
    "format_duration",
]
