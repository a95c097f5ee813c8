"""Visualizers: what lenses tell as pictures, as tables, and for TensorBoard."""
