"""What a file is before a log is read from it: its header, shape, schema and file system."""
