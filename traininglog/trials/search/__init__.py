"""Trials are found and changed: queries, what matches them, and records that change in one step."""
