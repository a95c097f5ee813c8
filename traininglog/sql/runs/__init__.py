"""Questions about many runs at once: which they are, what they hold, a stream of values."""
