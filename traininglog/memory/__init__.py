"""The in-memory store: what `TrainingLog` is made of."""

from traininglog.memory.log import TrainingLog

__all__ = ["TrainingLog"]
