"""An open file: transactions, the queue of writers, the WAL, copies, and read-only access."""
