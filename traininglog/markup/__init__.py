"""HTML and SVG made of data that is not trusted: everything is escaped where it is put in."""
