"""Queries over many runs at once: lists, totals, columns, streams; and merging one run."""
