"""The output of commands: text, tables, JSON, charts in a terminal, files."""
