"""The measurements of a loop: metrics, statistics and best values, and the way to the log."""
