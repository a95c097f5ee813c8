"""What a loop tells people: lines, a bar, a summary, and what went wrong beside the training."""
