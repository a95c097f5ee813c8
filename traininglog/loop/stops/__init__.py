"""Ending a training in good order: signals, and the agreement of several ranks."""
