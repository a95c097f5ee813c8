"""Tags: what is told of each, where its numbers stand in a log, and how they come back."""
