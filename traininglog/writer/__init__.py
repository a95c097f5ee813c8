"""From an assignment to the store: the hot path, the owner thread, the sink."""
