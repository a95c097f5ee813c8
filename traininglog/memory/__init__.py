"""The in-memory store, with `TrainingLog`."""

from traininglog.memory.log import TrainingLog

__all__ = ["TrainingLog"]
