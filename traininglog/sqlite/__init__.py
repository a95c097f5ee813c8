"""The SQLite store: many runs in one file.

Here lives what is SQLite's own: the file, its locks and pragmas, and who is alive.
"""
