"""From arrays to the numbers of a tick: operations, a pool, statistics, and charts of them."""
