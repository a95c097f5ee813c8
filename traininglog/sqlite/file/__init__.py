"""Checks of a file before a log is read from it: its header, shape, schema and file system."""
