"""What can go wrong with a train loop, by name."""

from __future__ import annotations

from traininglog.errors import RunBusy, TrainingLogError


class LoopMisuse(TrainingLogError, RuntimeError):
    """A loop was asked for something out of turn: a metric outside an epoch, a loop in itself."""

    code = "loop-misuse"


class NoBatches(TrainingLogError, ValueError):
    """The data had nothing to give: training would go on for ever."""

    code = "no-batches"


class DataDiffers(TrainingLogError, ValueError):
    """Data that is gone through again, to where a checkpoint was made, is not what it was."""

    code = "data-differs"


class CheckpointNotFound(TrainingLogError, FileNotFoundError):
    """There is no checkpoint at the place that was named."""

    code = "checkpoint-not-found"


class CheckpointUnusable(TrainingLogError, ValueError):
    """A checkpoint that is damaged, or does not fit the program that restores it."""

    code = "checkpoint-unusable"


class CheckpointsBusy(RunBusy):
    """A folder of checkpoints that another training, which runs, is writing."""

    code = "checkpoints-busy"


class CheckpointDamaged(CheckpointUnusable):
    """A checkpoint that is not what was written, or cannot be read."""

    code = "checkpoint-damaged"


class RankLost(TrainingLogError, RuntimeError):
    """Another rank of a distributed training has left its loop by an exception, or is dead."""

    code = "rank-lost"


class NotPlain(TrainingLogError, TypeError):
    """An object whose state cannot be saved as JSON and arrays, or cannot be put back."""

    code = "not-plain"
