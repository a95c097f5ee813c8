"""The commands that look at runs, and look after the stores that hold them."""
