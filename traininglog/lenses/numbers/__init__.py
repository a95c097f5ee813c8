"""From arrays to the numbers of a tick: operations, a number pool, statistics, and charts."""
