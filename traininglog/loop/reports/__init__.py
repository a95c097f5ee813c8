"""The output of a loop for people: lines, a bar, a summary, and warnings."""
