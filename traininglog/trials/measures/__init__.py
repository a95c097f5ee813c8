"""What a trial measures: metrics, aggregates, times, and the time that is left."""
