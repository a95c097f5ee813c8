"""Lenses on PyTorch modules: the one folder that imports torch."""
