"""Checkpoints: moments of a training, written to a folder, found there, and put back."""
