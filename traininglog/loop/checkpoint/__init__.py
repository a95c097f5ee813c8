"""Checkpoints: write moments of a training to a folder, find them there, and restore them."""
