"""Tags: their attributes, their numbers in a log, and the replay of these to visualizers."""
