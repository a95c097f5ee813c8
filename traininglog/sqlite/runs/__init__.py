"""The runs of a file: their states, listing them, deleting and merging them."""
