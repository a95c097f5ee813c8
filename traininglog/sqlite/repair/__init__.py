"""A new file out of a damaged one, read without SQLite. Nobody else knows this room."""
