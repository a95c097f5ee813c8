"""Visualizers of lenses' numbers: figures, printed tables, and TensorBoard."""
