"""Lenses' numbers in TensorBoard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from traininglog.event_files import EventFile
from traininglog.lenses.lens import AbstractVisualizer
from traininglog.lenses.tags.attributes import Numbers, TagAttributes


class TensorBoardVisualizer(AbstractVisualizer):
    """Writes scalars named ``tag/layer/statistic`` for TensorBoard, with ``_`` for blanks.

    Args:
        folder: The folder of event files.
        writer: A `SummaryWriter` of tensorboardX or PyTorch to use instead.

    Raises:
        MissingExtra: tensorboardX is not installed, and no writer was given.

    """

    def __init__(self, folder: str | Path = "runs", *, writer: Any = None) -> None:
        self.writer = EventFile(folder) if writer is None else writer

    def register_tag(self, tag: str, attributes: TagAttributes) -> None:
        """Do nothing: TensorBoard has no such attributes."""

    def plot(self, time: int, tag: str, numbers: Numbers) -> None:
        """Write the numbers."""
        for layer, points in numbers.items():
            for name, value in points.items():
                self.writer.add_scalar(_name(f"{tag}/{layer}/{name}"), value, time)

    def end_tick(self, time: int) -> None:
        """Flush the numbers to the disk."""
        self.writer.flush()

    def close(self) -> None:
        """Close the writer."""
        self.writer.close()


def _name(key: str) -> str:
    return re.sub(r"\s", "_", key)
