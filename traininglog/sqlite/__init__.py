"""The SQLite store: many runs in one file.

This room holds what is specific to SQLite: the file, its locks and pragmas, and the leases of runs.
"""
