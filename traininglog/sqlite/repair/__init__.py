"""Repair: making a new file from a damaged one, which is read without SQLite."""
