"""What commands print and write: text, tables, JSON, charts in a terminal, files."""
