"""Visualizers by name."""

from __future__ import annotations

from traininglog.lenses.lens import AbstractVisualizer


def visualizer_named(name: str) -> AbstractVisualizer:
    """Return a new visualizer: ``"matplotlib"``, ``"tensorboard"`` or ``"print"``.

    Raises `ValueError` for another name, and `MissingExtra` if a required package is not installed.
    """
    if name == "matplotlib":
        from traininglog.lenses.pictures.matplotlib_figures import MatplotlibVisualizer

        return MatplotlibVisualizer()
    if name == "tensorboard":
        from traininglog.lenses.pictures.tensorboard import TensorBoardVisualizer

        return TensorBoardVisualizer()
    if name == "print":
        from traininglog.lenses.pictures.printed_tables import PrintVisualizer

        return PrintVisualizer()
    raise ValueError(f"there is no visualizer {name!r}; there are: matplotlib, tensorboard, print")
