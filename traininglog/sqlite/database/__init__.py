"""An open file: transactions, turns, the WAL, copies, and looking without leaving a trace."""
