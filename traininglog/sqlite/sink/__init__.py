"""Beginning, saving and ending runs in a file; leases, recovery and compaction."""
