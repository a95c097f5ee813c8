"""The runs of a file: their states, a line for each, deleting and merging them."""
