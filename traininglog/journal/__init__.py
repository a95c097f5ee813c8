"""The write-ahead journal: assignments that no store has yet, where a kill cannot reach them."""
