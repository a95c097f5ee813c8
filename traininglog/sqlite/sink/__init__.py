"""How runs are begun, saved and ended in a file, who may write them, and what a kill leaves."""
