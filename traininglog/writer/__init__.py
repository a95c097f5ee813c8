"""How what is assigned gets into a store: the hot path, the owner thread, the sink."""
