"""The write-ahead journal: what was assigned and no store has yet, where a kill cannot reach it."""
