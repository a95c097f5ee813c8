"""The commands that compare experiments."""
