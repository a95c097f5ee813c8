"""The errors of a train loop."""

from __future__ import annotations

from traininglog.errors import RunBusy, TrainingLogError


class LoopMisuse(TrainingLogError, RuntimeError):
    """A call to a loop came out of turn: a metric outside an epoch, a loop within itself."""

    code = "loop-misuse"


class NoBatches(TrainingLogError, ValueError):
    """The data has no batch: training would go on for ever."""

    code = "no-batches"


class DataDiffers(TrainingLogError, ValueError):
    """Data that is replayed up to the place of a checkpoint is not the same as before."""

    code = "data-differs"


class CheckpointNotFound(TrainingLogError, FileNotFoundError):
    """There is no checkpoint at the path."""

    code = "checkpoint-not-found"


class CheckpointUnusable(TrainingLogError, ValueError):
    """The checkpoint is damaged, or does not fit the program that restores it."""

    code = "checkpoint-unusable"


class CheckpointsBusy(RunBusy):
    """Another running training writes to the folder of checkpoints."""

    code = "checkpoints-busy"


class CheckpointDamaged(CheckpointUnusable):
    """The checkpoint differs from what was written, or cannot be read."""

    code = "checkpoint-damaged"


class RankLost(TrainingLogError, RuntimeError):
    """Another rank of a distributed training has left its loop by an exception, or is dead."""

    code = "rank-lost"


class NotPlain(TrainingLogError, TypeError):
    """The state of an object cannot be saved as JSON and arrays, or cannot be restored."""

    code = "not-plain"
